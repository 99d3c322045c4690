"""Insertion and deletion: how fast does the class come or go with the most relevant pixels? (definitions §7)

Petsiuk et al., "RISE", BMVC 2018. After step k of n, ⌊k·HW/n⌋ pixels are exchanged, the most relevant first, ties in
reading order; the value is the area under the class's probability over k/n, by trapezoids, both ends included.
Published: n = H, one row of pixels a step; the default is 28.

Where tools differ: Quantus' pixel flipping exchanges single features of (C, H, W) and leaves the unaltered image out;
its curve after step k is ours where one map is given to all channels and its step holds C·HW/n features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.maps import upsample
from mlcore.metrics.perturbation import PerturbationMetric, by_relevance
from mlcore.metrics.pixel_exchange import Exchange

KERNEL = 11
DEVIATION = 5.0


class _Exchange(PerturbationMetric):
    """The class's probability while pixels of one picture take the place of another's."""

    def __init__(self, model: nn.Module, steps: int = 28, **options: Any) -> None:
        """steps: n. Raises ValueError below 2."""
        super().__init__(model, **options)
        if steps < 2:
            raise ValueError(f"Pixels are exchanged in 2 steps or more, not {steps}.")
        self.steps = steps

    def ends(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures before the first and after the last step: (B, C, H, W), the latter also (B, C, 1, 1)."""
        raise NotImplementedError

    def curve(self, maps: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        """Probability (B, steps + 1) after each step, from none to all."""
        height, width = images.shape[2:]
        order = by_relevance(upsample(maps, (height, width)).flatten(1))
        before, after = (end.to(images.dtype) for end in self.ends(images.float()))
        numbers = [step * height * width // self.steps for step in range(self.steps + 1)]
        series = [Exchange(*one, numbers) for one in zip(before, after, order, strict=True)]
        return self.engine.exchange(series, targets)

    def values(self, maps: Tensor, images: Tensor, targets: Tensor) -> list[float | str]:
        """Area under the curve of each image."""
        return list((torch.trapezoid(self.curve(maps, images, targets), dim=1) / self.steps).tolist())


class Deletion(_Exchange):
    """Pixels are taken away from the image; low is good."""

    name = "deletion"

    def __init__(self, model: nn.Module, steps: int = 28, fill: str = "zero", **options: Any) -> None:
        """fill: "zero" of the input (ImageNet's mean), the image's own "mean" by channel, or its "blur"."""
        super().__init__(model, steps, **options)
        if fill not in FILLS:
            raise ValueError(f"Pixels are filled with {', '.join(FILLS)}, not “{fill}”.")
        self.fill = fill

    def ends(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """From the image to what fills it."""
        return images, FILLS[self.fill](images)


class Insertion(_Exchange):
    """Pixels of the image appear on its blurred version (11 px, σ 5); high is good."""

    name = "insertion"

    def ends(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """From the blurred image to the image."""
        return blur(images), images


def blur(images: Tensor) -> Tensor:
    """(B, C, H, W) under RISE's kernel: 11 px, σ 5, zeros of the input around the picture."""
    channels, line = images.shape[1], kernel().to(images)
    across = line.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    rows = F.conv2d(images, across, padding=(0, KERNEL // 2), groups=channels)
    return F.conv2d(rows, across.transpose(2, 3), padding=(KERNEL // 2, 0), groups=channels)


def kernel() -> Tensor:
    """RISE's kernel in one direction: (11,), sum 1.

    A unit in the middle of 11 px under a Gaussian filter of σ 5 that reaches 4σ: what would fall outside is
    reflected at the border, so the kernel is flatter than a Gaussian that is cut off.
    """
    reach = int(4 * DEVIATION + 0.5)
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets.double() / DEVIATION) ** 2)
    places = (offsets + KERNEL // 2) % (2 * KERNEL)
    places = torch.where(places < KERNEL, places, 2 * KERNEL - 1 - places)
    return torch.zeros(KERNEL, dtype=torch.float64).index_add_(0, places, weights / weights.sum())


FILLS: dict[str, Callable[[Tensor], Tensor]] = {
    "zero": lambda images: images.new_zeros((*images.shape[:2], 1, 1)),
    "mean": lambda images: images.mean(dim=(2, 3), keepdim=True),
    "blur": blur,
}
