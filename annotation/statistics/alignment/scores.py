"""Alignment: how far people prefer the tuned map (definitions §5), a rater's own score and its mean over raters.

score = (tuned − original) / (tuned + original + neither), from −1 to 1. A rater is one sample, whatever the number of
answers: the interval and the test are Student's over the raters' own scores.
"""

import math
from collections.abc import Sequence
from statistics import fmean, variance
from typing import Any

import numpy as np

from annotation.statistics.agreement import shares
from annotation.statistics.alignment.rows import UNKNOWN, Rows, by_choice
from annotation.statistics.intervals import over_raters

NAMES = ("original", "neither", "tuned")


def counts_of(counts: np.ndarray) -> dict[str, int]:
    """(3,) counts by name."""
    return {name: int(number) for name, number in zip(NAMES, counts, strict=True)}


def rater_counts(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """(r,) indices of those who answered, ascending, and (r, 3) how often each said original, neither and tuned."""
    counts = by_choice(rows.rater, rows.choice, len(rows.raters))
    answered = np.flatnonzero(counts.sum(axis=1))
    return answered, counts[answered]


def own_scores(counts: np.ndarray) -> list[float]:
    """(r, 3) counts, none of them all zero → each rater's score."""
    return [float(value) for value in (counts[:, 2] - counts[:, 0]) / counts.sum(axis=1)]


def t_test(scores: Sequence[float]) -> float | None:
    """Two-sided p of the one-sample t test of mean score 0; None from fewer than two raters or where all are equal."""
    if len(scores) < 2 or (spread := variance(scores)) == 0:
        return None
    from scipy.special import stdtr

    t = fmean(scores) / math.sqrt(spread / len(scores))
    return 2 * float(stdtr(len(scores) - 1, -abs(t)))


def median_seconds(rows: Rows) -> float | None:
    """The median visible time of an answer; None where no time is known."""
    known = rows.milliseconds[rows.milliseconds != UNKNOWN]
    return float(np.median(known)) / 1000 if len(known) else None


def summary(rows: Rows) -> dict[str, Any]:
    """Counts, shares, alignment, its p and each rater's score, of these answers."""
    answered, counts = rater_counts(rows)
    said = counts_of(counts.sum(axis=0))
    scores = own_scores(counts)
    return {
        "people": len(answered),
        "images": len(np.unique(rows.image)),
        "answers": len(rows),
        "counts": said,
        "shares": shares(said),
        "alignment": over_raters(scores),
        "p": t_test(scores),
        "median_seconds": median_seconds(rows),
        "raters": sorted(
            (
                {"rater": rows.raters[place], **counts_of(own), "answers": int(own.sum()), "score": score}
                for place, own, score in zip(answered, counts, scores, strict=True)
            ),
            key=lambda one: str(one["rater"]),
        ),
    }
