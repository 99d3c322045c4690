"""Figures of real answers: the labels of the released harmony_app."""

from contextlib import closing
from pathlib import Path

import pytest

from annotation.statistics.alignment import reliability, scores
from tests.annotation.statistics.alignment.real import LABELS, RMA_GRAD_CAM, answers, connect


def test_shares_of_every_cell_are_those_of_sql(test_data: Path):
    rows = answers(test_data)
    assert (len(rows), len(rows.raters), len(rows.images), len(rows.cells)) == (15_000, 5, 3000, 15)
    counted = (
        "SELECT cell, avg(choice = 'original'), avg(choice = 'neither'), avg(choice = 'learn'), count(*)"
        f" FROM (SELECT experiment.name || ' × ' || method.name AS cell, choice {LABELS[LABELS.index('FROM') :]})"
        " GROUP BY cell"
    )
    with closing(connect(test_data)) as connection:
        for cell, original, neither, tuned, number in connection.execute(counted):
            found = scores.summary(rows.of_cell(cell))
            assert found["answers"] == number == 1000
            assert found["shares"] == pytest.approx({"original": original, "neither": neither, "tuned": tuned})


def test_rma_by_grad_cam(test_data: Path):
    rows = answers(test_data).of_cell(RMA_GRAD_CAM)
    found = scores.summary(rows)
    assert {name: round(100 * share, 1) for name, share in found["shares"].items()} == {
        "original": 3.9, "neither": 33.8, "tuned": 62.3
    }  # fmt: skip
    # All raters answered all 200 pairs: the mean of their scores is the difference of the shares.
    assert found["alignment"]["mean"] == pytest.approx(0.584)
    assert found["alignment"]["raters"] == 5
    assert found["alignment"]["low"] > 0
    agreed = reliability.summary(rows)
    assert (agreed["fleiss_items"], agreed["fleiss_ratings"], agreed["cohen"]["pairs"]) == (200, 5, 10)
