"""What an AI reaches by itself on what people were asked (definitions §8).

AI alone, accepting everything, is right as often as its answers are: p. AI alone that decides accepts an answer where
its confidence reaches a threshold, and rejects it below. The threshold is the one under which the most decisions are
correct on the images of the image set that stand in no trial of the study; among equals the lowest. It never saw the
images on which it is then judged.
"""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from annotation.statistics.intervals import wilson
from annotation.team_ai import Said

FEWEST_OUTSIDE = 20


def threshold_of(said: Iterable[Said]) -> float:
    """The confidence from which on accepting gives the most correct decisions; just above the greatest: never.

    Every answer has a confidence. ValueError where there is none.
    """
    rows = sorted(((one.confidence, one.right) for one in said if one.confidence is not None), key=lambda row: row[0])
    if not rows:
        raise ValueError("There are no answers with a confidence to choose a threshold by.")
    # Accept everything, then take answer by answer out from below; a threshold lies below all of its equals.
    correct = sum(right for _, right in rows)
    best, found = correct, rows[0][0]
    for place, (confidence, right) in enumerate(rows):
        correct += -1 if right else 1
        last = place == len(rows) - 1
        if not last and rows[place + 1][0] == confidence:
            continue
        if correct > best:
            best, found = correct, math.nextafter(confidence, math.inf) if last else rows[place + 1][0]
    return found


def ai_alone(said: Mapping[int, Said], shown: Set[int], used: Set[int]) -> dict[str, Any]:
    """Accuracy over all its answers, and what its decisions on the images of the trials come to.

    said: image → what the AI says, of every image with a label. shown: images of the condition's main trials; used:
    images of any trial of the study, which the threshold never sees.
    """
    right = sum(one.right for one in said.values())
    low, high = wilson(right, len(said)) or (None, None)
    p = right / len(said) if said else None
    return {"accuracy": p, "images": len(said), "low": low, "high": high, "decides": _decides(said, shown, used, p)}


def _decides(said: Mapping[int, Said], shown: Set[int], used: Set[int], p: float | None) -> dict[str, Any]:
    outside = [one for image, one in said.items() if image not in used and one.confidence is not None]
    judged = [said[image] for image in sorted(shown) if image in said and said[image].confidence is not None]
    if len(outside) < FEWEST_OUTSIDE or len({one.right for one in outside}) < 2:
        return {
            "reason": f"No threshold: {len(outside)} answers with a confidence lie outside the trials; "
            f"{FEWEST_OUTSIDE} are needed, right ones and wrong ones among them."
        }
    threshold = threshold_of(outside)
    correct = _correct(outside, threshold)
    parts = {
        "ai_right": [one for one in judged if one.right],
        "ai_wrong": [one for one in judged if not one.right],
        "overall": judged,
    }
    found: dict[str, Any] = {name: _share(rows, threshold) for name, rows in parts.items()}
    r, w = found["ai_right"]["share"], found["ai_wrong"]["share"]
    return {
        "reason": "",
        "threshold": threshold,
        "outside": {"images": len(outside), "share": correct / len(outside)},
        **found,
        "team": None if p is None or r is None or w is None else p * r + (1 - p) * w,
    }


def _correct(rows: Sequence[Said], threshold: float) -> int:
    return sum((one.confidence is not None and one.confidence >= threshold) == one.right for one in rows)


def _share(rows: Sequence[Said], threshold: float) -> dict[str, Any]:
    """Correct decisions, with Wilson's interval over images (descriptive)."""
    correct = _correct(rows, threshold)
    low, high = wilson(correct, len(rows)) or (None, None)
    return {"share": correct / len(rows) if rows else None, "images": len(rows), "low": low, "high": high}
