"""Agreement of raters beside krippendorff, statsmodels and scikit-learn."""

from itertools import combinations
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa

from annotation.statistics.alignment import reliability
from annotation.statistics.alignment.majority import item_counts
from annotation.statistics.alignment.rows import Rows, rows_of
from tests.annotation.statistics.alignment.real import answers
from tests.oracles.conftest import data

NEAR = pytest.approx


def made_up(seed: int, *, missing: float, people: int = 9, items: int = 60) -> Rows:
    """Answers that hang together by item, a share of them missing."""
    random = np.random.default_rng(seed)
    lean = random.normal(0, 1, items)
    said = [
        (f"p{person}", f"i{item}", "cell", int(np.sign(np.round(lean[item] + random.normal()))))
        for person in range(people)
        for item in range(items)
        if random.random() >= missing
    ]
    return rows_of(said)


def matrix(rows: Rows) -> Any:
    """(raters, items) as the krippendorff package reads it."""
    found = np.full((len(rows.raters), int(rows.items.max()) + 1), np.nan)
    found[rows.rater, rows.items] = rows.choice
    return found


CASES = [(0, 0.0), (1, 0.3), (2, 0.7), (3, 0.9)]


@pytest.mark.parametrize("level", ["nominal", "ordinal"])
@pytest.mark.parametrize(("seed", "missing"), CASES)
def test_alpha(seed: int, missing: float, level: Any) -> None:
    rows = made_up(seed, missing=missing)
    theirs = krippendorff.alpha(matrix(rows), level_of_measurement=level, value_domain=[-1, 0, 1])
    assert reliability.alpha(item_counts(rows)[1], level) == NEAR(theirs, abs=1e-10)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fleiss(seed: int) -> None:
    counts = item_counts(made_up(seed, missing=0))[1]
    assert reliability.fleiss(counts)[0] == NEAR(fleiss_kappa(counts), abs=1e-10)


@pytest.mark.parametrize(("seed", "missing"), CASES)
def test_cohen(seed: int, missing: float) -> None:
    rows = made_up(seed, missing=missing)
    said = matrix(rows)
    theirs = []
    for one, other in combinations(said, 2):
        shared = ~np.isnan(one) & ~np.isnan(other)
        if shared.any() and len(set(one[shared]) | set(other[shared])) > 1:
            theirs.append(cohen_kappa_score(one[shared].astype(int), other[shared].astype(int)))
    ours = reliability.cohen(rows)
    assert ours["pairs"] == len(theirs)
    assert [ours[key] for key in ("mean", "low", "high")] == NEAR(
        [np.mean(theirs), np.min(theirs), np.max(theirs)], abs=1e-10
    )


def test_real_answers_cell_by_cell() -> None:
    whole = answers(Path(data()))
    for rows in (whole, *(whole.of_cell(name) for name in whole.cells)):
        found, counts = reliability.summary(rows), item_counts(rows)[1]
        for level in ("nominal", "ordinal"):
            theirs = krippendorff.alpha(value_counts=counts, level_of_measurement=level, value_domain=[-1, 0, 1])
            assert found[f"krippendorff_{level}"] == NEAR(theirs, abs=1e-10)
        assert found["fleiss"] == NEAR(fleiss_kappa(counts), abs=1e-10)
