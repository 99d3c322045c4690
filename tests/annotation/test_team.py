"""Team: people accept or reject what the AI says. Whether it is right stays on the server until they have answered."""

import csv
import io
import json
import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from annotation.answers import submit
from annotation.errors import AnswerInvalid, StudyRefused
from annotation.exchange.export import columns, csv_lines
from annotation.flow import next_step
from annotation.models import Answer, Assignment, Trial
from annotation.publishing import TrialItem, add_trials, publish
from annotation.studies import kind_of
from annotation.studies.base import Cleaned
from annotation.studies.trials import Group
from mlcore.models import Explanation, ImageLabel
from tests.annotation import factories as make

pytestmark = pytest.mark.django_db
ACCEPT, REJECT = {"accept": True}, {"accept": False}


def trial_of(study: Any, person: Any = None) -> Assignment:
    found = next_step(person or make.participant(study)).assignment
    assert found is not None
    return found


def send(assignment: Assignment, payload: Any, **values: Any) -> Answer:
    return submit(assignment=assignment, submission=uuid.uuid4(), payload=payload, **values).answer


def one(payload: str | None = "neighbours", number: int = 3, **values: Any) -> Any:
    """A study with one condition, so that everyone meets it; without a payload the other condition is the AI alone."""
    images = values.pop("images", None) or make.images(number)
    if payload == "map":
        shown = make.explain(images)
    else:
        shown = make.compare(images, payload=payload or "neighbours")
    groups = [Group("secret-arm", (shown,))]
    if payload is None:
        groups.append(Group("bare-arm"))
    return make.team(images=images, groups=groups, conditions="within", k=None, **values)


def visit(assignment: Assignment) -> tuple[Client, str]:
    client = Client()
    client.force_login(assignment.participant.user)
    return client, client.get(reverse("trial", args=[assignment.uuid])).content.decode()


# --- answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [ACCEPT, REJECT])
def test_an_answer_is_kept_about_the_trial(payload):
    answer = send(trial_of(one()), payload)
    assert [(row.question, row.stimulus, row.value) for row in answer.judgements.all()] == [
        ("accept", None, payload["accept"])
    ]


def test_how_sure_a_person_is_is_asked_where_the_study_asks_it():
    study = one(settings={"own_confidence": "scale"})
    page = trial_of(study)
    for bad in (ACCEPT, ACCEPT | {"confidence": 0}, ACCEPT | {"confidence": 6}, ACCEPT | {"confidence": "4"}):
        with pytest.raises(AnswerInvalid) as refused:
            send(page, bad)
        assert refused.value.errors == {"confidence": "Say how sure you are, from 1 to 5."}
    answer = send(page, REJECT | {"confidence": 4})
    assert {row.question: row.value for row in answer.judgements.all()} == {"accept": False, "confidence": 4.0}
    changed = send(page, ACCEPT | {"confidence": 2}, base_revision=1)
    assert {row.question: row.value for row in changed.judgements.all()} == {"accept": True, "confidence": 2.0}
    assigned = Assignment.objects.get(pk=page.pk)
    assert kind_of(study).in_words(assigned) == ["the AI is right", "sure: 2 of 5"]


@pytest.mark.parametrize("payload", [{}, {"accept": None}, {"accept": "yes"}, {"accept": 1}, [], None, "yes"])
def test_what_is_no_answer_is_refused(payload):
    with pytest.raises(AnswerInvalid):
        send(trial_of(one()), payload)


def test_an_unasked_confidence_is_not_kept():
    answer = send(trial_of(one()), ACCEPT | {"confidence": 3})
    assert [row.question for row in answer.judgements.all()] == ["accept"]
    assert answer.revisions.get().payload["answer"] == ACCEPT


# --- gold and feedback ------------------------------------------------------------------------------------------


def practice(index: int, *, live: bool = True, **values: Any) -> Assignment:
    """A practice trial whose picture shows class `index`, while the AI says 1 (Monarch)."""
    study = one(live=False)
    image = study.trials.first().image
    ImageLabel.objects.filter(image=image).update(index=index)
    add_trials(study, study.owner, "practice", [TrialItem(image, **values)])
    publish(study, study.owner)
    return trial_of(study)


@pytest.mark.parametrize(
    ("index", "payload", "right", "sentence"),
    [
        (1, ACCEPT, True, "Right. It is a Monarch."),
        (1, REJECT, False, "Not quite: it is a Monarch, so the AI was right."),
        (0, ACCEPT, False, "Not quite: it is an Admiral, so the AI was wrong."),
        (0, REJECT, True, "Right. It is an Admiral, so the AI was wrong."),
    ],
)
def test_practice_says_what_it_is(index, payload, right, sentence):
    assignment = practice(index)
    assert assignment.trial.phase == "practice"
    assert assignment.trial.gold["answer"] == {"accept": index == 1}
    client, page = visit(assignment)
    if index == 0:
        assert "Admiral" not in page, "not before the answer"
    sent = {"submission": str(uuid.uuid4()), "payload": payload, "events": []}
    response = client.post(
        reverse("api-answer", args=[assignment.uuid]), json.dumps(sent), content_type="application/json"
    )
    assert response.json()["feedback"] == {"right": right, "sentence": sentence}


def test_main_trials_say_nothing():
    assignment = trial_of(one())
    client, _ = visit(assignment)
    sent = {"submission": str(uuid.uuid4()), "payload": ACCEPT, "events": []}
    response = client.post(
        reverse("api-answer", args=[assignment.uuid]), json.dumps(sent), content_type="application/json"
    )
    assert response.json()["feedback"] is None


def test_gold_without_a_label_has_to_be_said_by_somebody():
    study = one(live=False)
    kind, trial = kind_of(study), study.trials.first()
    ImageLabel.objects.all().delete()
    assert kind.known_gold(trial) is None
    assert kind.clean_gold({"accept": "no"}) == {"accept": False}
    assignment = practice_by_hand(study, trial.image)
    grade = kind.grade(assignment, Cleaned(ACCEPT), assignment.trial.gold["answer"])
    assert (grade.right, grade.sentence) == (False, "Not quite: the AI is wrong here.")
    grade = kind.grade(assignment, Cleaned(REJECT), assignment.trial.gold["answer"])
    assert (grade.right, grade.sentence) == (True, "Right. The AI is wrong here.")


def practice_by_hand(study: Any, image: Any) -> Assignment:
    add_trials(study, study.owner, "practice", [TrialItem(image, gold={"accept": False})])
    publish(study, study.owner)
    return trial_of(study)


def test_an_image_of_several_classes_is_right_under_any_of_them():
    study = one(live=False)
    trial = study.trials.first()
    ImageLabel.objects.create(image=trial.image, index=2)
    assert kind_of(study).known_gold(trial) == {"accept": True}


# --- making a study ---------------------------------------------------------------------------------------------


def refused(groups: list[Group], images: list, **values: Any) -> str:
    with pytest.raises(StudyRefused) as caught:
        make.team(images=images, groups=groups, **values)
    return caught.value.sentence


def test_a_team_has_one_ai_and_explains_what_it_says():
    images = make.images(3)
    here, there = make.compare(images), make.compare(images)
    assert "A team has one AI" in refused([Group("a", (here,)), Group("b", (there,))], images)
    assert "choose the set of maps of that model" in refused([Group("a"), Group("b")], images)
    true = make.explain(images, target=1)
    true.target = "true"
    true.save()
    assert "explains the true class" in refused([Group("a", (true,)), Group("b")], images)
    older = make.compare(images, classifier=here.classifier, target=0)
    make.compare(images, classifier=here.classifier, target=1, options={"again": 1})
    said = refused([Group("a", (older,)), Group("b")], images)
    assert "explains another class than the classifier says by now, in 3 images" in said
    assert "At most 1" in refused([Group("a", (here, older)), Group("b")], images)


def test_conditions_of_three_forms_and_none_share_the_images():
    images = make.images(3)
    near = make.compare(images)
    matched = make.compare(images, payload="matches", classifier=near.classifier)
    heat = make.explain(images, classifier=near.classifier, predict=False)
    groups = [Group("none"), Group("heat", (heat,)), Group("near", (near,)), Group("matched", (matched,))]
    study = make.team(images=images, groups=groups, k=None)
    by_arm = {arm.name: arm for arm in study.arms.all()}
    for name, payload in (("none", "none"), ("heat", "map"), ("near", "neighbours"), ("matched", "matches")):
        trial = Trial.objects.filter(study=study, arm=by_arm[name]).first()
        assert trial.context["class_name"] == "Monarch"
        shown = [stimulus.explanation.payload for stimulus in trial.stimuli.all()]
        assert (shown or ["none"]) == [payload]


# --- export -----------------------------------------------------------------------------------------------------


def test_one_row_an_answer_with_all_that_figures_need():
    images = make.images(2)
    ImageLabel.objects.filter(image=images[1]).update(index=2)
    study = one("matches", images=images, settings={"own_confidence": "scale"})
    person = make.participant(study)
    while (step := next_step(person)).kind == "trial":
        send(step.assignment, ACCEPT | {"confidence": 5})
    rows = list(csv.DictReader(io.StringIO("".join(csv_lines(study)))))
    names = {column.name for column in columns(study)}
    assert set(rows[0]) == names
    by_image = {row["image"]: row for row in rows}
    right, wrong = by_image[str(images[0].uuid)], by_image[str(images[1].uuid)]
    assert (right["ai_right"], right["correct"], wrong["ai_right"], wrong["correct"]) == (
        "true",
        "true",
        "false",
        "false",
    )
    classifier = Explanation.objects.first().set.classifier
    for row in rows:
        assert (row["condition"], row["ai_label"], row["ai_confidence"]) == ("secret-arm", "Monarch", "0.72")
        assert (row["accepted"], row["own_confidence"], row["explanation"]) == ("true", "5", "matches")
        assert (row["method"], row["classifier"]) == ("knn", str(classifier.uuid))


def test_a_condition_without_an_explanation_names_its_classifier_too():
    study = one(None, number=2)
    person = make.participant(study)
    while (step := next_step(person)).kind == "trial":
        send(step.assignment, REJECT)
    rows = list(csv.DictReader(io.StringIO("".join(csv_lines(study)))))
    bare = [row for row in rows if row["condition"] == "bare-arm"]
    assert len(bare) == 1
    assert (bare[0]["explanation"], bare[0]["method"], bare[0]["own_confidence"]) == ("none", "", "")
    assert bare[0]["classifier"] == str(Explanation.objects.first().set.classifier.uuid)
    assert bare[0]["correct"] == "false"
