"""Quantiles and tails of Student's t in plain Python, so that a page of figures loads nothing large."""

import math
from functools import lru_cache

_TINY = 1e-300


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


def t_two_sided(t: float, freedom: float) -> float:
    """P(|T| ≥ |t|) of Student's t distribution with `freedom` > 0 degrees."""
    if freedom <= 0:
        raise ValueError(f"Student's t needs more than {freedom} degrees of freedom.")
    return _beta(freedom / (freedom + t * t), freedom / 2, 0.5)


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
