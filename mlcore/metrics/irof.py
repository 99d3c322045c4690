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
from mlcore.metrics.pixel_exchange import Exchange
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
        return self.engine.exchange(self.removals(maps, images), targets)

    def removals(self, maps: Tensor, images: Tensor) -> list[Exchange]:
        """Each image's copies, from one segment less to none left."""
        heat = upsample(maps, (images.shape[2], images.shape[3]))
        means = images.float().mean(dim=(2, 3), keepdim=True).to(images.dtype)
        series = []
        for one, image, mean in zip(heat, images, means, strict=True):
            order, numbers = removal_order(one, superpixels(image, self.segments))
            series.append(Exchange(image, mean, order, numbers))
        return series

    def values(self, maps: Tensor, images: Tensor, targets: Tensor) -> list[float | str]:
        """Mean loss of each image."""
        whole = self.unaltered(images, targets)
        series = self.removals(maps, images)
        curve = self.engine.exchange(series, targets)
        return [
            float((1 - row[: len(one.numbers)] / (before + 1e-9)).mean())
            for one, row, before in zip(series, curve, whole, strict=True)
        ]


def removal_order(heat: Tensor, labels: Tensor) -> tuple[Tensor, list[int]]:
    """Pixels (H·W,) segment by segment as they go, and how many are gone after each step."""
    steps = removal_steps(heat, labels).flatten()
    if steps.device.type == "cpu":
        # numpy sorts 16 bits by counting; there are fewer segments than that.
        order = torch.from_numpy(steps.to(torch.int16).numpy().argsort(kind="stable"))
    else:
        order = steps.argsort(stable=True)
    return order, steps.bincount().cumsum(0).tolist()


def removal_steps(heat: Tensor, labels: Tensor) -> Tensor:
    """At which step (from 0) each pixel goes, (H, W): segments by mean relevance, ties by label."""
    flat = labels.flatten()
    count = int(flat.max()) + 1
    total = torch.zeros(count, dtype=torch.float64, device=heat.device).index_add_(0, flat, heat.flatten().double())
    order = (total / flat.bincount(minlength=count)).argsort(descending=True, stable=True)
    step = torch.empty_like(order)
    step[order] = torch.arange(count, device=heat.device)
    return step[labels]
