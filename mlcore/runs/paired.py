"""Differences of two scores over the same images, with 95 % intervals; light enough for a page."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlcore.runs.student import t_quantile

RESAMPLES = 1000
AT_ONCE = 1_000_000  # random numbers in memory
MANY = 5000


@dataclass(frozen=True)
class Difference:
    """Mean of a − b over the n images that both count; no interval below two of them."""

    value: float
    low: float | None
    high: float | None
    n: int

    @property
    def clear(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def difference(
    ours: Mapping[str, float], others: Mapping[str, float], classes: Mapping[str, int | None] | None = None
) -> Difference | None:
    """ours − others, paired by image; None where no image counts in both.

    Student's t over images. With `classes` the mean over the classes present, as the pointing game has it; its
    interval then comes from images drawn again (1,000 times, seeded), as the metric's own does. Above 5,000 images,
    where that would keep a page waiting, it is the normal interval of the same mean, which drawing again approaches.
    """
    both = [name for name in ours if name in others]
    if not both:
        return None
    apart = np.array([ours[name] - others[name] for name in both], dtype=float)
    if classes is not None:
        _, of = np.unique([-1 if (one := classes.get(name)) is None else one for name in both], return_inverse=True)
        return _over_classes(apart, of)
    mean = math.fsum(apart.tolist()) / len(apart)
    if len(apart) < 2:
        return Difference(mean, None, None, len(apart))
    half = t_quantile(0.975, len(apart) - 1) * float(apart.std(ddof=1)) / math.sqrt(len(apart))
    return Difference(mean, mean - half, mean + half, len(apart))


def _over_classes(apart: np.ndarray, of: np.ndarray) -> Difference:
    order = np.argsort(of, kind="stable")
    apart, of = apart[order], of[order]
    starts = np.flatnonzero(np.r_[True, of[1:] != of[:-1]])
    sizes = np.diff(np.r_[starts, len(of)])
    of_class = np.add.reduceat(apart, starts) / sizes
    value, count = float(of_class.mean()), len(apart)
    if count < 2:
        return Difference(value, None, None, count)
    if count > MANY:
        spread = np.add.reduceat((apart - np.repeat(of_class, sizes)) ** 2, starts) / sizes**2
        half = t_quantile(0.975, count - 1) * math.sqrt(float(spread.sum())) / len(sizes)
        return Difference(value, value - half, value + half, count)
    rng = np.random.default_rng(0)
    found: list[np.ndarray] = []
    step = max(1, AT_ONCE // count)
    for start in range(0, RESAMPLES, step):
        rows = min(step, RESAMPLES - start)
        drawn = rng.integers(0, count, (rows, count)) + np.arange(rows)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        present = np.add.reduceat(times, starts, axis=1)
        sums = np.add.reduceat(times * apart, starts, axis=1)
        means = np.divide(sums, present, out=np.zeros_like(sums), where=present > 0)
        found.append(means.sum(axis=1) / (present > 0).sum(axis=1))
    low, high = np.quantile(np.concatenate(found), [0.025, 0.975])
    return Difference(value, float(low), float(high), count)
