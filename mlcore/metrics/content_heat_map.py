"""Content heat map, also called energy pointing game and relevance mass accuracy (definitions §7)."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcore.attribution.maps import upsample
from mlcore.metrics.base import ZERO_MAP, MapMetric


class ContentHeatMap(MapMetric):
    """Σ map⁺·mask / Σ map⁺ at the mask's size, map bilinear; mean over images."""

    name = "content_heat_map"

    def values_of(self, maps: Tensor, masks: Tensor) -> list[float | str]:
        """The share inside, or "zero map" where nothing is positive."""
        return mass_inside(maps, masks)


def mass_inside(maps: Tensor, areas: Tensor) -> list[float | str]:
    """Share of the positive mass of maps (B, h, w), enlarged to areas (B, H, W), that lies there; or "zero map"."""
    large = upsample(maps.clamp(min=0), (areas.shape[1], areas.shape[2])).flatten(1)
    whole = large.sum(dim=1, dtype=torch.float64)
    # As bytes: PyTorch multiplies these twice as fast as bool.
    inside = (large * areas.view(torch.uint8).flatten(1)).sum(dim=1, dtype=torch.float64)
    return [a / b if b > 0 else ZERO_MAP for a, b in zip(inside.tolist(), whole.tolist(), strict=True)]
