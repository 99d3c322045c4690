"""Focus: on a mosaic of four pictures, does the map look at the one whose class it is about? (definitions §5)

After Arias-Duart et al., "Focus! Rating XAI Methods and Finding Biases", 2022, as HARMONY computes it: the class is
the one predicted ON THE MOSAIC, and the quadrant is that of the image whose full-size version gives this class the
highest probability. Quantus' Focus puts two images of the target class beside two others: another number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.maps import status, upsample
from mlcore.metrics.base import CONSTANT_MAP, NONFINITE_MAP, ZERO_MAP, Metric, check_lengths
from mlcore.metrics.intervals import mean_interval
from mlcore.metrics.perturbation import NONFINITE_IMAGE, Engine, Explain

NOT_FOUR = "not four images for a mosaic"


class Focus(Metric):
    """Share of the mosaic's positive relevance that lies in the quadrant of its class; mean over mosaics.

    A batch of 4b images makes b mosaics: i, b + i, 2b + i, 3b + i are top left, top right, bottom left, bottom right.
    What is over waits for the next batch; what never makes four is left out. Each image has its mosaic's value; the
    interval is over mosaics.
    """

    name = "focus"
    takes = ("images", "names")

    def __init__(self, model: nn.Module, explain: Explain, *, internal_batch_size: int | None = None) -> None:
        """explain: (images, targets) → maps (B, h, w) of the method in question."""
        super().__init__()
        self.engine = Engine(model, internal_batch_size)
        self.explain = explain
        self.waiting: list[tuple[str, Tensor]] = []
        self.mosaics: dict[tuple[str, ...], float] = {}

    def reset(self) -> None:
        """Forget every image."""
        super().reset()
        self.waiting = []
        self.mosaics = {}

    def update(self, images: Tensor, names: Sequence[str]) -> None:
        """images (B, 3, H, W), all of one size; names of the B images."""
        check_lengths(images=images, names=names)
        if images.dim() != 4 or min(images.shape[2:]) < 2:
            raise ValueError(f"Images come as (B, 3, H, W), at least 2 pixels wide, not as {tuple(images.shape)}.")
        if self.waiting and self.waiting[0][1].shape != images.shape[1:]:
            raise ValueError("The images of a mosaic must have one size.")
        again = set(names)
        self.waiting = [(name, image) for name, image in self.waiting if name not in again]
        for name, image in zip(names, images.detach(), strict=True):
            if bool(torch.isfinite(image).all()):
                self.waiting.append((name, image))
            else:
                self.leave_out(name, NONFINITE_IMAGE)
        count = len(self.waiting) // 4
        if count:
            ready, self.waiting = self.waiting[: 4 * count], self.waiting[4 * count :]
            self._score([name for name, _ in ready], torch.stack([image for _, image in ready]))

    def _score(self, names: list[str], images: Tensor) -> None:
        count = len(images) // 4
        pictures = mosaics(images)
        classes = self.engine.probabilities(pictures).argmax(1)
        quadrant = quadrant_of(self.engine.probabilities(images), classes)
        size = self.engine.size_for(images)
        maps = torch.cat(
            [
                self.explain(some, asked).detach().to(images.device).float()
                for some, asked in zip(pictures.split(size), classes.split(size), strict=True)
            ]
        )
        heat = upsample(maps.clamp(min=0), (pictures.shape[2], pictures.shape[3])).double()
        shares = share_in(heat, quadrant)
        empty = (heat.amax(dim=(1, 2)) == 0).tolist()
        for index, (state, share) in enumerate(zip(status(maps), shares.tolist(), strict=True)):
            four = tuple(names[part * count + index] for part in range(4))
            self.mosaics = {others: value for others, value in self.mosaics.items() if others != four}
            if state == "ok" and not empty[index]:
                self.mosaics[four] = share
            for name in four:
                if state == "nonfinite":
                    self.leave_out(name, NONFINITE_MAP)
                elif empty[index]:
                    self.leave_out(name, ZERO_MAP)
                elif state == "constant":
                    self.leave_out(name, CONSTANT_MAP)
                else:
                    self.record(name, share)

    def mean(self) -> float | None:
        """Mean over mosaics."""
        return sum(self.mosaics.values()) / len(self.mosaics) if self.mosaics else None

    def interval(self) -> tuple[float, float] | None:
        """95 % over mosaics, Student's t: the four images of one are not four samples."""
        return mean_interval(list(self.mosaics.values()))

    def compute(self) -> dict[str, Any]:
        """As every metric, with "mosaics": their number. Images that still wait for others are left out by name."""
        for name, _ in self.waiting:
            self.leave_out(name, NOT_FOUR)
        return super().compute() | {"mosaics": len(self.mosaics)}


def mosaics(images: Tensor) -> Tensor:
    """(4b, C, H, W) → (b, C, 2⌊H/2⌋, 2⌊W/2⌋): every image halved (mean of 2×2 pixels)."""
    small = F.avg_pool2d(images, 2)
    first, second, third, fourth = small.chunk(4)
    return torch.cat([torch.cat([first, second], dim=3), torch.cat([third, fourth], dim=3)], dim=2)


def quarters(heat: Tensor) -> Tensor:
    """Sums (b, 4) over the quadrants of (b, H, W): top left, top right, bottom left, bottom right."""
    rows, columns = heat.shape[1] // 2, heat.shape[2] // 2
    parts = [heat[:, down : down + rows, right : right + columns] for down in (0, rows) for right in (0, columns)]
    return torch.stack([part.sum(dim=(1, 2)) for part in parts], dim=1)


def quadrant_of(probabilities: Tensor, classes: Tensor) -> Tensor:
    """Which of its four images gives each mosaic's class (b,) the highest probability: (4b, K) → (b,) in 0…3."""
    own = probabilities.view(4, len(classes), -1)
    return own.gather(2, classes.view(1, -1, 1).expand(4, -1, -1))[..., 0].argmax(0)


def share_in(heat: Tensor, quadrant: Tensor) -> Tensor:
    """Σ in one quadrant (b,) of maps (b, H, W) ÷ (Σ + 1e-9): (b,). Differentiable."""
    return quarters(heat).gather(1, quadrant[:, None])[:, 0] / (heat.sum(dim=(1, 2)) + 1e-9)
