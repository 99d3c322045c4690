"""Figures of preferences, worked out by hand."""

import math

import pytest

from annotation.statistics.preference import Choice, alignment, summaries, tables

PAIR = {"": ("original", "tuned")}


def say(person: int, prefers: str, *, cell: str = "", left: int = 0, **values) -> list[Choice]:
    """One answer a letter: f the first, s the second, n neither."""
    slot = {"f": 0, "s": 1, "n": None}
    return [Choice(person, cell, slot[letter], left, **values) for letter in prefers]


def test_alignment_of_a_rater():
    assert alignment(1, 1, 2) == 0.25
    assert alignment(0, 5, 0) == 0
    assert alignment(3, 0, 0) == -1
    assert alignment(0, 0, 0) is None


def test_counts_and_alignment_by_hand():
    # Rater 1: f f s n → (1 − 2)/4 = −0.25; rater 2: s s s s → 1; rater 3: n → 0. Mean 0.25.
    found = summaries([*say(1, "ffsn"), *say(2, "ssss"), *say(3, "n")], PAIR)
    (cell,) = found["cells"]
    assert cell["counts"] == {"first": 2, "neither": 2, "second": 5}
    assert cell["shares"]["second"] == pytest.approx(5 / 9)
    assert (cell["people"], cell["answers"]) == (3, 9)
    score = cell["alignment"]
    assert score["mean"] == pytest.approx(0.25)
    # Deviations −0.5, 0.75, −0.25: s² = (0.25 + 0.5625 + 0.0625)/2 = 0.4375.
    half = 4.302652729911275 * math.sqrt(0.4375 / 3)
    assert (score["low"], score["high"]) == pytest.approx((0.25 - half, 0.25 + half))
    assert score["these_raters_only"]
    assert cell["sentence"].endswith("Student's t over 3 raters; these raters only).")
    assert "Alignment of “tuned” over “original”: +0.25" in cell["sentence"]
    assert {name: value for name, value in cell.items() if name != "cell"} == found["overall"]


def test_five_raters_speak_for_more_than_themselves():
    found = summaries([choice for person in range(5) for choice in say(person, "sn")], PAIR)["overall"]
    assert found["alignment"] == {"mean": 0.5, "low": 0.5, "high": 0.5, "raters": 5, "these_raters_only": False}
    assert "only" not in found["sentence"]


def test_a_rater_with_many_answers_weighs_as_much_as_one_with_few():
    found = summaries([*say(1, "f" * 100), *say(2, "s")], PAIR)["overall"]
    assert found["alignment"]["mean"] == 0
    assert found["shares"]["first"] == pytest.approx(100 / 101)


def test_cells_stand_by_themselves_and_together():
    pairs = {"A": ("original A", "tuned A"), "B": ("original B", "tuned B")}
    found = summaries([*say(1, "ss", cell="A"), *say(1, "ff", cell="B"), *say(2, "s", cell="B")], pairs)
    assert [one["cell"] for one in found["cells"]] == ["A", "B"]
    assert [one["alignment"]["mean"] for one in found["cells"]] == [1, 0]
    # Rater 1: (2 − 2)/4 = 0; rater 2: 1.
    assert found["overall"]["alignment"]["mean"] == 0.5
    assert found["overall"]["first"] == "the first of each pair"
    rows = tables(found)[0].rows
    assert [row[0] for row in rows] == ["A", "B", "all pairs"]
    assert [row[4] for row in rows] == [2, 3, 5]


def test_the_share_of_the_left_counts_decided_answers_only():
    choices = [*say(1, "fff", left=0), *say(1, "s", left=1), *say(1, "f", left=1), *say(1, "nn", left=0)]
    position = summaries(choices, PAIR)["overall"]["position"]
    assert (position["left"], position["right"], position["share_left"]) == (4, 1, 0.8)


def test_the_scale_keeps_its_points_and_counts_as_choices():
    points = [Choice(1, "", 1, 0, 3.0), Choice(1, "", 0, 0, -1.0), Choice(2, "", None, 0, 0.0)]
    found = summaries(points, PAIR)
    overall = found["overall"]
    assert overall["counts"] == {"first": 1, "neither": 1, "second": 1}
    # Rater 1: (3 − 1)/2 = 1; rater 2: 0.
    assert overall["preference"]["mean"] == 0.5
    assert tables(found)[-1].title.startswith("Scale")


def test_nothing_answered_is_said_as_such():
    found = summaries([], PAIR)
    assert found["overall"]["alignment"]["mean"] is None
    assert found["overall"]["sentence"] == "Nobody has answered yet."
    assert found["overall"]["shares"] == {"first": None, "neither": None, "second": None}
    assert all(len(row) == len(one.columns) for one in tables(found) for row in one.rows)


def test_the_median_is_of_known_times():
    choices = [
        *say(1, "f", milliseconds=1000),
        *say(1, "f", milliseconds=4000),
        *say(2, "s"),
        *say(2, "s", milliseconds=2000),
    ]
    assert summaries(choices, PAIR)["overall"]["median_seconds"] == 2
