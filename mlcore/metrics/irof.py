"""IROF: how fast does the class go when segments are removed, the most relevant first? (definitions §5)

Rieger & Hansen, "IROF: a low resource evaluation metric for explanation methods", 2020. Segments (SLIC on the
normalised image) are ordered by their mean relevance and filled, one after another until none is left, with the
image's mean by channel. The value is the mean over steps of 1 − p_k/(p₀ + 1e-9).

Where tools differ: Quantus fills with one number, the mean over all channels of the batch as it is altered so far,
and reports (number of segments) − (trapezoid area of p_k/p₀): it grows with their number. Its curve is ours where
the fill is the same (1e-5).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mlcore.attribution.maps import upsample
from mlcore.metrics.perturbation import PerturbationMetric
from mlcore.metrics.segments import superpixels


class IROF(PerturbationMetric):
    """Mean loss of probability while segments are removed; mean over images. High is good."""

    name = "irof"

    def __init__(self, model: nn.Module, segments: int = 100, **options: Any) -> None:
        """segments: about how many. Raises ValueError below 2."""
        super().__init__(model, **options)
        if segments < 2:
            raise ValueError(f"An image is cut into 2 segments or more, not {segments}.")
        self.segments = segments

    def curve(self, maps: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        """Probability (B, S) after each removal; NaN beyond an image's own number of segments."""
        heat = upsample(maps, (images.shape[2], images.shape[3]))
        steps = [removal_steps(one, superpixels(image, self.segments)) for one, image in zip(heat, images, strict=True)]
        means = images.float().mean(dim=(2, 3), keepdim=True)

        def copies(index: int, first: int, end: int) -> Tensor:
            numbers = torch.arange(first, end, device=images.device)[:, None, None, None]
            return torch.where(steps[index][None, None] <= numbers, means[index], images[index].float())

        counts = [int(one.max()) + 1 for one in steps]
        return self.engine.series(images, targets, counts, copies).probability

    def values(self, maps: Tensor, images: Tensor, targets: Tensor) -> list[float | str]:
        """Mean loss of each image."""
        whole = self.unaltered(images, targets)
        curve = self.curve(maps, images, targets)
        return [
            float((1 - row[: int((~row.isnan()).sum())] / (before + 1e-9)).mean())
            for row, before in zip(curve, whole, strict=True)
        ]


def removal_steps(heat: Tensor, labels: Tensor) -> Tensor:
    """At which step (from 0) each pixel goes, (H, W): segments by mean relevance, ties by label."""
    flat = labels.flatten()
    count = int(flat.max()) + 1
    total = torch.zeros(count, dtype=torch.float64, device=heat.device).index_add_(0, flat, heat.flatten().double())
    order = (total / flat.bincount(minlength=count)).argsort(descending=True, stable=True)
    step = torch.empty_like(order)
    step[order] = torch.arange(count, device=heat.device)
    return step[labels]
