"""Team figures worked out by hand, and from real rows."""

import math
import uuid

import pytest

from annotation.answers import submit
from annotation.flow import next_step
from annotation.models import Assignment, Trial
from annotation.statistics import team
from annotation.statistics.team_table import Decision
from annotation.studies import kind_of
from annotation.studies.trials import Group
from mlcore.models import ImageLabel, Prediction
from tests.annotation import factories as make


def said(person: int, text: str, condition: str = "none", **values: object) -> list[Decision]:
    """“R+ W-”: the AI is right and was accepted, is wrong and was rejected; “?+”: nobody knows."""
    known = {"R": True, "W": False, "?": None}
    return [Decision(person, condition, known[one[0]], one[1] == "+", **values) for one in text.split()]


# Person 1: right 2 of 2, wrong 1 of 2; person 2: right 1 of 2, wrong 0 of 1; person 3: right 1 of 1, never a wrong one.
THREE = said(1, "R+ R+ W- W+") + said(2, "R+ R- W+") + said(3, "R+")


def test_accuracies_are_means_over_people():
    found = team.summary(THREE, p=0.6)
    overall = found["accuracy"]["overall"]
    # 3/4, 1/3 and 1: mean 25/36; over all answers 5 of 8.
    assert overall["mean"] == pytest.approx(25 / 36)
    assert (overall["people"], overall["answers"], overall["correct"]) == (3, 8, 5)
    assert overall["wilson"]["share"] == 5 / 8
    # s² of (0.75, 1/3, 1) by hand; t of 2 degrees is 4.302653.
    spread = math.sqrt(sum((value - 25 / 36) ** 2 for value in (0.75, 1 / 3, 1)) / 2)
    assert overall["high"] - overall["mean"] == pytest.approx(4.302653 * spread / math.sqrt(3), abs=1e-6)
    assert overall["these_people_only"]
    right, wrong = found["accuracy"]["ai_right"], found["accuracy"]["ai_wrong"]
    assert right["mean"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert (wrong["mean"], wrong["people"], wrong["answers"]) == (0.25, 2, 3)


def test_reliance_is_the_other_side_of_accuracy():
    found = team.summary(THREE, p=None)
    over, under = found["over_reliance"], found["under_reliance"]
    assert over["mean"] == 0.75
    assert under["mean"] == pytest.approx(1 / 6)
    wrong = found["accuracy"]["ai_wrong"]
    assert (over["low"], over["high"]) == (1 - wrong["high"], 1 - wrong["low"])
    assert found["team"]["mean"] is None, "nobody knows how often the AI is right"


def test_the_team_weighs_with_the_population_and_not_with_the_trials():
    # Persons 1 and 2 met both: 0.9·1 + 0.1·½ and 0.9·½ + 0.1·0.
    found = team.team(THREE, p=0.9)
    assert found["mean"] == pytest.approx((0.95 + 0.45) / 2)
    assert found["people"] == 2
    # Twice as many trials where the AI is wrong change nothing.
    assert team.team(THREE + said(1, "W- W+") + said(2, "W+"), p=0.9)["mean"] == pytest.approx(found["mean"])


def test_what_nobody_knows_is_counted_apart():
    found = team.summary(said(1, "?+ R+") + said(2, "?-"), p=0.5)
    assert (found["answers"], found["people"], found["unknown"]) == (3, 2, 2)
    assert found["accuracy"]["overall"]["people"] == 1
    assert found["accuracy"]["overall"]["low"] is None
    assert found["accuracy"]["ai_wrong"]["mean"] is None
    assert found["over_reliance"]["mean"] is None
    assert found["accepted"] == pytest.approx(2 / 3)


def test_confidence_and_time():
    rows = said(1, "R+ R+", confidence=5, milliseconds=1000) + said(2, "R-", confidence=2, milliseconds=4000)
    found = team.summary(rows, p=None)
    assert found["own_confidence"]["mean"] == 3.5, "mean over people, not over answers"
    assert found["median_seconds"] == 1.0
    assert team.summary([], p=0.5)["own_confidence"] is None


def test_conditions_between_people():
    first = said(1, "R+ W+", "map") + said(2, "R+ W-", "map") + said(3, "R+ R+", "map")  # ½ 1 1
    second = said(4, "R- W+", "none") + said(5, "R+ W+", "none")  # 0 ½
    found = team.differences({"map": first, "none": second}, paired=False)
    overall = found[0]
    assert (overall["first"], overall["second"], overall["measure"]) == ("map", "none", "overall")
    assert overall["mean"] == pytest.approx(5 / 6 - 1 / 4)
    from scipy import stats

    wanted = stats.ttest_ind([0.5, 1, 1], [0, 0.5], equal_var=False).confidence_interval(0.95)
    assert (overall["low"], overall["high"]) == pytest.approx((wanted.low, wanted.high))
    assert [one["measure"] for one in found] == ["overall", "ai_right", "ai_wrong"]


def test_conditions_within_people_are_paired():
    first = said(1, "R+ W+", "map") + said(2, "R+ W-", "map") + said(3, "R+", "map")
    second = said(1, "R- W+", "none") + said(2, "R+ W+", "none")
    overall = team.differences({"map": first, "none": second}, paired=True)[0]
    # Persons 1 and 2 met both: ½ − 0 and 1 − ½.
    assert (overall["mean"], overall["n"], overall["low"], overall["high"]) == (0.5, 2, 0.5, 0.5)


def test_the_sentence_names_whose_figures_they_are():
    found = team.summaries(THREE, ["none"], p={"none": 0.6}, paired=False)["conditions"][0]
    assert team.sentence(found) == (
        "none: people decided correctly in 69.4% of their trials "
        f"(95 % interval {found['accuracy']['overall']['low']:.1%} to {found['accuracy']['overall']['high']:.1%}, "
        "Student's t over 3 people; these people only)."
    )
    nobody = team.summaries([], ["none"], p={"none": 0.6}, paired=False)["conditions"][0]
    assert team.sentence(nobody) == "Nobody has answered yet."


# --- from rows ------------------------------------------------------------------------------------------------


def answer(person, accepts: dict[int, bool], **values) -> None:
    """Answers every trial that the person is given, by image."""
    while (step := next_step(person)).kind == "trial":
        payload = {"accept": accepts[step.assignment.trial.image_id]} | values
        submit(assignment=step.assignment, submission=uuid.uuid4(), payload=payload, duration_ms=2000)


@pytest.mark.django_db
def test_a_study_within_people():
    images = make.images(4)  # all of class 1
    shown = make.compare(images)
    ImageLabel.objects.filter(image__in=images[2:]).update(index=2)  # the AI says 1: it is wrong there
    further = make.images(2, image_set=images[0].image_set)
    for image in further:  # predicted and right, but not in the study: p is 4 of 6
        Prediction.objects.create(classifier=shown.classifier, image=image, label=1, confidence=0.5)
    study = make.team(
        images=images, k=None, groups=[Group("bare"), Group("alike", (shown,))], conditions="within", image_once=False
    )
    a, b, c, d = (image.pk for image in images)
    answer(make.participant(study), {a: True, b: True, c: True, d: False})
    answer(make.participant(study), {a: True, b: False, c: False, d: False})
    found = kind_of(study).statistics(study)
    assert (found["answers"], found["people"], found["median_seconds"]) == (16, {"human": 2}, 2.0)
    (ai,) = found["ais"]
    assert (ai["accuracy"], ai["images"], ai["conditions"]) == (pytest.approx(4 / 6), 6, ["bare", "alike"])
    assert ai["decides"]["reason"].startswith("No threshold: 2 answers with a confidence lie outside the trials")
    assert [one["condition"] for one in found["conditions"]] == ["bare", "alike"]
    for one in found["conditions"]:
        assert one["accuracy"]["overall"]["mean"] == 0.75
        assert one["accuracy"]["ai_right"]["mean"] == 0.75
        assert one["over_reliance"]["mean"] == 0.25
        assert one["team"]["mean"] == pytest.approx(4 / 6 * 0.75 + 2 / 6 * 0.75)
    difference = found["differences"][0]
    assert (difference["paired"], difference["mean"], difference["n"]) == (True, 0.0, 2)
    tables = kind_of(study).tables(study)
    assert all(len(row) == len(table.columns) for table in tables for row in table.rows)
    assert any("paired within people" in table.title for table in tables)


@pytest.mark.django_db
def test_a_study_between_people_and_what_does_not_count():
    study = make.team(2, k=None)
    people = [make.participant(study) for _ in range(4)]
    for person in people:
        answer(person, dict.fromkeys(study.trials.values_list("image", flat=True), True))
    assert {person.arm.name for person in people} == {"none", "neighbours"}
    found = kind_of(study).statistics(study)
    assert [one["people"] for one in found["conditions"]] == [2, 2]
    assert not found["differences"][0]["paired"]
    Trial.objects.filter(pk__in=Assignment.objects.values("trial")[:1]).update(phase="check")
    assert kind_of(study).statistics(study)["answers"] == 6


@pytest.mark.django_db
def test_a_study_nobody_answered_has_figures_too():
    study = make.team(1)
    found = kind_of(study).statistics(study)
    assert (found["answers"], found["median_seconds"], found["ais"][0]["accuracy"]) == (0, None, 1.0)
    assert kind_of(study).tables(study)


@pytest.mark.django_db
def test_what_the_page_said_counts_also_after_a_new_evaluation():
    study = make.team(1, k=None)
    person = make.participant(study)
    answer(person, dict.fromkeys(study.trials.values_list("image", flat=True), True))
    Prediction.objects.update(label=2)
    found = kind_of(study).statistics(study)
    answered = next(one for one in found["conditions"] if one["answers"])
    assert answered["accuracy"]["ai_right"]["mean"] == 1.0


@pytest.mark.django_db
def test_figures_take_the_same_queries_however_many_answered(django_assert_max_num_queries):
    study = make.team(3, k=None)
    trials = dict.fromkeys(study.trials.values_list("image", flat=True), True)
    for _ in range(6):
        answer(
            make.participant(study),
            trials,
        )
    with django_assert_max_num_queries(18):
        kind_of(study).statistics(study)
