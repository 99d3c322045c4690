"""Figures of a preference study (definitions §5, §8): how often each of two maps is preferred, and by whom.

The main figure is a rater's alignment score, (second − first) / (first + neither + second), and its interval is
Student's t over the raters' own scores: five raters are five samples, whatever the number of their answers.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from annotation.models import Judgement, Stimulus, Study
from annotation.models.studies import Phase
from annotation.statistics import table
from annotation.statistics.agreement import shares
from annotation.statistics.intervals import over_raters, wilson
from annotation.studies.base import Table

FIRST, SECOND = 0, 1
ALL_CELLS = "all pairs"


@dataclass(frozen=True)
class Choice:
    """One answer. `prefers`: slot 0, slot 1 or None for neither; `left`: the slot that this person saw on the left,
    None where nobody kept it (imported answers)."""

    person: int
    cell: str
    prefers: int | None
    left: int | None
    point: float | None = None
    milliseconds: int | None = None


def alignment(first: int, neither: int, second: int) -> float | None:
    """A rater's score from −1 (always the first) to 1 (always the second); None without an answer."""
    total = first + neither + second
    return (second - first) / total if total else None


@dataclass
class Tally:
    """Answers of one cell, counted as they come, so that memory grows with the raters and not with the answers."""

    people: dict[int, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))
    points: dict[int, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0]))
    left: int = 0
    decided: int = 0
    milliseconds: array = field(default_factory=lambda: array("q"))

    def add(self, choice: Choice) -> None:
        said = self.people[choice.person]
        said[1 if choice.prefers is None else 2 * choice.prefers] += 1
        if choice.prefers is not None and choice.left is not None:
            self.decided += 1
            self.left += choice.prefers == choice.left
        if choice.point is not None:
            self.points[choice.person][0] += choice.point
            self.points[choice.person][1] += 1
        if choice.milliseconds is not None:
            self.milliseconds.append(choice.milliseconds)


def summary(tally: Tally, names: tuple[str, str]) -> dict[str, Any]:
    """The figures of one cell, whose first and second condition have these names."""
    first, neither, second = (sum(said[place] for said in tally.people.values()) for place in range(3))
    counts = {"first": first, "neither": neither, "second": second}
    scores = [score for said in tally.people.values() if (score := alignment(*said)) is not None]
    means = [total / number for total, number in tally.points.values() if number]
    found = {
        "first": names[FIRST],
        "second": names[SECOND],
        "people": len(tally.people),
        "answers": first + neither + second,
        "counts": counts,
        "shares": shares(counts),
        "alignment": over_raters(scores),
        "preference": over_raters(means) if means else None,
        "position": _position(tally.left, tally.decided),
        "median_seconds": median(tally.milliseconds) / 1000 if tally.milliseconds else None,
    }
    return found | {"sentence": sentence(found)}


def _position(left: int, decided: int) -> dict[str, Any]:
    low, high = wilson(left, decided) or (None, None)
    return {
        "left": left, "right": decided - left, "share_left": left / decided if decided else None,
        "low": low, "high": high,
    }  # fmt: skip


def sentence(found: Mapping[str, Any]) -> str:
    """What the figures say, with their interval and whose they are."""
    score = found["alignment"]
    if score["mean"] is None:
        return "Nobody has answered yet."
    raters = "1 rater" if score["raters"] == 1 else f"{score['raters']} raters"
    said = f"Alignment of “{found['second']}” over “{found['first']}”: {score['mean']:+.2f}"
    if score["low"] is None:
        return f"{said} ({raters}; these raters only)."
    only = "; these raters only" if score["these_raters_only"] else ""
    return f"{said} (95 % interval {score['low']:+.2f} to {score['high']:+.2f}, Student's t over {raters}{only})."


def summaries(choices: Iterable[Choice], pairs: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Every cell of `pairs` (cell → names of its two conditions) and all of them together."""
    tallies = {cell: Tally() for cell in pairs}
    together = Tally()
    for choice in choices:
        tallies[choice.cell].add(choice)
        together.add(choice)
    names = set(pairs.values())
    common = names.pop() if len(names) == 1 else ("the first of each pair", "the second of each pair")
    return {
        "overall": summary(together, common),
        "cells": [{"cell": cell, **summary(tallies[cell], pair)} for cell, pair in pairs.items()],
    }


def figures(study: Study, kinds: Sequence[str]) -> dict[str, Any]:
    """All figures of a study, of the people of these kinds, ready for JSON. Two queries for the answers."""
    found = summaries(_choices(study, kinds), pairs_of(study))
    return {
        "kinds": list(kinds),
        "people": table.people([study], kinds),
        "answers": found["overall"]["answers"],
        "median_seconds": found["overall"]["median_seconds"],
        **found,
    }


def pairs_of(study: Study) -> dict[str, tuple[str, str]]:
    """Cell → the conditions of its first and second map, in the order of the arms."""
    shown = (
        Stimulus.objects.filter(trial__study=study, trial__phase=Phase.MAIN)
        .order_by("trial__arm__position", "trial__arm__name", "slot")
        .values_list("trial__arm__position", "trial__arm__name", "slot", "condition")
        .distinct()
    )
    pairs: dict[str, dict[int, str]] = defaultdict(dict)
    for _, arm, slot, condition in shown:
        pairs[arm or ""][slot] = condition
    return {cell: (names.get(FIRST, ""), names.get(SECOND, "")) for cell, names in pairs.items()}


def _choices(study: Study, kinds: Sequence[str]) -> Iterable[Choice]:
    said = Judgement.objects.filter(
        answer__in=table.counted([study], kinds), question__in=("chosen", "neither", "preference")
    ).values_list(
        "answer__assignment__participant", "answer__assignment__trial__arm__name", "answer__assignment__order",
        "answer__duration_ms", "stimulus__slot", "number",
    )  # fmt: skip
    for person, arm, order, milliseconds, slot, point in said.order_by("pk").iterator(chunk_size=5000):
        prefers = slot if not point else SECOND if point > 0 else FIRST
        yield Choice(person, arm or "", prefers, order[0] if order else None, point, milliseconds)


def tables(found: Mapping[str, Any]) -> list[Table]:
    """The figures as tables."""
    cells = list(found["cells"])
    rows = [(cell["cell"] or ALL_CELLS, cell) for cell in cells]
    if len(cells) != 1:
        rows.append((ALL_CELLS, found["overall"]))
    chosen = Table(
        "Which map is preferred",
        ("Pair", "First", "Second", "People", "Answers", "First preferred", "Neither", "Second preferred",
         "Share first", "Share neither", "Share second", "Median seconds"),
        [
            (name, one["first"], one["second"], one["people"], one["answers"], one["counts"]["first"],
             one["counts"]["neither"], one["counts"]["second"], one["shares"]["first"], one["shares"]["neither"],
             one["shares"]["second"], one["median_seconds"])
            for name, one in rows
        ],
    )  # fmt: skip
    aligned = Table(
        "Alignment: (second − first) / all, a rater's own mean",
        ("Pair", "Raters", "Mean", "95 % from", "95 % to", "In words"),
        [
            (name, one["alignment"]["raters"], one["alignment"]["mean"], one["alignment"]["low"],
             one["alignment"]["high"], one["sentence"])
            for name, one in rows
        ],
    )  # fmt: skip
    sides = Table(
        "Side: share of the left map among decided answers",
        ("Pair", "Left", "Right", "Share left", "95 % from", "95 % to"),
        [
            (name, one["position"]["left"], one["position"]["right"], one["position"]["share_left"],
             one["position"]["low"], one["position"]["high"])
            for name, one in rows
        ],
    )  # fmt: skip
    scale = Table(
        "Scale from −3 (first) to 3 (second), a rater's own mean",
        ("Pair", "Raters", "Mean", "95 % from", "95 % to"),
        [
            (name, one["preference"]["raters"], one["preference"]["mean"], one["preference"]["low"],
             one["preference"]["high"])
            for name, one in rows
            if one["preference"]
        ],
    )  # fmt: skip
    return [chosen, aligned, sides, *([scale] if scale.rows else [])]
