"""The figures of a study against values worked out by hand."""

import uuid

import pytest

from annotation.answers import submit
from annotation.errors import StudyRefused
from annotation.flow import enter_as, next_step
from annotation.models import Trial
from annotation.statistics import table
from annotation.statistics.progress import study_progress
from annotation.statistics.reasonability import matrix
from annotation.studies import kind_of
from mlcore.models import ImageLabel, Prediction
from tests.annotation import factories as make

pytestmark = pytest.mark.django_db

GOOD, BAD = (True, False, 5), (True, True, 2)


def say(person, answers: dict[int, list[tuple[bool, bool, int]]], **values) -> None:
    """Answer every trial; `answers`: image id → one (necessary, unnecessary, quality) a slot."""
    while (step := next_step(person)).kind == "trial":
        page = step.assignment
        said = answers[page.trial.image_id]
        maps = [
            {"position": place, "necessary": said[slot][0], "unnecessary": said[slot][1], "quality": said[slot][2]}
            for place, slot in enumerate(page.order)
        ]
        submit(assignment=page, submission=uuid.uuid4(), payload={"maps": maps}, **values)


def test_the_matrix_by_hand():
    found = matrix([(True, True), (True, True), (True, False), (False, True), (None, True), (None, None), (True, None)])
    assert found.counts == {
        "reasonable_accurate": 2, "reasonable_inaccurate": 1, "unreasonable_accurate": 1, "unreasonable_inaccurate": 0,
    }  # fmt: skip
    assert found.shares["reasonable_accurate"] == 0.5
    assert (found.total, found.tied, found.unknown) == (4, 2, 1)
    assert set(matrix([]).shares.values()) == {None}


def test_models_are_compared_over_the_same_images():
    images = make.images(3)  # all of class 1
    before, after = make.explain(images, target=1), make.explain(images, target=1)
    Prediction.objects.filter(classifier=before.classifier, image=images[1]).update(label=2)  # wrong there
    study = make.ratings(images=images, explanation_sets=[before, after], k=None)
    a, b, c = (image.pk for image in images)
    say(make.participant(study), {a: [GOOD, BAD], b: [BAD, BAD], c: [GOOD, GOOD]}, duration_ms=1000)
    say(make.participant(study), {a: [GOOD, BAD], b: [BAD, GOOD], c: [BAD, GOOD]}, duration_ms=3000)
    found = kind_of(study).statistics(study)
    assert (found["people"], found["answers"], found["median_seconds"]) == ({"human": 2}, 6, 2.0)
    first, second = found["models"]
    assert first["classifier"] == str(before.classifier.uuid)
    # Image a reasonable and right, b unreasonable and wrong, c tied.
    assert first["matrix"]["counts"] == {
        "reasonable_accurate": 1, "reasonable_inaccurate": 0, "unreasonable_accurate": 0, "unreasonable_inaccurate": 1,
    }  # fmt: skip
    assert first["matrix"]["tied"] == 1
    # Image a unreasonable and right, b tied, c reasonable and right.
    assert second["matrix"]["counts"]["unreasonable_accurate"] == 1
    assert second["matrix"]["counts"]["reasonable_accurate"] == 1
    assert (first["reasonable_share"], second["reasonable_share"]) == (0.5, 0.5)
    assert first["mean_quality"] == pytest.approx((5 + 5 + 2 + 2 + 5 + 2) / 6)
    assert first["agreement"]["reasonable"] == {"share": pytest.approx(2 / 3), "pairs": 3}
    assert first["agreement"]["necessary"]["share"] == 1.0
    tables = kind_of(study).tables(study)
    assert [len(row) for row in tables[0].rows] == [len(tables[0].columns)] * 2
    assert [len(row) for row in tables[1].rows] == [4] * 12


def test_practice_checks_and_scripted_people_do_not_count_unless_asked():
    images = make.images(2)
    study = make.ratings(images=images, k=None)
    a, b = (image.pk for image in images)
    say(make.participant(study), {a: [GOOD], b: [GOOD]})
    say(enter_as(study, "scripted-1", "simulated"), {a: [BAD], b: [BAD]})
    Trial.objects.filter(image=b).update(phase="check")
    found = kind_of(study).statistics(study)
    assert (found["answers"], found["models"][0]["reasonable_share"], found["people"]) == (1, 1.0, {"human": 1})
    both = kind_of(study).statistics(study, ("human", "simulated"))
    assert (both["answers"], both["models"][0]["reasonable_share"]) == (2, 0.5)
    assert both["people"] == {"human": 1, "simulated": 1}
    assert both["kinds"] == ["human", "simulated"]
    with pytest.raises(StudyRefused):
        kind_of(study).statistics(study, ("robots",))
    with pytest.raises(StudyRefused):
        kind_of(study).statistics(study, ())


def test_an_image_without_a_label_or_a_prediction_is_counted_apart():
    images = make.images(2)
    study = make.ratings(images=images)
    ImageLabel.objects.filter(image=images[0]).delete()
    say(make.participant(study), {image.pk: [GOOD] for image in images})
    model = kind_of(study).statistics(study)["models"][0]
    assert model["matrix"]["unknown"] == 1
    assert model["matrix"]["counts"]["reasonable_accurate"] == 1


def test_a_study_nobody_answered_has_figures_too():
    for study in (make.ratings(1), make.drawings(1)):
        found = kind_of(study).statistics(study)
        assert (found["answers"], found["median_seconds"]) == (0, None)
        assert kind_of(study).tables(study)


def draw(person, columns: dict[int, int]) -> None:
    while (step := next_step(person)).kind == "trial":
        number = columns[step.assignment.trial.image_id]
        payload, drawing = ({}, make.drawing(number)) if number else ({"nothing": True}, None)
        submit(assignment=step.assignment, submission=uuid.uuid4(), payload=payload, drawing=drawing)


def test_drawings_by_hand():
    images = make.images(3)
    study = make.drawings(images=images, k=None)
    a, b, c = (image.pk for image in images)
    draw(make.participant(study), {a: 6, b: 3, c: 0})
    draw(make.participant(study), {a: 3, b: 3, c: 12})
    found = kind_of(study).statistics(study)
    assert (found["answers"], found["maps"], found["nothing"], found["images"]) == (6, 5, 1, 3)
    assert found["mean_share"] == pytest.approx((0.5 + 0.25 + 0.25 + 0.25 + 1) / 5)
    # a: 3 of 6 columns common; b: the same; c: one map only.
    assert found["agreement"] == {"iou": pytest.approx((0.5 + 1) / 2), "images": 2, "pairs": 2}


def test_progress_by_person_and_day(django_assert_num_queries):
    images = make.images(2)
    study = make.ratings(images=images, k=2)
    answers = {image.pk: [GOOD] for image in images}
    done = make.participant(study)
    say(done, answers)
    begun = make.participant(study)
    next_step(begun)
    with django_assert_num_queries(4):
        found = study_progress(study)
    assert (found.trials, found.wanted, found.answered, found.open, found.share) == (2, 4, 2, 1, 0.5)
    assert [(person.pseudonym, person.answered) for person in found.people] == [
        (done.pseudonym, 2), (begun.pseudonym, 0),
    ]  # fmt: skip
    assert [number for _, number in found.per_day] == [2]
    assert study_progress(make.ratings(1, k=None)).wanted is None


def test_a_person_with_a_login_counts_once_over_several_studies():
    images = make.images(1)
    studies = [make.ratings(images=images, k=None), make.ratings(images=images, k=None)]
    from annotation.flow import enter

    user = make.annotator()
    for study in studies:
        say(enter(user, study), {images[0].pk: [GOOD]})
        say(enter_as(study, "scripted-1", "simulated"), {images[0].pk: [GOOD]})
    assert table.people(studies, ("human", "simulated")) == {"human": 1, "simulated": 1}
