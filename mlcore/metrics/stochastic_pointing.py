"""Stochastic pointing game: does a point drawn from the map lie on the object? (definitions §7)

Pillai et al., "Consistent explanations by contrastive learning", CVPR 2022. They draw 100 points; the expected hit is
a sum over pixels, so nothing is drawn here and nothing is left to chance.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mlcore.metrics.base import MapMetric
from mlcore.metrics.content_heat_map import mass_inside
from mlcore.metrics.dilation import within


class StochasticPointingGame(MapMetric):
    """Σ map⁺·[distance to the object < tolerance] / Σ map⁺, map bilinear at the mask's size; mean over images.

    Masks are at the ORIGINAL image's size, as in the pointing game. Inside the mask counts with tolerance 0 too,
    where the value is the content heat map.
    """

    name = "stochastic_pointing"

    def __init__(self, tolerance: float = 15) -> None:
        super().__init__()
        if not tolerance >= 0:
            raise ValueError(f"The tolerance must be 0 pixels or more, not {tolerance}.")
        self.tolerance = tolerance

    def values_of(self, maps: Tensor, masks: Tensor) -> list[float | str]:
        """The chance of a hit, or "zero map" where nothing is positive."""
        areas = torch.from_numpy(within(masks.cpu().numpy(), self.tolerance))
        return mass_inside(maps, areas.to(maps.device))
