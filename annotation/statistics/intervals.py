"""Intervals of means and shares (definitions §8), in plain Python, so that a page of figures loads nothing large.

Student's t is over people: five people are five values, whatever the number of their answers. All are 95 % intervals.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, variance
from typing import Any

from mlcore.runs.student import t_quantile, t_two_sided

CONFIDENCE = 0.95
FEW_RATERS = 5
_Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)


@dataclass(frozen=True)
class Interval:
    """A mean over `n` values with its interval; `low` and `high` are None where n is too small to say."""

    mean: float | None
    low: float | None
    high: float | None
    n: int


def t_mean(values: Sequence[float]) -> Interval:
    """The mean of the values with Student's t interval; no interval from fewer than two."""
    n = len(values)
    if not n:
        return Interval(None, None, None, 0)
    mean = fmean(values)
    if n == 1:
        return Interval(mean, None, None, 1)
    half = t_quantile(0.5 + CONFIDENCE / 2, n - 1) * math.sqrt(variance(values) / n)
    return Interval(mean, mean - half, mean + half, n)


def over_raters(scores: Sequence[float]) -> dict[str, Any]:
    """The mean of raters' own scores with Student's t interval, as reports hold it: few raters speak of themselves."""
    found = t_mean(scores)
    return {
        "mean": found.mean,
        "low": found.low,
        "high": found.high,
        "raters": found.n,
        "these_raters_only": found.n < FEW_RATERS,
    }


def welch(first: Sequence[float], second: Sequence[float]) -> Interval:
    """mean(first) − mean(second) of two groups of different people, with Welch's interval; n counts both groups."""
    n = len(first) + len(second)
    if not first or not second:
        return Interval(None, None, None, n)
    mean = fmean(first) - fmean(second)
    if len(first) < 2 or len(second) < 2:
        return Interval(mean, None, None, n)
    a, b = variance(first) / len(first), variance(second) / len(second)
    if a + b == 0:
        return Interval(mean, mean, mean, n)
    freedom = (a + b) ** 2 / (a**2 / (len(first) - 1) + b**2 / (len(second) - 1))
    half = t_quantile(0.5 + CONFIDENCE / 2, freedom) * math.sqrt(a + b)
    return Interval(mean, mean - half, mean + half, n)


def t_p(values: Sequence[float], against: float = 0.0) -> float | None:
    """Two-sided p of the t test that the mean is `against`; None from fewer than two values or where all are equal."""
    if len(values) < 2 or (spread := variance(values)) == 0:
        return None
    return t_two_sided((fmean(values) - against) / math.sqrt(spread / len(values)), len(values) - 1)


def welch_p(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Two-sided p of Welch's test that two groups of different people have equal means; None where it cannot say."""
    if len(first) < 2 or len(second) < 2:
        return None
    a, b = variance(first) / len(first), variance(second) / len(second)
    if a + b == 0:
        return None
    freedom = (a + b) ** 2 / (a**2 / (len(first) - 1) + b**2 / (len(second) - 1))
    return t_two_sided((fmean(first) - fmean(second)) / math.sqrt(a + b), freedom)


def wilson(part: int, whole: int) -> tuple[float, float] | None:
    """Wilson's interval of the share part/whole; None of nothing."""
    if not whole:
        return None
    z2, share = _Z**2, part / whole
    middle = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    half = _Z / (1 + z2 / whole) * math.sqrt(share * (1 - share) / whole + z2 / (4 * whole**2))
    # At the ends the formula gives exactly 0 and 1, but for rounding.
    return (0.0 if part == 0 else middle - half), (1.0 if part == whole else middle + half)
