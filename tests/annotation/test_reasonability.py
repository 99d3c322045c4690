"""What a right answer of a reasonability trial is, and how answers are said back."""

import uuid

import pytest

from annotation.answers import submit
from annotation.errors import StudyRefused
from annotation.flow import next_step
from annotation.models import Assignment
from annotation.studies import kind_named, kind_of
from annotation.studies.base import Cleaned
from tests.annotation import factories as make

RATE = kind_named("reasonability")


def gold(**values):
    return RATE.clean_gold(values)


def answer(*maps: tuple[bool, bool, int]) -> Cleaned:
    return Cleaned({"maps": [
        {"position": place, "necessary": necessary, "unnecessary": unnecessary, "quality": quality}
        for place, (necessary, unnecessary, quality) in enumerate(maps)
    ]})  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "given", "right", "sentence"),
    [
        ({}, [(True, False, 5)], None, ""),
        ({"necessary": "yes"}, [(True, True, 1)], True, "Right: the focus contains the necessary details."),
        ({"necessary": "no"}, [(True, True, 1)], False, "Expected here: the focus misses necessary details."),
        ({"unnecessary": "no"}, [(False, True, 5)], False, "Expected here: it contains no unnecessary details."),
        ({"quality_at_least": 4}, [(False, False, 4)], True, "Right: a quality of 4 or better."),
        ({"quality_at_least": 4}, [(False, False, 3)], False, "Expected here: a quality of 4 or better."),
        ({"quality_at_most": 2}, [(False, False, 2)], True, "Right: a quality of 2 or worse."),
        ({"quality_at_least": 2, "quality_at_most": 3}, [(True, True, 4)], False,
         "Expected here: a quality from 2 to 3."),
        ({"quality_at_least": 5}, [(True, True, 5)], True, "Right: a quality of 5."),
        ({"necessary": "yes", "unnecessary": "yes"}, [(True, True, 3), (True, True, 1)], True,
         "Right: the focus contains the necessary details, it contains unnecessary details."),
        ({"necessary": "yes", "unnecessary": "yes"}, [(True, True, 3), (True, False, 1)], False,
         "Expected here: the focus contains the necessary details, it contains unnecessary details."),
    ],
)  # fmt: skip
def test_all_maps_are_held_against_what_is_asked(wanted, given, right, sentence):
    found = RATE.grade(Assignment(), answer(*given), gold(**wanted))
    assert (found.right, found.sentence) == (right, sentence)


def test_gold_that_nobody_can_meet_is_refused():
    with pytest.raises(StudyRefused, match="least quality is above"):
        gold(quality_at_least=4, quality_at_most=3)
    with pytest.raises(StudyRefused, match="does not fit"):
        gold(necessary="perhaps")


@pytest.mark.django_db
def test_own_answers_are_said_map_by_map_in_the_order_of_the_page():
    study = make.ratings(1, sets=2)
    page = next_step(make.participant(study)).assignment
    page.order = [1, 0]
    page.save()
    payload = answer((True, False, 5), (False, True, 2)).payload
    submit(assignment=page, submission=uuid.uuid4(), payload=payload)
    assert kind_of(study).in_words(Assignment.objects.get(pk=page.pk)) == ["yes · no · 5", "no · yes · 2"]
