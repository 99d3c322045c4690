"""Stochastic pointing game: does a point drawn from the map lie on the object? (definitions §7)

Pillai et al., "Consistent explanations by contrastive learning", CVPR 2022. They draw 100 points; the expected hit is
a sum over pixels, so nothing is drawn here and nothing is left to chance.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlcore.metrics.base import MapMetric
from mlcore.metrics.content_heat_map import mass_inside


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
        areas = np.stack([within(mask, self.tolerance) for mask in masks.cpu().numpy()])
        return mass_inside(maps, torch.from_numpy(areas).to(maps.device))


def within(mask: NDArray[np.bool_], tolerance: float) -> NDArray[np.bool_]:
    """Pixels of the mask (H, W), which is not empty, and those strictly nearer to it than `tolerance` pixels."""
    if tolerance <= 1:
        return mask
    from scipy.ndimage import distance_transform_edt

    # What lies farther from the mask's own box than the tolerance need not be measured.
    reach = math.ceil(min(tolerance, sum(mask.shape)))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    window = (
        slice(max(0, rows[0] - reach), rows[-1] + 1 + reach),
        slice(max(0, columns[0] - reach), columns[-1] + 1 + reach),
    )
    found = np.zeros_like(mask)
    found[window] = distance_transform_edt(~mask[window]) < tolerance
    return found
