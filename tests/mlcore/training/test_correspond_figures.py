"""Figures of a comparison, by hand and by scipy."""

import numpy as np
import pytest
from scipy import stats

from mlcore.training.correspond_figures import HEAD, Said, accuracy_row, figures, mcnemar, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 5), (5, 5), (1, 1), (402, 832), (3, 10), (50_000, 100_000)])
def test_wilson_is_scipys(right: int, n: int) -> None:
    found = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right, n) == pytest.approx((found.low, found.high), abs=1e-12)


def test_no_image_has_no_interval() -> None:
    assert wilson(0, 0) is None
    assert accuracy_row({}, {"a": [1]}, {})["value"] is None


@pytest.mark.parametrize(("mended", "broken"), [(0, 0), (0, 1), (5, 5), (61, 84), (43, 218), (3, 0), (9000, 9400)])
def test_mcnemar_is_the_exact_binomial_test(mended: int, broken: int) -> None:
    expected = stats.binomtest(mended, mended + broken).pvalue if mended + broken else 1.0
    assert mcnemar(mended, broken) == pytest.approx(expected, rel=1e-7)


RIGHT = {"a": (0,), "b": (0, 2), "c": (1,), "d": (1,)}
SAID = {
    "knn": {"a": Said(0, 0.9, 0), "b": Said(1, 0.5, 2), "c": Said(0, 0.4, 1), "d": Said(1, 0.8, 1)},
    "emd_corr": {
        "a": Said(1, 0.6, 0, 8, 8), "b": Said(2, 0.7, 2, 7, 8), "c": Said(0, 0.2, 0, 8, 8), "d": Said(1, 1.0, 1, 6, 8),
    },
    HEAD: {"a": Said(0, 0.99), "c": Said(-1, 0.4)},
}  # fmt: skip


def test_each_way_is_counted_on_the_images_that_it_answered() -> None:
    found = {way["name"]: way for way in figures(SAID, RIGHT)["ways"]}
    assert [(way["right"], way["n"]) for way in found.values()] == [(2, 4), (2, 4), (1, 2)]
    assert (found["knn"]["first_right"], found["emd_corr"]["first_right"], found[HEAD]["first_right"]) == (4, 3, None)
    assert found["knn"]["confidence_right"] == pytest.approx(np.mean([0.9, 0.8]))
    assert found["knn"]["confidence_wrong"] == pytest.approx(np.mean([0.5, 0.4]))
    assert (found["emd_corr"]["converged"], found["emd_corr"]["compared"]) == (29, 32)
    assert "converged" not in found["knn"]


def test_any_of_several_right_answers_counts_and_the_class_is_the_first() -> None:
    found = figures(SAID, RIGHT)
    assert found["per_class"] == [
        {"class": 0, "n": {"knn": 2, "emd_corr": 2, HEAD: 1}, "right": {"knn": 1, "emd_corr": 1, HEAD: 1}},
        {"class": 1, "n": {"knn": 2, "emd_corr": 2, HEAD: 1}, "right": {"knn": 1, "emd_corr": 1, HEAD: 0}},
    ]
    assert found["confusion"]["emd_corr"] == [[0, 1, 1], [1, 0, 1], [1, 1, 1], [2, 2, 1]]
    assert found["confusion"][HEAD] == [[0, 0, 1], [1, -1, 1]]


def test_changes_are_paired_over_the_images_that_both_answered() -> None:
    found = {(one["from"], one["to"]): one for one in figures(SAID, RIGHT)["changes"]}
    assert set(found) == {(HEAD, "knn"), (HEAD, "emd_corr"), ("knn", "emd_corr")}
    change = found["knn", "emd_corr"]
    assert (change["mended_images"], change["broken_images"]) == (["b"], ["a"])
    assert (change["n"], change["both_right"], change["p"]) == (4, 1, 1.0)
    assert (found[HEAD, "emd_corr"]["n"], found[HEAD, "emd_corr"]["broken"]) == (2, 1)


def test_a_row_of_scores_leaves_out_images_without_an_answer() -> None:
    row = accuracy_row(SAID["knn"], {"a": (0,), "b": (0,)}, {"grey picture": 2, "small picture": 0})
    assert (row["value"], row["n"], row["per_image"]) == (0.5, 2, {"a": 1.0, "b": 0.0})
    assert row["left_out"] == {"grey picture": 2}
    assert (row["low"], row["high"]) == wilson(1, 2)
