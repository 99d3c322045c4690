"""Alignment, Holm, majorities and sides, worked out by hand and against SciPy and statsmodels."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.statistics.alignment import majority, position, scores
from annotation.statistics.alignment.binomial import exact_p, share
from annotation.statistics.alignment.holm import holm
from annotation.statistics.alignment.rows import rows_of
from annotation.statistics.intervals import over_raters
from tests.annotation.statistics.alignment.said import crowd, rows, swapped

HAND = {"a": "ootn", "b": "tttt", "c": "n"}
P_VALUES = st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=12)


def test_alignment_by_hand():
    # a: (1 − 2)/4 = −0.25; b: 1; c: 0. Mean 0.25, s² = (0.25 + 0.5625 + 0.0625)/2 = 0.4375.
    found = scores.summary(rows(HAND))
    assert found["counts"] == {"original": 2, "neither": 2, "tuned": 5}
    assert found["shares"] == pytest.approx({"original": 2 / 9, "neither": 2 / 9, "tuned": 5 / 9})
    assert (found["people"], found["images"], found["answers"]) == (3, 4, 9)
    half = 4.302652729911275 * math.sqrt(0.4375 / 3)
    assert found["alignment"] == {
        "mean": 0.25, "low": pytest.approx(0.25 - half), "high": pytest.approx(0.25 + half), "raters": 3,
        "these_raters_only": True,
    }  # fmt: skip
    # With 2 degrees of freedom P(|T| > t) = 1 − t/√(t² + 2).
    t = 0.25 / math.sqrt(0.4375 / 3)
    assert found["p"] == pytest.approx(1 - t / math.sqrt(t**2 + 2))
    assert found["raters"] == [
        {"rater": "a", "original": 2, "neither": 1, "tuned": 1, "answers": 4, "score": -0.25},
        {"rater": "b", "original": 0, "neither": 0, "tuned": 4, "answers": 4, "score": 1.0},
        {"rater": "c", "original": 0, "neither": 1, "tuned": 0, "answers": 1, "score": 0.0},
    ]


def test_the_median_is_of_known_times():
    given = rows_of([("a", str(place), "c", 1, 0, time) for place, time in enumerate([1000, 4000, -1, 2500])])
    assert scores.median_seconds(given) == 2.5
    assert scores.median_seconds(rows(HAND)) is None


def test_the_t_test_is_scipys():
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(3).normal(0.3, 1, 9)
    assert scores.t_test(values.tolist()) == pytest.approx(ttest_1samp(values, 0).pvalue, rel=1e-12)
    assert scores.t_test([0.5]) is None
    assert scores.t_test([0.5, 0.5, 0.5]) is None


def test_five_raters_speak_for_more_than_themselves():
    assert over_raters([0.1] * 4)["these_raters_only"]
    assert not over_raters([0.1] * 5)["these_raters_only"]


def test_nobody_said_anything():
    nothing = rows_of([], cells=["cell"])
    found = scores.summary(nothing)
    assert found["alignment"]["mean"] is None
    assert found["p"] is None
    assert found["raters"] == []
    assert set(found["shares"].values()) == {None}
    assert majority.summary(nothing)["share_tuned"] is None
    assert majority.images_table(nothing) == []
    assert position.summary(nothing) == {
        "left": 0, "right": 0, "share_left": None, "low": None, "high": None, "p": None
    }  # fmt: skip


def test_holm_by_hand():
    # 4·0.01, 3·0.02, 2·0.03 (kept up by the one before), 1·0.04 (the same).
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_a_test_that_could_not_be_made_counts():
    assert holm([0.01, None]) == [0.02, None]


def test_holm_is_that_of_statsmodels():
    from statsmodels.stats.multitest import multipletests

    values = np.random.default_rng(0).random(15) ** 3
    assert holm(values.tolist()) == pytest.approx(multipletests(values, method="holm")[1].tolist(), abs=1e-15)


@given(P_VALUES)
def test_holm_keeps_the_order_and_never_lowers(values):
    adjusted = holm(values)
    known = [(value, one) for value, one in zip(values, adjusted, strict=True) if value is not None]
    assert all(value <= one <= 1 for value, one in known)
    assert [one for _, one in sorted(known)] == sorted(one for _, one in known)
    assert all(one is None for value, one in zip(values, adjusted, strict=True) if value is None)


@pytest.mark.parametrize(("part", "whole"), [(0, 5), (3, 10), (5, 10), (200, 301), (7, 7)])
def test_the_exact_test_is_scipys(part, whole):
    from scipy.stats import binomtest

    assert exact_p(part, whole) == pytest.approx(binomtest(part, whole).pvalue, rel=1e-9)
    assert exact_p(part, whole) == exact_p(whole - part, whole)


def test_a_share_by_hand():
    # Of 4 tries one: P = 2·(1 + 4)/16.
    assert share(1, 4)["p"] == pytest.approx(0.625)
    assert share(0, 0) == {"share": None, "low": None, "high": None, "p": None}


def test_majorities_by_hand():
    answers = ["ttn", "oot", "ton", "nnt", "to", "nn", "t"]  # what was said of each image
    given = rows({rater: "".join(f"{said:3}"[place] for said in answers) for place, rater in enumerate("abc")})
    found = majority.summary(given)
    assert [one["majority"] for one in majority.images_table(given)] == [
        "tuned", "original", "tied", "neither", "tied", "neither", "tuned"
    ]  # fmt: skip
    assert (found["tuned"], found["original"], found["neither"], found["tied"]) == (2, 1, 2, 2)
    assert found["share_tuned"] == pytest.approx(2 / 3)
    assert found["p"] == 1.0
    assert majority.images_table(given)[0] == {
        "cell": "cell", "image": "image 000", "original": 0, "neither": 1, "tuned": 2, "majority": "tuned"
    }  # fmt: skip


def test_an_image_has_a_majority_in_each_cell():
    given = rows_of([("a", "x", "1", 1), ("a", "x", "2", -1)])
    assert [one["majority"] for one in majority.images_table(given)] == ["tuned", "original"]


def test_sides_by_hand():
    # Chosen: tuned on the left, original on the left, tuned on the right, original on the right; the rest is no side.
    choices = [(1, 1), (-1, 0), (1, 0), (-1, 1), (1, 1), (0, 1), (1, -1)]
    found = position.summary(rows_of([("a", str(n), "c", *one, 5) for n, one in enumerate(choices)]))
    assert (found["left"], found["right"], found["share_left"]) == (3, 2, 0.6)
    assert found["p"] == 1.0


def test_when_the_maps_change_places_signs_turn_and_sides_stay():
    given = crowd()
    one, other = scores.summary(given), scores.summary(swapped(given))
    assert other["alignment"]["mean"] == pytest.approx(-one["alignment"]["mean"])
    assert other["alignment"]["low"] == pytest.approx(-one["alignment"]["high"])
    assert other["p"] == pytest.approx(one["p"])
    assert majority.summary(swapped(given))["share_tuned"] == pytest.approx(1 - majority.summary(given)["share_tuned"])
    assert position.summary(swapped(given)) == position.summary(given)
