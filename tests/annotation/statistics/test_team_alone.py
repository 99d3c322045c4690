"""An AI that decides by its confidence: its threshold is fixed on images that are in no trial."""

import math

import pytest

from annotation.statistics.team_alone import ai_alone, threshold_of
from annotation.team_ai import Said


def rows(text: str) -> list[Said]:
    """“R9 W4”: right with a confidence of 0.9, wrong with 0.4."""
    return [Said(one[0] == "R", int(one[1:]) / 10) for one in text.split()]


def best_by_hand(said: list[Said]) -> float:
    """Every threshold that there is, tried one by one."""
    known = sorted({one.confidence for one in said})
    tried = [*known, math.nextafter(known[-1], math.inf)]
    correct = {at: sum((one.confidence >= at) == one.right for one in said) for at in tried}
    return min(at for at in tried if correct[at] == max(correct.values()))


@pytest.mark.parametrize(
    "text", ["R9 R8 W3 W2", "R9 R8 R2 W3", "W9 W8 R2", "R5 R5 W5 W4 R3", "R1", "W1 W2", "R5 W5", "W2 R2 R7 W7 R7 W9"]
)
def test_the_threshold_is_the_lowest_of_the_best(text):
    assert threshold_of(rows(text)) == best_by_hand(rows(text))


def test_never_accepting_is_a_threshold_too():
    assert threshold_of(rows("W9 W8")) == math.nextafter(0.9, math.inf)
    with pytest.raises(ValueError, match="no answers with a confidence"):
        threshold_of([Said(True, None)])


def test_its_images_are_never_those_that_it_is_judged_on():
    # Outside 0.5 parts right from wrong; in the trials 0.5 would be a poor choice, and is used all the same.
    outside = rows("R9 R8 R7 R6 R5 W4 W3 W2 W1 W4") * 2
    inside = rows("R9 R4 W8 W1")
    said = dict(enumerate(outside)) | {100 + place: one for place, one in enumerate(inside)}
    found = ai_alone(said, shown={100, 101, 102, 103}, used={100, 101, 102, 103})
    assert (found["accuracy"], found["images"]) == (12 / 24, 24)
    decides = found["decides"]
    assert (decides["threshold"], decides["outside"]) == (0.5, {"images": 20, "share": 1.0})
    assert [decides[part]["share"] for part in ("ai_right", "ai_wrong", "overall")] == [0.5, 0.5, 0.5]
    assert decides["team"] == 0.5
    # Of a condition that shows fewer, only those are judged; images of practice stay out of both.
    fewer = ai_alone(said, shown={100, 103}, used={100, 101, 102, 103})["decides"]
    assert [fewer[part]["share"] for part in ("ai_right", "ai_wrong")] == [1.0, 1.0]
    assert fewer["team"] == 1.0
    assert ai_alone(said, {100}, set(said))["decides"]["reason"].startswith("No threshold: 0 answers")


def test_an_ai_that_is_never_wrong_outside_has_no_threshold():
    said = dict(enumerate(rows("R9 R8 R7 R6 R5") * 8))
    assert "right ones and wrong ones" in ai_alone(said, set(), set())["decides"]["reason"]
    assert ai_alone({}, set(), set())["accuracy"] is None
