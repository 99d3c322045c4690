"""Agreement of raters: published examples and small cases by hand."""

import numpy as np
import pytest

from annotation.statistics.alignment import reliability
from annotation.statistics.alignment.reliability import alpha, cohen, coincidences, fleiss
from tests.annotation.statistics.alignment.said import crowd, rows, swapped

# Four observers, twelve units (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", part C).
OBSERVERS = ("123321412   ", "1233224125 3", " 3332342251 ", "12332441251 ")
# Fourteen raters, ten subjects, five categories (Fleiss' κ = 0.210).
FLEISS = np.array(
    [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
     [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]]
)  # fmt: skip


def test_krippendorffs_published_example():
    counts = np.array([["".join(unit).count(value) for value in "12345"] for unit in zip(*OBSERVERS, strict=True)])
    assert counts.sum() == 41
    assert coincidences(counts).sum() == 40, "one unit has one value: nothing to pair"
    assert round(alpha(counts), 3) == 0.743
    assert round(alpha(counts, "ordinal"), 3) == 0.815


def test_alpha_by_hand():
    # Two raters: tt, tn, nn. Pairs: tt 2, nn 2, tn and nt 1 each; n_t = n_n = 3, n = 6: α = 1 − 5·2/(2·9).
    counts = np.array([[0, 0, 2], [0, 1, 1], [0, 2, 0]])
    assert alpha(counts) == pytest.approx(1 - 5 * 2 / 18)
    # Two values only: every disagreement is of one size, so the level does not matter.
    assert alpha(counts, "ordinal") == pytest.approx(alpha(counts))


def test_alpha_knows_when_to_be_silent():
    assert alpha(np.array([[0, 0, 2], [0, 0, 3]])) is None, "all values are the same"
    assert alpha(np.array([[0, 0, 1], [1, 0, 0]])) is None, "nothing was rated twice"
    assert alpha(np.zeros((0, 3), dtype=int)) is None
    with pytest.raises(ValueError, match="nominal and ordinal"):
        alpha(np.array([[1, 1, 0]]), "interval")


def test_fleiss_published_example():
    kappa, items, ratings = fleiss(FLEISS)
    assert round(kappa, 3) == 0.210
    assert (items, ratings) == (10, 14)


def test_fleiss_takes_the_commonest_number_of_ratings():
    # Three items of two ratings, two of three, one of one.
    counts = np.array([[2, 0, 0], [1, 1, 0], [0, 2, 0], [3, 0, 0], [0, 0, 3], [1, 0, 0]])
    assert fleiss(counts) == (fleiss(counts[:3])[0], 3, 2)
    # P = (1 + 0 + 1)/3; half of all ratings are either value: (2/3 − 1/2)/(1/2).
    assert fleiss(counts)[0] == pytest.approx(1 / 3)
    # As common: the greater number.
    assert fleiss(counts[1:5])[1:] == (2, 3)
    assert fleiss(counts[:1]) == (None, 1, 2)
    assert fleiss(counts[5:]) == (None, 0, 0)


def test_cohen_by_hand():
    # 20 both tuned, 5 and 10 different, 15 both neither: p_o = 0.7, p_e = 0.5·0.6 + 0.5·0.4, κ = 0.4.
    found = cohen(rows({"a": "t" * 20 + "t" * 5 + "n" * 10 + "n" * 15, "b": "t" * 20 + "n" * 5 + "t" * 10 + "n" * 15}))
    assert found == {
        "mean": pytest.approx(0.4), "low": pytest.approx(0.4), "high": pytest.approx(0.4), "pairs": 1, "undefined": 0
    }  # fmt: skip


def test_cohen_of_several_pairs():
    # a and b agree on all (κ = 1); c said one thing of what it shares with a and b: p_e = 1/2 = p_o, κ = 0;
    # d shares nothing with anyone; e and f only ever said the same.
    found = cohen(rows({"a": "tn", "b": "tn", "c": "tt", "d": "  t", "e": "   n", "f": "   n"}))
    assert found == {"mean": pytest.approx(1 / 3), "low": 0.0, "high": 1.0, "pairs": 3, "undefined": 1}
    assert cohen(rows({"a": "tn"})) == {"mean": None, "low": None, "high": None, "pairs": 0, "undefined": 0}


def test_cohens_blocks_change_nothing(monkeypatch):
    given = crowd(people=7)
    whole = cohen(given)
    monkeypatch.setattr(reliability, "_CELLS", 9 * 7 * 2)  # two raters at a time
    assert cohen(given) == pytest.approx(whole)


def test_agreement_does_not_ask_which_map_is_which():
    given = crowd()
    one, other = reliability.summary(given), reliability.summary(swapped(given))
    assert one.pop("cohen") == pytest.approx(other.pop("cohen"))
    assert one == pytest.approx(other)
    assert one["items"] == one["fleiss_items"] == 18
    assert one["fleiss_ratings"] == 12
