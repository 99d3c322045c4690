"""Preference: what is sent by side is recorded by stimulus; nothing on the page tells which map is whose."""

import csv
import io
import json
import re
import uuid
from typing import Any

import numpy as np
import pytest
from django.test import Client

from annotation.answers import submit
from annotation.errors import AnswerInvalid, StudyRefused
from annotation.exchange.export import columns, csv_lines
from annotation.flow import enter_as, next_step
from annotation.models import Answer, Assignment, Judgement, Trial
from annotation.publishing import TrialItem, add_trials, publish
from annotation.studies import kind_of
from annotation.studies.base import Cleaned
from annotation.studies.trials import Group
from mlcore.models import ExplanationSet
from tests.annotation import factories as make

pytestmark = pytest.mark.django_db

LEFT, RIGHT, NEITHER = {"choice": "a"}, {"choice": "b"}, {"choice": "neither"}


def trial_of(study: Any, order: tuple[int, int] = (0, 1), person: Any = None) -> Assignment:
    """A person's trial with the maps in this order from left to right."""
    found = next_step(person or make.participant(study)).assignment
    assert found is not None
    assert sorted(found.order) == [0, 1]
    found.order = list(order)
    found.save()
    return found


def send(assignment: Assignment, payload: Any, **values: Any) -> Answer:
    return submit(assignment=assignment, submission=uuid.uuid4(), payload=payload, **values).answer


def said(answer: Answer) -> list[tuple[str, int | None, Any]]:
    return [(row.question, row.stimulus.slot if row.stimulus else None, row.value) for row in answer.judgements.all()]


@pytest.mark.parametrize(
    ("order", "payload", "recorded"),
    [
        ((0, 1), LEFT, ("chosen", 0, True)),
        ((1, 0), LEFT, ("chosen", 1, True)),
        ((0, 1), RIGHT, ("chosen", 1, True)),
        ((1, 0), RIGHT, ("chosen", 0, True)),
        ((1, 0), NEITHER, ("neither", None, True)),
    ],
)
def test_a_choice_is_recorded_by_stimulus_and_not_by_side(order, payload, recorded):
    answer = send(trial_of(make.preferences(1), order), payload)
    assert said(answer) == [recorded]
    assert answer.revisions.get().payload["answer"] == payload, "what was sent is kept as it was sent"


@pytest.mark.parametrize(
    ("order", "point", "number"), [((0, 1), -3, -3), ((1, 0), -3, 3), ((0, 1), 2, 2), ((1, 0), 2, -2), ((1, 0), 0, 0)]
)
def test_a_point_on_the_scale_is_turned_toward_the_second_map(order, point, number):
    answer = send(trial_of(make.preferences(1, settings={"form": "slider"}), order), {"preference": point})
    assert said(answer) == [("preference", None, number)]


def test_a_change_takes_the_place_of_what_was_said_before():
    page = trial_of(make.preferences(1), (1, 0))
    send(page, LEFT)
    answer = send(page, NEITHER, base_revision=1)
    assert said(answer) == [("neither", None, True)]
    assert [row.payload["answer"] for row in answer.revisions.all()] == [LEFT, NEITHER]
    assert said(send(page, RIGHT, base_revision=2)) == [("chosen", 0, True)]


@pytest.mark.parametrize(
    "payload",
    [None, [], "a", {}, {"choice": None}, {"choice": "c"}, {"choice": ["a"]}, {"choice": 1}, {"preference": 1}],
)
def test_what_is_no_choice_is_refused(payload):
    page = trial_of(make.preferences(1))
    with pytest.raises(AnswerInvalid) as refusal:
        send(page, payload)
    assert refusal.value.errors == {"choice": "Choose the left map, the right map or neither."}
    assert not Answer.objects.exists()


@pytest.mark.parametrize("point", [4, -4, "1", 1.0, True, None, ...])
def test_what_is_no_point_is_refused(point):
    payload = LEFT if point is ... else {"preference": point}
    page = trial_of(make.preferences(1, settings={"form": "slider"}))
    with pytest.raises(AnswerInvalid, match="Choose a point on the scale"):
        send(page, payload)


@pytest.mark.parametrize(("form", "payload"), [("choice", NEITHER), ("slider", {"preference": 0})])
def test_without_neither_one_of_the_two_is_chosen(form, payload):
    page = trial_of(make.preferences(1, settings={"form": form, "neither": False}))
    with pytest.raises(AnswerInvalid, match="Choose the left map or the right map"):
        send(page, payload)
    points = kind_of(page.trial.study).page_context(page)["points"]
    assert [point["value"] for point in points] == ([] if form == "choice" else [-3, -2, -1, 1, 2, 3])


@pytest.mark.parametrize(
    ("order", "payload", "gold", "right", "sentence"),
    [
        ((0, 1), LEFT, "first", True, "Correct: the left map fits better."),
        ((1, 0), LEFT, "first", False, "The right map fits better."),
        ((1, 0), LEFT, "second", True, "Correct: the left map fits better."),
        ((0, 1), NEITHER, "second", False, "The right map fits better."),
        ((0, 1), NEITHER, "neither", True, "Correct: both maps fit equally well."),
        ((0, 1), RIGHT, "neither", False, "Both maps fit equally well."),
        ((0, 1), {"preference": 1}, "second", True, "Correct: the right map fits better."),
        ((1, 0), {"preference": 3}, "second", False, "The left map fits better."),
        ((1, 0), {"preference": 0}, "neither", True, "Correct: both maps fit equally well."),
    ],
)
def test_gold_is_told_by_side(order, payload, gold, right, sentence):
    page = trial_of(make.preferences(1), order)
    found = kind_of(page.trial.study).grade(page, Cleaned(payload), {"choice": gold})
    assert (found.right, found.sentence) == (right, sentence)


def test_gold_has_to_be_said():
    kind = kind_of(make.preferences(1))
    assert kind.clean_gold({"choice": "second"}) == {"choice": "second"}
    for values in ({}, {"choice": ""}, {"choice": "a"}):
        with pytest.raises(StudyRefused, match="does not fit"):
            kind.clean_gold(values)


def test_a_practice_trial_tells_what_was_right_and_does_not_count():
    images = make.images(2)
    study = make.preferences(
        images=images[:1], live=False, explanation_sets=[make.explain(images), make.explain(images)]
    )
    add_trials(
        study, None, "practice", [TrialItem(images[1], gold={"choice": "second"}, feedback="It is on the wing.")]
    )
    publish(study, None)
    person = make.participant(study)
    page = trial_of(study, (1, 0), person)
    told = submit(assignment=page, submission=uuid.uuid4(), payload=RIGHT).feedback
    assert (told.right, told.sentence) == (False, "The left map fits better. It is on the wing.")
    send(trial_of(study, (1, 0), person), LEFT)
    assert kind_of(study).statistics(study)["answers"] == 1


@pytest.mark.parametrize(
    ("order", "payload", "words"),
    [
        ((1, 0), LEFT, "the left map"),
        ((1, 0), RIGHT, "the right map"),
        ((0, 1), NEITHER, "neither"),
        ((1, 0), {"preference": -3}, "the left map fits much better"),
        ((0, 1), {"preference": 1}, "the right map fits slightly better"),
        ((1, 0), {"preference": 0}, "both maps fit equally well"),
    ],
)
def test_own_answers_are_said_by_side(order, payload, words):
    study = make.preferences(1, settings={"form": "choice" if "choice" in payload else "slider"})
    page = trial_of(study, order)
    send(page, payload)
    assert kind_of(study).in_words(Assignment.objects.get(pk=page.pk)) == [words]


@pytest.mark.parametrize("number", [1, 3])
def test_a_pair_is_two_sets(number):
    images = make.images(1)
    with pytest.raises(StudyRefused):
        make.preferences(images=images, explanation_sets=[make.explain(images) for _ in range(number)])


def test_a_pair_explains_the_same():
    images = make.images(1)
    sets = [make.explain(images), make.explain(images)]
    ExplanationSet.objects.filter(pk=sets[1].pk).update(target="true")
    sets[1].refresh_from_db()
    with pytest.raises(StudyRefused, match="could not say which fits better"):
        make.preferences(images=images, explanation_sets=sets)
    with pytest.raises(StudyRefused, match="twice"):
        make.preferences(images=images, explanation_sets=[sets[0], sets[0]])


def fields(html: str) -> list[dict[str, str]]:
    form = html[html.index('id="answer-form"') : html.index("</form>", html.index('id="answer-form"'))]
    return [dict(re.findall(r'([\w-]+)="([^"]*)"', tag)) for tag in re.findall(r"<input[^>]*>", form)]


@pytest.mark.parametrize(
    ("chosen", "name", "values"),
    [
        ({}, "choice", ["a", "neither", "b"]),
        ({"neither": False}, "choice", ["a", "b"]),
        ({"form": "slider"}, "preference", ["-3", "-2", "-1", "0", "1", "2", "3"]),
        ({"form": "slider", "neither": False}, "preference", ["-3", "-2", "-1", "1", "2", "3"]),
    ],
)
def test_the_form_says_all_that_can_be_answered_and_chooses_nothing(chosen, name, values):
    study = make.preferences(1, settings=chosen)
    person = make.participant(study)
    client = Client()
    client.force_login(person.user)
    html = client.get(f"/trials/{trial_of(study, person=person).uuid}/").content.decode()
    found = fields(html)
    assert [(one["name"], one["value"]) for one in found] == [(name, value) for value in values]
    assert {one["data-type"] for one in found} == {"int" if name == "preference" else "choice"}
    assert " checked" not in html
    assert html.count("<canvas") == 3


def test_the_view_can_be_fixed():
    study = make.preferences(1, settings={"change_view": False, "view": "contour"})
    person = make.participant(study)
    client = Client()
    client.force_login(person.user)
    html = client.get(f"/trials/{trial_of(study, person=person).uuid}/").content.decode()
    assert 'name="view"' not in html
    assert json.loads(re.search(r'id="trial"[^>]*>(.*?)</script>', html, re.S)[1])["page"]["view"] == "contour"


def test_both_orders_give_pages_that_differ_in_random_names_alone():
    study = make.preferences(1, settings={"shown_class": "true"})
    person = make.participant(study)
    client = Client()
    client.force_login(person.user)
    pages = []
    for order in ((0, 1), (1, 0)):
        html = client.get(f"/trials/{trial_of(study, order, person).uuid}/").content.decode()
        for condition in ("squeezenet", "grad_cam"):
            assert condition not in html
        html = re.sub(r"/pictures/[0-9a-f]{32}/", "/pictures/x/", html)
        pages.append(re.sub(r'csrfmiddlewaretoken" value="\w+"|nonce="[^"]*"', "", html))
    assert pages[0] == pages[1]


def play(study: Any, payloads: list[dict[str, str]], milliseconds: int = 2000) -> None:
    """A person's answers, one a trial, each by condition: first, second or neither."""
    person = make.participant(study)
    for payload in payloads:
        page = next_step(person).assignment
        slot = {"first": 0, "second": 1}.get(payload)
        choice = "neither" if slot is None else "ab"[page.order.index(slot)]
        send(page, {"choice": choice}, duration_ms=milliseconds)


def test_the_figures_of_a_study_by_hand():
    study = make.preferences(4, k=None)
    play(study, ["second", "second", "second", "neither"], 1000)
    play(study, ["first", "second", "neither", "neither"], 3000)
    robot = enter_as(study, "robot", "simulated")
    send(next_step(robot).assignment, LEFT)
    found = kind_of(study).statistics(study)
    assert (found["people"], found["answers"], found["median_seconds"]) == ({"human": 2}, 8, 2.0)
    (cell,) = found["cells"]
    assert cell["counts"] == {"first": 1, "neither": 3, "second": 4}
    # Raters: 3/4 and (1 − 1)/4 = 0; t(0.975; 1) = 12.7062, s/√2 = 0.375.
    assert cell["alignment"]["mean"] == 0.375
    assert cell["alignment"]["high"] == pytest.approx(0.375 + 12.7062 * 0.375, abs=1e-4)
    names = list(Trial.objects.first().stimuli.values_list("condition", flat=True))
    assert [cell["first"], cell["second"]] == names
    left = sum(
        answer.judgements.get().stimulus.slot == answer.assignment.order[0]
        for answer in Answer.objects.filter(judgements__question="chosen", assignment__participant__kind="human")
    )
    assert (cell["position"]["left"], cell["position"]["right"]) == (left, 5 - left)
    for table in kind_of(study).tables(study):
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)
    json.dumps(found)
    assert kind_of(study).statistics(study, ["simulated"])["answers"] == 1


def test_several_pairs_are_cells():
    images = make.images(2)
    groups = [Group(name, (make.explain(images), make.explain(images))) for name in ("focus", "road")]
    study = make.preferences(images=images, groups=groups, k=None, image_once=False)
    person = make.participant(study)
    while (step := next_step(person)).kind == "trial":
        slot = 1 if step.assignment.trial.arm.name == "focus" else 0
        send(step.assignment, {"choice": "ab"[step.assignment.order.index(slot)]})
    found = kind_of(study).statistics(study)
    assert [(cell["cell"], cell["counts"]) for cell in found["cells"]] == [
        ("focus", {"first": 0, "neither": 0, "second": 2}), ("road", {"first": 2, "neither": 0, "second": 0}),
    ]  # fmt: skip
    assert found["overall"]["alignment"]["mean"] == 0
    assert [row[0] for row in kind_of(study).tables(study)[0].rows] == ["focus", "road", "all pairs"]


def test_an_answer_is_one_row_by_condition_and_by_side(django_assert_max_num_queries):
    study = make.preferences(1, k=None)
    first, second = Trial.objects.get().stimuli.values_list("condition", flat=True)
    send(trial_of(study, (1, 0)), LEFT)
    send(trial_of(study, (0, 1)), NEITHER)
    with django_assert_max_num_queries(6):
        rows = list(csv.DictReader(io.StringIO("".join(csv_lines(study)))))
    assert list(rows[0]) == [column.name for column in columns(study)]
    wanted = ("first", "second", "left", "right", "chosen", "side", "neither", "preference")
    assert [[row[name] for name in wanted] for row in rows] == [
        [first, second, second, first, second, "left", "false", ""],
        [first, second, first, second, "", "neither", "true", ""],
    ]
    assert rows[0]["first_classifier"] != rows[0]["second_classifier"]
    assert {row["first_method"] for row in rows} == {"grad_cam"}


def test_a_point_on_the_scale_is_exported_with_what_it_prefers():
    study = make.preferences(1, k=None, settings={"form": "slider"})
    first, _ = Trial.objects.get().stimuli.values_list("condition", flat=True)
    for order, point in (((1, 0), 2), ((1, 0), 0)):
        send(trial_of(study, order), {"preference": point})
    rows = list(kind_of(study).export_rows(Answer.objects.all()))
    assert [(row["chosen"], row["side"], row["neither"], row["preference"]) for row in rows] == [
        (first, "right", False, -2), (None, "neither", True, 0),
    ]  # fmt: skip


def test_two_predictions_are_named_each_under_its_map():
    images = make.images(1)
    sets = [make.explain(images, target=0), make.explain(images, target=1, maps=np.ones((1, 4, 6), dtype=np.float32))]
    study = make.preferences(images=images, explanation_sets=sets)
    page = trial_of(study, (1, 0))
    context = kind_of(study).page_context(page)
    assert context["class_name"] is None
    assert [one["class_name"] for one in context["maps"]] == ["Monarch", "Admiral"]


def test_one_answer_is_one_judgement_in_the_database():
    study = make.preferences(3)
    play(study, ["first", "neither", "second"])
    assert Judgement.objects.count() == Answer.objects.count() == 3
