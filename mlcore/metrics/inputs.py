"""How a classifier's input relates to the picture: metrics that change pictures change them in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalisation:
    """input = (picture − mean) / deviation, channel by channel; pictures are in [0, 1]."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def to_unit(self, images: Tensor) -> Tensor:
        """Inputs (B, C, H, W) → pictures in [0, 1]."""
        mean, deviation = self._like(images)
        return images * deviation + mean

    def from_unit(self, pictures: Tensor) -> Tensor:
        """Pictures (B, C, H, W) in [0, 1] → inputs."""
        mean, deviation = self._like(pictures)
        return (pictures - mean) / deviation

    def _like(self, images: Tensor) -> tuple[Tensor, Tensor]:
        shape = (1, -1, 1, 1)
        mean = torch.tensor(self.mean, dtype=images.dtype, device=images.device).view(shape)
        return mean, torch.tensor(self.deviation, dtype=images.dtype, device=images.device).view(shape)


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NONE = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
NORMALISATIONS = {"imagenet": IMAGENET, "none": NONE}
