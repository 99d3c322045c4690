"""Consensus and agreement, worked out by hand."""

import numpy as np
import pytest

from annotation.statistics.agreement import iou, mean_pairwise_iou, pairwise, shares
from annotation.statistics.consensus import MapConsensus, is_reasonable, majority


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], None), ([True], True), ([False], False), ([True, False], None), ([True, True, False], True),
     ([False, False, True], False), ([True, True, False, False], None), ([True] * 3 + [False] * 2, True)],
)  # fmt: skip
def test_majority_or_evenly_split(values, expected):
    assert majority(values) is expected


def test_reasonable_is_the_papers_rule():
    assert [is_reasonable(*pair) for pair in ((True, False), (True, True), (False, False), (False, True))] == [
        True, False, False, False,
    ]  # fmt: skip


def consensus(*maps: list[list[int]]) -> list[list[int]]:
    together = MapConsensus()
    for one in maps:
        together.add(np.array(one, dtype=np.uint8))
    return together.values().tolist()


def test_a_pixel_is_important_where_strictly_more_than_half_painted_it():
    assert consensus([[1, 2, 0]]) == [[1, 2, 0]]
    # Two people: both / one of them / neither.
    assert consensus([[1, 1, 2]], [[1, 2, 2]]) == [[1, 0, 2]]
    # Three people: 3, 2, 1, 0 of them painted it.
    assert consensus([[1, 1, 1, 2]], [[1, 1, 2, 2]], [[1, 2, 2, 2]]) == [[1, 1, 2, 2]]
    # Four people: two of four are not more than half, three are.
    assert consensus([[1, 1]], [[1, 1]], [[2, 1]], [[2, 2]]) == [[0, 1]]
    # Who leaves a pixel unknown says neither.
    assert consensus([[1, 2]], [[0, 0]], [[0, 0]]) == [[0, 0]]


def test_maps_of_different_sizes_have_no_consensus():
    together = MapConsensus()
    with pytest.raises(ValueError, match="Nobody"):
        together.values()
    together.add(np.ones((2, 2), dtype=np.uint8))
    with pytest.raises(ValueError, match="one size"):
        together.add(np.ones((2, 3), dtype=np.uint8))


def test_pairwise_agreement_counts_pairs_within_things():
    # "aab": pairs aa ab ab, one agrees; "cc": one of one; a single rater: no pair.
    found = pairwise(["aab", "cc", "d", ""])
    assert (found.pairs, found.same, found.share) == (4, 2, 0.5)
    assert pairwise([[True]]).share is None


def test_iou_of_maps():
    left = np.array([[1, 1, 0, 0]], dtype=bool)
    middle = np.array([[0, 1, 1, 0]], dtype=bool)
    nothing = np.zeros((1, 4), dtype=bool)
    assert iou(left, middle) == pytest.approx(1 / 3)
    assert iou(nothing, nothing) is None
    # Pairs: left/middle 1/3, left/left 1, middle/left 1/3.
    assert mean_pairwise_iou([left, middle, left]) == (pytest.approx(5 / 9), 3)
    assert mean_pairwise_iou([left]) == (None, 0)


def test_shares_of_nothing_are_unknown():
    assert shares({"a": 1, "b": 3}) == {"a": 0.25, "b": 0.75}
    assert shares({"a": 0}) == {"a": None}
