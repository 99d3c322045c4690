"""Maps that look at no classifier: what a metric gives to someone who looks at nothing, and to chance."""

from __future__ import annotations

import hashlib
from abc import abstractmethod

import torch
from torch import Tensor, nn

from mlcore.attribution.base import Attribution, Targets, class_scores, resolve_targets


class Baseline(Attribution):
    """A map that is the same for every class.

    The classifier is asked only where targets are a function of its logits, which may want to know them.
    """

    @abstractmethod
    def _draw(self, images: Tensor) -> Tensor:
        """Maps (B, H, W) of images (B, 3, H, W)."""

    def _explain(self, images: Tensor, targets: Targets) -> Tensor:
        if callable(targets) and not isinstance(targets, Tensor):
            targets = resolve_targets(class_scores(self.model(images)), targets)
        maps = self._draw(images)
        if isinstance(targets, Tensor) and targets.dim() == 2:
            return maps[:, None].repeat(1, targets.shape[1], 1, 1)
        return maps

    def _explain_several(self, images: Tensor, targets: Tensor) -> Tensor:
        return self._explain(images, targets)


class Centre(Baseline):
    """exp(−(x² + y²) / (2·width²)), x and y from the middle of the picture in shares of its sides.

    Raises ValueError for a width that is not positive.
    """

    def __init__(self, model: nn.Module, *, width: float = 0.25) -> None:
        super().__init__(model)
        if not width > 0:
            raise ValueError(f"width is above 0, not {width}.")
        self.width = width

    def _draw(self, images: Tensor) -> Tensor:
        rows, columns = (
            torch.exp(-(((torch.arange(side, device=images.device) + 0.5) / side - 0.5) ** 2) / (2 * self.width**2))
            for side in images.shape[2:]
        )
        return (rows[:, None] * columns).expand(len(images), -1, -1)


class Random(Baseline):
    """Noise in [0, 1), pixel by pixel, drawn from `seed` and the picture's own values.

    The same for the same picture in any batch, on any device; another picture has another noise.
    """

    def __init__(self, model: nn.Module, *, seed: int = 0) -> None:
        super().__init__(model)
        self.seed = seed

    def _draw(self, images: Tensor) -> Tensor:
        if not len(images):
            return images.new_zeros(0, *images.shape[2:])
        maps = [self._noise(picture) for picture in images.float().cpu().contiguous()]
        return torch.stack(maps).to(images.device)

    def _noise(self, picture: Tensor) -> Tensor:
        content = hashlib.blake2b(f"{self.seed} {tuple(picture.shape)} ".encode(), digest_size=8)
        content.update(picture.contiguous().numpy().tobytes())
        generator = torch.Generator().manual_seed(int.from_bytes(content.digest(), "big") >> 1)
        return torch.rand(picture.shape[1:], generator=generator)
