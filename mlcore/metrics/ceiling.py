"""The human ceiling: how far people agree with each other, by the figures that maps are compared with people by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlcore.metrics import METRICS
from mlcore.metrics.base import CONSTANT_MAP, ZERO_MAP
from mlcore.metrics.intervals import bootstrap_interval, mean_interval
from mlcore.metrics.people import CONSTANT_PERSON, EMPTY_PERSON, PeopleMetric
from mlcore.metrics.people_maps import people_of

ALONE = "fewer than two people"
PAIRS_AT_ONCE = 64
_OF_PEOPLE: dict[float | str, str] = {CONSTANT_MAP: CONSTANT_PERSON, ZERO_MAP: EMPTY_PERSON}


def ceiling(metric_name: str, maps_by_image: Mapping[str, Tensor | Sequence[Tensor]]) -> dict[str, Any]:
    """Mean agreement between people: every pair of people of an image, mean by image, then over images.

    maps_by_image: image → its people's maps (H, W), all of one size; see `mlcore.metrics.people_maps.read_person`.
    Gives {"metric", "value", "low", "high": 95 % over images, "n": images, "pairs": pairs that count, "left_out":
    {reason: images}, "per_image": {image: mean over its pairs}}.
    Raises KeyError for an unknown metric, ValueError for one that compares nothing with people or for maps of one
    image that differ in size.
    """
    metric = METRICS[metric_name]()
    if not isinstance(metric, PeopleMetric):
        raise ValueError(f"“{metric_name}” does not compare maps with people: there is no agreement between people.")
    per_image: dict[str, float] = {}
    left_out: dict[str, int] = {}
    pairs = 0
    for name, given in maps_by_image.items():
        found = _between(metric, name, given)
        counted = [value for value in found if not isinstance(value, str)]
        if counted:
            pairs += len(counted)
            per_image[name] = math.fsum(counted) / len(counted)
        else:
            reason = str(found[0]) if found else ALONE
            left_out[reason] = left_out.get(reason, 0) + 1
    values = list(per_image.values())
    low, high = mean_interval(values) or (None, None)
    return {
        "metric": metric_name,
        "value": math.fsum(values) / len(values) if values else None,
        "low": low,
        "high": high,
        "n": len(values),
        "pairs": pairs,
        "left_out": left_out,
        "per_image": per_image,
    }


def share_of_ceiling(
    per_image: Mapping[str, float], between_people: Mapping[str, Any], *, higher_is_better: bool = True
) -> dict[str, Any]:
    """Agreement of a set of maps with people as a share of the agreement between people, over the images in both.

    per_image: of the metric (`Metric.per_image`); between_people: what `ceiling` gave for it. The share is mean ÷ mean;
    of a distance (higher_is_better=False) people's ÷ the maps', so that 1 always means "as near as people are".
    Gives {"value", "low", "high": 95 % over images drawn again, "n"}; value is None without a positive ceiling.
    """
    people: Mapping[str, float] = between_people["per_image"]
    both = [name for name in per_image if name in people]
    maps, others = (np.array([side[name] for name in both], dtype=float) for side in (per_image, people))
    above, below = (maps, others) if higher_is_better else (others, maps)
    if not both or not below.mean() > 0 or not others.mean() > 0:
        return {"value": None, "low": None, "high": None, "n": len(both)}

    def again(drawn: NDArray[np.intp]) -> float:
        under = float(below[drawn].mean())
        return float(above[drawn].mean()) / under if under > 0 else math.nan

    low, high = bootstrap_interval(len(both), again) or (None, None)
    if low is not None and not (math.isfinite(low) and math.isfinite(high or 0.0)):
        low, high = None, None
    return {"value": float(above.mean() / below.mean()), "low": low, "high": high, "n": len(both)}


def _between(metric: PeopleMetric, name: str, given: Tensor | Sequence[Tensor]) -> list[float | str]:
    """The figures of every pair of people of an image, or why a pair has none."""
    people = people_of(given)
    if len({tuple(person.values.shape) for person in people}) > 1:
        raise ValueError(f"The people's maps of “{name}” differ in size: bring them to the picture's size first.")
    if len(people) < 2:
        return []
    values = torch.stack([person.values for person in people])
    known = torch.stack([person.known for person in people])
    drawn = ((values > 0) & known).flatten(1).any(dim=1).tolist()
    couples = list(combinations(range(len(people)), 2))
    found: list[float | str] = []
    for start in range(0, len(couples), PAIRS_AT_ONCE):
        part = couples[start : start + PAIRS_AT_ONCE]
        left, right = [one for one, _ in part], [other for _, other in part]
        both = known[left] & known[right]
        first, second = (
            metric.of_person(values[side], both, [people[one].is_mask for one in side]) for side in (left, right)
        )
        for (one, other), outcome in zip(part, metric.compare(first, second, both), strict=True):
            found.append(_OF_PEOPLE.get(outcome, outcome) if drawn[one] and drawn[other] else EMPTY_PERSON)
    return found
