"""Map drawing: what people start from, and how a drawing is said back."""

import uuid

import pytest
from django.utils import translation

from annotation.answers import submit
from annotation.errors import StudyRefused
from annotation.flow import next_step
from annotation.studies import kind_named
from annotation.studies.trials import Group
from tests.annotation import factories as make

pytestmark = pytest.mark.django_db
DRAW = kind_named("map_drawing")
FROM_MAP = {"start": "explanation"}


def trial_of(study):
    return next_step(make.participant(study)).assignment


def test_a_study_that_starts_from_explanations_needs_them():
    for groups in ([], [Group("")], [Group("a", ("a set",)), Group("b")]):
        with pytest.raises(StudyRefused, match="needs one explanation set"):
            DRAW.check_sets(groups, {"start": "explanation"})
        DRAW.check_sets(groups, {"start": "empty"})
    DRAW.check_sets([Group("", ("a set",))], {"start": "explanation"})
    with pytest.raises(StudyRefused):
        make.drawings(settings=FROM_MAP)


def test_at_most_one_set():
    shown = make.images(2)
    with pytest.raises(StudyRefused):
        make.drawings(images=shown, explanation_sets=[make.explain(shown), make.explain(shown)])


@pytest.mark.parametrize(("chosen", "starts"), [(FROM_MAP, True), ({"start": "empty"}, False), ({}, False)])
def test_the_page_starts_from_the_map_only_where_the_study_says_so(chosen, starts):
    shown = make.images(2)
    assignment = trial_of(make.drawings(images=shown, explanation_sets=[make.explain(shown)], settings=chosen))
    assert DRAW.page_context(assignment)["start"] is starts


def test_a_study_made_before_there_was_a_choice_starts_empty():
    assignment = trial_of(make.drawings())
    settings = {name: value for name, value in assignment.trial.study.version.settings.items() if name != "start"}
    assert DRAW.page_context(assignment, settings)["start"] is False


def test_a_drawing_is_said_back_as_its_share():
    study = make.drawings(number=2)
    person = make.participant(study)
    half = next_step(person).assignment
    submit(assignment=half, submission=uuid.uuid4(), payload={"strokes": []}, drawing=make.drawing(6))  # of 12 columns
    nothing = next_step(person).assignment
    submit(assignment=nothing, submission=uuid.uuid4(), payload={"nothing": True})
    for one in (half, nothing):
        one.refresh_from_db()
    with translation.override("en"):
        assert DRAW.in_words(half) == ["50 % painted"]
        assert DRAW.in_words(nothing) == ["nothing to mark"]
