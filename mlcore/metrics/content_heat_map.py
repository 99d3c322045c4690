"""Content heat map, also called energy pointing game and relevance mass accuracy (definitions §7)."""

from __future__ import annotations

from torch import Tensor

from mlcore.attribution.maps import upsample
from mlcore.metrics.base import ZERO_MAP, MapMetric


class ContentHeatMap(MapMetric):
    """Σ map⁺·mask / Σ map⁺ at the mask's size, map bilinear; mean over images."""

    name = "content_heat_map"

    def value_of(self, heat: Tensor, mask: Tensor) -> float | str:
        """The share inside, or "zero map" where nothing is positive."""
        large = upsample(heat[None].clamp(min=0), (mask.shape[0], mask.shape[1]))[0].double()
        whole = large.sum()
        return float(large[mask].sum() / whole) if whole > 0 else ZERO_MAP
