"""Two-way cluster bootstrap: people and images are drawn again, each with replacement and independently (Owen 2007).

An answer's weight is the number of times that its person was drawn × that of its image. The interval is that of the
mean over raters of their own scores, by the 2.5 and 97.5 percentiles. From ten people: fewer are too few to draw from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from annotation.statistics.alignment.rows import Rows

LEAST_PEOPLE = 10
DRAWS = 2000
PERCENTILES = (2.5, 97.5)
_CELLS = 4_000_000  # numbers that one piece of the draws may hold


def matrices(rater: np.ndarray, image: np.ndarray, choice: np.ndarray, shape: tuple[int, int]) -> tuple[Any, Any]:
    """Sparse (raters, images): the sum of a person's choices about an image, and their number."""
    from scipy.sparse import coo_array

    at = (rater, image)
    sums = coo_array((choice.astype(np.float64), at), shape=shape).tocsr()
    numbers = coo_array((np.ones(len(choice)), at), shape=shape).tocsr()
    return sums, numbers


def weights(random: np.random.Generator, number: int, draws: int) -> np.ndarray:
    """(draws, number) how often each of `number` was drawn among as many, with replacement: multinomial rows."""
    drawn = random.integers(0, number, (draws, number))
    drawn += np.arange(draws)[:, None] * number
    return np.bincount(drawn.reshape(-1), minlength=draws * number).reshape(draws, number).astype(np.float64)


def pieces(draws: int, size: int) -> Iterator[int]:
    """How many draws to make at once, so that `size` numbers a draw stay within bounds."""
    step = max(1, _CELLS // max(size, 1))
    for start in range(0, draws, step):
        yield min(step, draws - start)


def weighted_alignment(sums: Any, numbers: Any, of_images: np.ndarray, of_raters: np.ndarray) -> np.ndarray:
    """(draws,) the mean over raters, weighted, of their own weighted scores; not finite where nobody is left.

    sums, numbers: sparse (raters, images). of_images: (draws, images). of_raters: (draws, raters).
    """
    said = np.asarray(numbers @ of_images.T)  # (raters, draws)
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = np.where(said > 0, np.asarray(sums @ of_images.T) / said, 0.0)
        counted = np.where(said > 0, of_raters.T, 0.0)
        return (scores * counted).sum(axis=0) / counted.sum(axis=0)


def interval(rows: Rows, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """The 95 % interval of the alignment, or why there is none."""
    people, rater = np.unique(rows.rater, return_inverse=True)
    images, image = np.unique(rows.image, return_inverse=True)
    if len(people) < LEAST_PEOPLE:
        return {"reason": f"Fewer than {LEAST_PEOPLE} people answered: too few to draw from."}
    sums, numbers = matrices(rater, image, rows.choice, (len(people), len(images)))
    random = np.random.default_rng(seed)
    found = np.concatenate(
        [
            weighted_alignment(sums, numbers, weights(random, len(images), some), weights(random, len(people), some))
            for some in pieces(draws, max(len(people), len(images)))
        ]
    )
    low, high = np.percentile(found[np.isfinite(found)], PERCENTILES)
    return {"low": float(low), "high": float(high), "draws": draws, "seed": seed}
