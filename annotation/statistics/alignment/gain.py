"""What a metric gained where people judged, and whether cells that gained more were preferred more (exploratory)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np

from annotation.statistics.alignment.bootstrap import (
    DRAWS,
    LEAST_PEOPLE,
    PERCENTILES,
    matrices,
    pieces,
    weighted_alignment,
    weights,
)
from annotation.statistics.alignment.rows import Rows
from annotation.statistics.intervals import t_mean

LEAST_CELLS = 4


@dataclass(frozen=True)
class Gain:
    """The metric of both maps of each pair of a cell: `before` of the original's, `after` of the tuned one's.

    images: names as in Rows.images. agreement: share of images on which both classifiers say the same.
    """

    metric: str
    images: Sequence[str]
    before: Sequence[float | None]
    after: Sequence[float | None]
    higher_is_better: bool
    agreement: float | None = None

    @property
    def pairs(self) -> list[tuple[str, float, float]]:
        """(image, before, after) where both are finite numbers."""
        return [
            (image, before, after)
            for image, before, after in zip(self.images, self.before, self.after, strict=True)
            if before is not None and after is not None and math.isfinite(before) and math.isfinite(after)
        ]


def summary(gain: Gain) -> dict[str, Any]:
    """Mean before and after, the mean difference after − before with Student's t interval over images (the images are
    the sample; the two classifiers are these two), and the difference standardised.

    standardised: mean difference ÷ standard deviation of the differences over images (Cohen's d_z), signed so that
    better is positive; None where all differences are equal. Without a unit, so that cells of different metrics
    compare.
    """
    pairs = gain.pairs
    differences = [after - before for _, before, after in pairs]
    found = t_mean(differences)
    spread = stdev(differences) if len(differences) > 1 else 0.0
    sign = 1 if gain.higher_is_better else -1
    return {
        "metric": gain.metric,
        "before": fmean(before for _, before, _ in pairs) if pairs else None,
        "after": fmean(after for _, _, after in pairs) if pairs else None,
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "left_out": len(gain.images) - found.n,
        "standardised": sign * fmean(differences) / spread if spread else None,
        "agreement": gain.agreement,
        "higher_is_better": gain.higher_is_better,
    }


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's ρ of the rows of two (draws, cells) arrays, tied values at their mean rank: (draws,). NaN where a row
    holds a value that is not finite or one value only."""
    from scipy.stats import rankdata

    finite = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    found = np.full(len(first), np.nan)
    if finite.any():
        ranks = [rankdata(values[finite], axis=1) for values in (first, second)]
        one, other = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[finite] = (one * other).sum(axis=1) / np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    return found


def gain_and_preference(
    rows: Rows, gains: Mapping[str, Gain | None], *, draws: int = DRAWS, seed: int = 0
) -> dict[str, Any]:
    """Spearman's ρ over cells between the standardised gain and the alignment, exploratory; or why there is none.

    The interval draws images again, the same draw for gains and preferences, and people too from ten people (fewer are
    too few to draw from; then it is about these raters: `resampled` says which). The cells are those that there are.
    """
    cells = [name for name in rows.cells if (gain := gains.get(name)) and summary(gain)["standardised"] is not None]
    answered = [name for name in cells if (rows.cell == rows.cells.index(name)).any()]
    if len(answered) < LEAST_CELLS:
        return {"reason": f"Fewer than {LEAST_CELLS} cells have both a gain and answers."}
    used = rows.where(np.isin(rows.cell, [rows.cells.index(name) for name in answered]))
    people, rater = np.unique(used.rater, return_inverse=True)
    shown = sorted({used.images[place] for place in np.unique(used.image)} | _measured(gains, answered))
    image = np.array([{name: place for place, name in enumerate(shown)}.get(name, -1) for name in used.images])
    parts = []
    for name in answered:
        those = used.cell == used.cells.index(name)
        said = matrices(rater[those], image[used.image[those]], used.choice[those], (len(people), len(shown)))
        parts.append((*said, *_differences(gains[name], shown)))
    everyone, once = np.ones((1, len(people))), np.ones((1, len(shown)))
    rho = float(rank_correlation(*_both(parts, once, everyone))[0])
    if not math.isfinite(rho):
        return {"reason": "All cells have the same rank."}
    random = np.random.default_rng(seed)
    both = len(people) >= LEAST_PEOPLE
    found = []
    for some in pieces(draws, max(len(people), len(shown))):
        of_images = weights(random, len(shown), some)
        of_people = weights(random, len(people), some) if both else np.ones((some, len(people)))
        found.append(rank_correlation(*_both(parts, of_images, of_people)))
    drawn = np.concatenate(found)
    drawn = drawn[np.isfinite(drawn)]
    low, high = (float(value) for value in np.percentile(drawn, PERCENTILES)) if len(drawn) else (None, None)
    return {
        "cells": len(answered), "rho": rho, "low": low, "high": high, "draws": draws, "seed": seed,
        "resampled": "images and raters" if both else "images", "raters": len(people), "exploratory": True,
    }  # fmt: skip


def _measured(gains: Mapping[str, Gain | None], cells: Sequence[str]) -> set[str]:
    return {image for name in cells if (gain := gains[name]) for image, _, _ in gain.pairs}


def _differences(gain: Gain | None, images: Sequence[str]) -> tuple[float, np.ndarray, np.ndarray]:
    """The mean difference, signed so that better is positive; (images,) differences from it, 0 where none is known;
    (images,) 1 where one is known."""
    assert gain is not None
    places = {name: place for place, name in enumerate(images)}
    values, known = np.zeros(len(images)), np.zeros(len(images))
    for image, before, after in gain.pairs:
        values[places[image]] = after - before if gain.higher_is_better else before - after
        known[places[image]] = 1
    mean = float(values.sum() / known.sum())
    return mean, np.where(known > 0, values - mean, 0.0), known


def _both(parts: Sequence[Any], of_images: np.ndarray, of_people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(draws, cells) standardised gains and alignments under these weights of images and people."""
    gains, alignments = [], []
    for sums, numbers, centre, values, known in parts:
        number = of_images @ known
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = of_images @ values / number
            square = of_images @ values**2 / number - mean**2
            gains.append((centre + mean) / np.sqrt(np.maximum(square, 0) * number / (number - 1)))
        alignments.append(weighted_alignment(sums, numbers, of_images, of_people))
    return np.stack(gains, axis=1), np.stack(alignments, axis=1)
