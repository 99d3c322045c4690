"""95 % intervals of a metric over images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's t over images for their mean; None below two images."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit

    found = np.asarray(values, dtype=float)
    half = float(stdtrit(len(found) - 1, 0.5 + level / 2)) * float(found.std(ddof=1)) / len(found) ** 0.5
    mean = math.fsum(found.tolist()) / len(found)  # as `Metric.mean`, to the last digit
    return mean - half, mean + half


def bootstrap_interval(
    count: int, statistic: Callable[[NDArray[np.intp]], float], level: float = 0.95, seed: int = 0
) -> tuple[float, float] | None:
    """Percentiles of a statistic over images drawn again with replacement; None below two images.

    statistic: from the indices of the images drawn to a number. Seeded: the same images give the same interval.
    """
    if count < 2:
        return None
    rng = np.random.default_rng(seed)
    found = [statistic(rng.integers(0, count, count)) for _ in range(RESAMPLES)]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
