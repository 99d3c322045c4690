"""How far people agree. Pure functions."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """`share` of the pairs of people who said the same of the same thing; None where nobody shares a thing."""

    pairs: int
    same: int

    @property
    def share(self) -> float | None:
        return self.same / self.pairs if self.pairs else None


def pairwise(said: Iterable[Sequence[Hashable]]) -> Agreement:
    """Percent agreement over all pairs of people within each thing. `said`: one sequence of values a thing."""
    pairs = same = 0
    for values in said:
        pairs += len(values) * (len(values) - 1) // 2
        same += sum(number * (number - 1) // 2 for number in Counter(values).values())
    return Agreement(pairs, same)


def iou(first: np.ndarray, second: np.ndarray) -> float | None:
    """Intersection over union of two boolean maps of one shape; None where both are empty."""
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else None


def mean_pairwise_iou(maps: Sequence[np.ndarray]) -> tuple[float | None, int]:
    """Mean IoU over all pairs of people's maps of one image, and the number of pairs."""
    found = [value for one, other in combinations(maps, 2) if (value := iou(one, other)) is not None]
    return (sum(found) / len(found) if found else None), len(found)


def shares(counts: Mapping[str, int]) -> dict[str, float | None]:
    """Each count as a share of their sum; None where the sum is zero."""
    total = sum(counts.values())
    return {name: number / total if total else None for name, number in counts.items()}
