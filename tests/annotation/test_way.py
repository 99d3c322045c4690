"""The whole way through a study: each phase, its end, and what becomes of the places."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from annotation import completion, flow, versions
from annotation.answers import submit
from annotation.assignment import claim_next
from annotation.errors import AnswerInvalid, StudyClosed
from annotation.flow import next_step
from annotation.models import Answer, Assignment, ExitAnswers, Participant, Trial
from annotation.people import forget
from tests.annotation import factories as make
from tests.annotation.way import answer, kind_of_step, study

pytestmark = pytest.mark.django_db


def test_every_phase_in_its_order():
    made = study(
        2,
        phases=[("practice", 1), ("qualification", 1)],
        consent="Your answers are kept.",
        plan={
            "introduction": [{"title": "What you do", "text": "Look."}],
            "exit": [{"name": "age", "kind": "number", "question": "How old are you?"}],
            "completion": {"codes": {"completed": "DONE1"}},
        },
    )
    person = make.participant(made)
    assert kind_of_step(person) == "consent"
    assert not Assignment.objects.exists(), "nothing is handed out before the person agreed"
    flow.give_consent(person, True)
    assert kind_of_step(person) == "introduction"
    flow.end_introduction(person)
    sent = answer(person)
    assert sent.answer.assignment.trial.phase == "practice"
    assert sent.feedback.right is True
    assert sent.feedback.sentence.endswith("Look.")
    sent = answer(person)
    assert sent.answer.assignment.trial.phase == "qualification"
    assert sent.feedback is None, "what is right is told in practice alone"
    assert sent.answer.correct is True
    for _ in range(2):
        assert answer(person).answer.assignment.trial.phase == "main"
    assert kind_of_step(person) == "exit"
    with pytest.raises(AnswerInvalid) as refused:
        flow.answer_exit(person, {"age": "old"})
    assert set(refused.value.errors) == {"age"}
    flow.answer_exit(person, {"age": "41"})
    assert kind_of_step(person) == "done"
    person.refresh_from_db()
    assert (person.outcome, person.phase, person.completion_code) == ("completed", "done", "DONE1")
    assert person.finished is not None
    assert person.consent_at is not None
    assert ExitAnswers.objects.get().values == {"age": 41.0}
    flow.answer_exit(person, {"age": "42"})
    assert ExitAnswers.objects.get().values == {"age": 41.0}, "answered once"


def test_without_agreement_it_ends_and_gives_nothing_out():
    made = study(1, consent="Agree?")
    person = make.participant(made)
    assert kind_of_step(person) == "consent"
    flow.give_consent(person, False)
    assert kind_of_step(person) == "done"
    person.refresh_from_db()
    assert person.outcome == "declined"
    assert claim_next(person) is None


def test_a_new_consent_text_is_asked_again_and_another_title_is_not():
    made = study(2, consent="First text.")
    person = make.participant(made)
    next_step(person)
    flow.give_consent(person, True)
    assert kind_of_step(person) == "trial"
    versions.revise(made, made.owner, title="Another title")
    assert kind_of_step(person) == "trial"
    versions.revise(made, made.owner, consent="Second text.")
    assert kind_of_step(person) == "consent"
    flow.give_consent(person, True)
    assert kind_of_step(person) == "trial"
    person.refresh_from_db()
    assert person.consent_version.number == 3


def test_two_tries_at_the_qualification_and_then_screened_out():
    made = study(2, phases=[("qualification", 2)], plan={"completion": {"codes": {"screened_out": "OUT"}}})
    person = make.participant(made)
    for _ in range(2):
        answer(person, right=False)
    assert kind_of_step(person) == "again"
    assert kind_of_step(person) == "again", "asking twice uses nothing up"
    flow.try_again(person)
    flow.try_again(person)
    person.refresh_from_db()
    assert person.tries == 1
    for _ in range(2):
        answer(person, right=False)
    assert kind_of_step(person) == "done"
    person.refresh_from_db()
    assert (person.outcome, person.completion_code) == ("screened_out", "OUT")
    assert Answer.objects.count() == 4, "the first try stays on record"
    assert set(Trial.objects.filter(phase="main").values_list("claims_left", flat=True)) == {1}


def test_the_second_try_can_succeed_and_the_mark_is_a_share():
    made = study(1, phases=[("qualification", 3)], plan={"qualification": {"pass_mark": 2 / 3, "tries": 2}})
    person = make.participant(made)
    for right in (True, False, False):
        answer(person, right=right)
    assert kind_of_step(person) == "again"
    flow.try_again(person)
    for right in (True, False, True):
        answer(person, right=right)
    assert next_step(person).assignment.trial.phase == "main"


def test_checks_stand_among_the_main_trials_evenly_and_are_counted():
    made = study(12, phases=[("check", 3)], k=None)
    person = make.participant(made)
    phases = []
    while kind_of_step(person) == "trial":
        phases.append(answer(person).answer.assignment.trial.phase)
    places = [
        index - sum(phase == "check" for phase in phases[:index]) for index, p in enumerate(phases) if p == "check"
    ]
    assert phases.count("check") == 3
    assert phases.count("main") == 12
    assert all(4 * number <= max(place, 1) <= 4 * number + 4 for number, place in enumerate(places)), places
    assert places[0] >= 1
    assert flow.progress(person).total == 15


def test_failed_checks_set_the_answers_aside_and_give_the_places_back():
    made = study(
        4, phases=[("check", 2)], k=1, trials_per_person=4,
        plan={"checks": {"allowed_misses": 0}, "completion": {"codes": {"completed": "C", "failed_checks": "F"}}},
    )  # fmt: skip
    person = make.participant(made)
    while kind_of_step(person) == "trial":
        answer(person, right=False)
    person.refresh_from_db()
    assert (person.outcome, person.completion_code) == ("failed_checks", "F")
    assert Answer.objects.count() == 6
    assert set(Assignment.objects.values_list("state", flat=True)) == {"set_aside"}
    assert set(Trial.objects.filter(phase="main").values_list("claims_left", flat=True)) == {1}
    other = make.participant(made)
    for _ in range(6):
        answer(other)
    assert kind_of_step(other) == "done"
    other.refresh_from_db()
    assert other.outcome == "completed"


def test_failed_checks_can_end_the_study_at_once_and_answers_can_be_kept():
    made = study(6, phases=[("check", 3)], k=2, plan={"checks": {"allowed_misses": 0, "on_fail": "end"}, "replace": []})
    person = make.participant(made)
    while kind_of_step(person) == "trial":
        sent = answer(person, right=False)
    assert sent.answer.assignment.trial.phase == "check"
    person.refresh_from_db()
    assert person.outcome == "failed_checks"
    assert "answered" in set(Assignment.objects.values_list("state", flat=True)), "replace is empty: they count"


def test_each_person_answers_as_many_as_agreed():
    made = study(6, k=1, trials_per_person=2)
    for _ in range(3):
        person = make.participant(made)
        answer(person), answer(person)
        assert kind_of_step(person) == "done"
    assert set(Trial.objects.values_list("claims_left", flat=True)) == {0}
    late = make.participant(made)
    assert kind_of_step(late) == "done"
    assert Assignment.objects.filter(participant=late).count() == 0


def test_stopping_gives_open_and_answered_places_to_the_next_person():
    made = study(3, k=1, trials_per_person=3)
    person = make.participant(made)
    kept = answer(person)
    assert kind_of_step(person) == "trial"
    completion.give_back(person)
    assert sorted(Assignment.objects.values_list("state", flat=True)) == ["returned", "set_aside"]
    assert set(Trial.objects.values_list("claims_left", flat=True)) == {1}
    with pytest.raises(StudyClosed):
        submit(assignment=kept.answer.assignment, submission=uuid.uuid4(), payload=make.rating(1), base_revision=1)
    again = submit(assignment=kept.answer.assignment, submission=kept.revision.submission, payload=make.rating(1))
    assert again.repeated, "what was acknowledged stays acknowledged"


def test_time_runs_out_for_whoever_stays_away():
    made = study(1, k=1, plan={"people": {"time_limit_minutes": 30}})
    person = make.participant(made)
    assert kind_of_step(person) == "trial"
    other = make.participant(made)
    assert kind_of_step(other) == "wait"
    Participant.objects.filter(pk=person.pk).update(created=timezone.now() - timedelta(minutes=31))
    assert kind_of_step(other) == "trial", "the place came back without any sweep"
    person.refresh_from_db()
    assert person.outcome == "timed_out"
    assert kind_of_step(person) == "done"
    assert completion.time_out_overdue() == 0


def test_whoever_waits_may_end_there():
    made = study(2, k=1, plan={"completion": {"personal_code": True}})
    first, second = make.participant(made), make.participant(made)
    answer(first)
    assert kind_of_step(second) == "trial"
    assert kind_of_step(first) == "wait"
    flow.finish_early(first)
    assert kind_of_step(first) == "done"
    first.refresh_from_db()
    assert first.outcome == "completed"
    assert len(first.completion_code) == 8


def test_shared_trials_without_a_code_stay_open_for_what_comes_back():
    made = study(1, k=1)
    first, second = make.participant(made), make.participant(made)
    answer(first)
    assert kind_of_step(second) == "done"
    forget(first, made.owner)
    assert kind_of_step(second) == "trial"


def test_whoever_waits_is_served_as_soon_as_a_lease_runs_out():
    from annotation.waiting import waits

    made = study(1, k=1)
    holder, waiter = make.participant(made), make.participant(made)
    assert kind_of_step(holder) == "trial"
    assert kind_of_step(waiter) == "wait"
    assert waits(Participant.objects.get(pk=waiter.pk))
    Assignment.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert not waits(Participant.objects.get(pk=waiter.pk)), "no sweep is needed"
    assert kind_of_step(waiter) == "trial"
