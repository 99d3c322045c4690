"""What learnable metrics take from plain ones: values of a batch, and maps that are not made twice."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mlcore.attribution.maps import upsample
from mlcore.metrics.base import Metric, feed
from mlcore.metrics.learnable.base import Explain


def values_of(metric: Metric, count: int, **columns: Any) -> Tensor:
    """What a plain metric says of a batch of `count` images: (B,) float64, NaN where it leaves an image out.

    columns: what the metric takes, without names. Raises ValueError where something is missing.
    """
    names = [str(number) for number in range(count)]
    with torch.no_grad():
        feed(metric, {"names": names} | columns)
    device = next((column.device for column in columns.values() if isinstance(column, Tensor)), None)
    return torch.tensor([metric.per_image.get(name, math.nan) for name in names], dtype=torch.float64, device=device)


def as_measured(maps: Tensor, images: Tensor) -> Tensor:
    """Maps as learnable metrics look at them: clamped at 0, bilinear at the images' size: (B, h, w) → (B, H, W)."""
    return upsample(maps.clamp(min=0), (images.shape[2], images.shape[3]))


class Remembered:
    """An `Explain` that gives the maps of one batch as they are at hand, and asks for those of any other.

    A batch is known by its tensors themselves, not by what is in them.
    """

    def __init__(self, explain: Explain, images: Tensor | None = None, targets: Any = None, maps: Any = None) -> None:
        """maps (B, H, W) of images for targets; without them, the first batch that is asked about is kept."""
        self.explain = explain
        self.images, self.targets, self.maps = images, targets, maps

    def __call__(self, images: Tensor, targets: Any) -> Tensor:
        """Maps (B, H, W)."""
        if self.maps is not None and images is self.images and targets is self.targets:
            return self.maps
        maps = self.explain(images, targets)
        if self.maps is None:
            self.images, self.targets, self.maps = images, targets, maps
        return maps
