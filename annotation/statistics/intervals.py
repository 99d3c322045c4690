"""Intervals of means and shares (definitions §8), in plain Python, so that a page of figures loads nothing large.

Student's t is over people: five people are five values, whatever the number of their answers. All are 95 % intervals.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, fmean, variance
from typing import Any

CONFIDENCE = 0.95
FEW_RATERS = 5
_TINY = 1e-300
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


def wilson(part: int, whole: int) -> tuple[float, float] | None:
    """Wilson's interval of the share part/whole; None of nothing."""
    if not whole:
        return None
    z2, share = _Z**2, part / whole
    middle = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    half = _Z / (1 + z2 / whole) * math.sqrt(share * (1 - share) / whole + z2 / (4 * whole**2))
    # At the ends the formula gives exactly 0 and 1, but for rounding.
    return (0.0 if part == 0 else middle - half), (1.0 if part == whole else middle + half)


@lru_cache(maxsize=512)
def t_quantile(share: float, freedom: float) -> float:
    """The value below which `share` (0.5…1) of Student's t distribution with `freedom` > 0 degrees lies.

    P(T ≤ t) = 1 − I_x(freedom/2, 1/2)/2 with x = freedom/(freedom + t²); inverted by bisection.
    """
    if not 0.5 <= share < 1 or freedom <= 0:
        raise ValueError(f"Student's t has no such quantile: share {share}, {freedom} degrees of freedom.")
    tail = 2 * (1 - share)
    low, high = 0.0, 1.0
    while _beta(freedom / (freedom + high**2), freedom / 2, 0.5) > tail:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if _beta(freedom / (freedom + middle**2), freedom / 2, 0.5) > tail:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    # Lentz's way through the fraction 1 + d₁/(1 + d₂/(1 + …)).
    value, above, below = 1.0, 1.0, 0.0
    for step in range(1, 10_000):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        below = 1 / ((1 + term * below) or _TINY)
        above = (1 + term / above) or _TINY
        value *= above * below
        if abs(above * below - 1) < 1e-15:
            break
    return front / (a * value)
