"""Figures of a classification by comparison: how often each way of deciding is right, and what re-ranking changes.

Plain Python on what was said of each image; an image counts where any of its right answers is named.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

HEAD = "head"  # the classifier's own last layer, beside the ways of comparing
NEAREST = "knn"  # what re-rankers are compared with
Z = 1.959963984540054  # of the 95 % interval
MOST_IMAGES = 60  # images named of one kind of change; all are counted


@dataclass(frozen=True)
class Said:
    """What one way of deciding said of one image: a class (−1: one that the gallery has not), how sure it was (0…1),
    and of how many of its comparisons iterations ended by themselves; None where nothing is iterated."""

    label: int
    confidence: float
    first: int | None = None
    converged: int | None = None
    compared: int | None = None


def wilson(right: int, n: int) -> tuple[float, float] | None:
    """95 % interval of a share (Wilson, Journal of the American Statistical Association 1927); None of no image."""
    if n == 0:
        return None
    share, z2 = right / n, Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # Of none or all right the end is 0 or 1 exactly; in floating point it would be next to it.
    return (0.0 if right == 0 else middle - half), (1.0 if right == n else middle + half)


def mcnemar(mended: int, broken: int) -> float:
    """Two-sided exact p of as uneven a split of the changes, if either direction were as likely (McNemar)."""
    n, fewer = mended + broken, min(mended, broken)
    if n == 0:
        return 1.0
    # Through logarithms: of thousands of changes the terms leave floating point.
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2) for k in range(fewer + 1)
    ]
    top = max(logs)
    return min(1.0, 2 * math.exp(top) * math.fsum(math.exp(one - top) for one in logs))


def accuracy_row(
    said: Mapping[str, Said], right: Mapping[str, Sequence[int]], left_out: Mapping[str, int]
) -> dict[str, Any]:
    """A row of a "scores" event: accuracy with Wilson's interval, over the images that have a right answer."""
    hits = {image: float(said[image].label in right[image]) for image in right if image in said}
    count = int(sum(hits.values()))
    low, high = wilson(count, len(hits)) or (None, None)
    return {
        "metric": "accuracy",
        "value": count / len(hits) if hits else None,
        "low": low,
        "high": high,
        "n": len(hits),
        "left_out": {reason: number for reason, number in left_out.items() if number},
        "per_image": hits,
    }


def figures(said: Mapping[str, Mapping[str, Said]], right: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Everything that the page of results shows, as plain lists and numbers.

    said: way of deciding → image → what it said; the head only of images whose class it knows. right: image → its
    right answers, as classes of the gallery; images without one do not stand there.
    """
    return {
        "ways": [_way(name, of, right) for name, of in said.items()],
        "per_class": _per_class(said, right),
        "confusion": {name: _confusion(of, right) for name, of in said.items()},
        "changes": [
            _change(one, other, said, right)
            for one, other in _compared(list(said))
        ],
    }  # fmt: skip


def _compared(names: Sequence[str]) -> list[tuple[str, str]]:
    """From the nearest neighbours to each re-ranker, from the head to each way, and between re-rankers."""
    order = sorted(names, key=lambda name: {HEAD: 0, NEAREST: 1}.get(name, 2))
    return list(combinations(order, 2))


def _way(name: str, of: Mapping[str, Said], right: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    counted = [image for image in right if image in of]
    hits = [image for image in counted if of[image].label in right[image]]
    low, high = wilson(len(hits), len(counted)) or (None, None)
    firsts = [of[image].first in right[image] for image in counted if of[image].first is not None]
    first_low, first_high = wilson(sum(firsts), len(firsts)) or (None, None)
    found: dict[str, Any] = {
        "name": name,
        "n": len(counted),
        "right": len(hits),
        "value": len(hits) / len(counted) if counted else None,
        "low": low,
        "high": high,
        "first_right": sum(firsts) if firsts else None,
        "first_low": first_low,
        "first_high": first_high,
        "confidence_right": _mean([of[image].confidence for image in hits]),
        "confidence_wrong": _mean([of[image].confidence for image in set(counted) - set(hits)]),
    }
    iterated = [one for one in of.values() if one.converged is not None and one.compared]
    if iterated:
        found["converged"] = sum(int(one.converged or 0) for one in iterated)
        found["compared"] = sum(int(one.compared or 0) for one in iterated)
    return found


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _true_class(said: int, answers: Sequence[int]) -> int:
    """Of several right answers the one that was given, else the first."""
    return said if said in answers else answers[0]


def _per_class(said: Mapping[str, Mapping[str, Said]], right: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    """One entry a class: {"class", "n": {way: images}, "right": {way: images}}. An image of several right answers
    stands in the class of its first."""
    n: dict[int, Counter[str]] = {}
    hits: dict[int, Counter[str]] = {}
    for image, answers in right.items():
        for name, of in said.items():
            if image in of:
                n.setdefault(answers[0], Counter())[name] += 1
                hits.setdefault(answers[0], Counter())[name] += of[image].label in answers
    return [{"class": label, "n": dict(n[label]), "right": dict(hits[label])} for label in sorted(n)]


def _confusion(of: Mapping[str, Said], right: Mapping[str, Sequence[int]]) -> list[list[int]]:
    """[right class, class that was said (−1: none of the gallery's), images], the cells that are not empty."""
    cells = Counter(
        (_true_class(of[image].label, answers), of[image].label) for image, answers in right.items() if image in of
    )
    return [[true, told, count] for (true, told), count in sorted(cells.items())]


def _change(
    one: str, other: str, said: Mapping[str, Mapping[str, Said]], right: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    both = [image for image in right if image in said[one] and image in said[other]]
    before = {image: said[one][image].label in right[image] for image in both}
    after = {image: said[other][image].label in right[image] for image in both}
    mended = [image for image in both if after[image] and not before[image]]
    broken = [image for image in both if before[image] and not after[image]]
    return {
        "from": one,
        "to": other,
        "n": len(both),
        "mended": len(mended),
        "broken": len(broken),
        "both_right": sum(before[image] and after[image] for image in both),
        "p": mcnemar(len(mended), len(broken)),
        "mended_images": mended[:MOST_IMAGES],
        "broken_images": broken[:MOST_IMAGES],
    }
