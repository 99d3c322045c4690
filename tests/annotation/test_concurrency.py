"""Many at once: exactly k answers a trial, nobody doubled, nobody told "finished" while something is left."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, connections
from django.utils import timezone

from annotation import assignment as claims
from annotation.answers import submit
from annotation.completion import finish, give_back, time_out_overdue
from annotation.entry import enter_guest
from annotation.errors import AnswerConflict, StudyClosed, TrialTaken
from annotation.flow import enter, next_step
from annotation.lists import ListPlan
from annotation.models import Answer, AnswerRevision, Assignment, Judgement, Participant, Trial
from tests.annotation import factories as make
from tests.annotation.designs import answer_to, pairs, single

pytestmark = pytest.mark.django_db(transaction=True)


def together(jobs: list[Callable[[], Any]]) -> list[Any]:
    """Run the jobs in a thread each, begun at one moment; their results, or what they raised."""
    start = threading.Barrier(len(jobs))
    results: list[Any] = [None] * len(jobs)

    def work(index: int) -> None:
        try:
            start.wait()
            results[index] = jobs[index]()
        except Exception as error:
            results[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return results


def number_of_threads() -> int:
    return 50 if connection.vendor == "postgresql" else 12


def test_the_last_trials_go_to_k_people_each_and_the_rest_are_told_so():
    """More people than places: every place is taken, by different people, and no one fails."""
    threads = number_of_threads()
    k = max(threads // 5, 2)
    study = make.ratings(3, k=k)
    people = [make.participant(study) for _ in range(threads)]
    results = together([lambda person=person: claims.claim_next(person) for person in people])
    assert not [found for found in results if isinstance(found, Exception)]
    given = [found for found in results if found is not None]
    assert len(given) == min(3 * k, threads)
    assert set(Counter(found.trial_id for found in given).values()) == {k}
    assert set(Trial.objects.values_list("claims_left", flat=True)) == {0}
    assert len({found.participant_id for found in given}) == len(given)


def test_as_many_people_as_places_and_nobody_is_told_finished():
    """Exactly enough for all: whoever got None would have read a lock as the end."""
    threads = number_of_threads()
    study = make.ratings(2, k=threads // 2)
    people = [make.participant(study) for _ in range(threads)]
    results = together([lambda person=person: claims.claim_next(person) for person in people])
    assert [found for found in results if not isinstance(found, Assignment)] == []
    assert sorted(Counter(found.trial_id for found in results).values()) == [threads // 2, threads // 2]


def test_expired_places_are_found_by_many_at_once():
    threads = number_of_threads() // 2
    study = make.ratings(1, k=threads)
    for _ in range(threads):
        claims.claim_next(make.participant(study))
    Assignment.objects.update(lease_until=timezone.now())
    people = [make.participant(study) for _ in range(threads)]
    results = together([lambda person=person: claims.claim_next(person) for person in people])
    assert [found for found in results if not isinstance(found, Assignment)] == []
    assert Trial.objects.get().claims_left == 0
    assert Counter(Assignment.objects.values_list("state", flat=True)) == {"expired": threads, "open": threads}


def test_places_that_somebody_else_gave_back_at_this_moment_are_found(monkeypatch):
    """Between a person's look and their own giving back, another person gives the overdue places back."""
    study = make.ratings(1, k=1)
    claims.claim_next(make.participant(study))
    Assignment.objects.update(lease_until=timezone.now())
    looked: list[Assignment | None] = []
    look = claims._claim

    def look_then_be_overtaken(*args: Any, **kwargs: Any) -> Assignment | None:
        looked.append(look(*args, **kwargs))
        if len(looked) == 1:
            assert claims.release_expired(study) == 1
        return looked[-1]

    monkeypatch.setattr(claims, "_claim", look_then_be_overtaken)
    assert isinstance(claims.claim_next(make.participant(study)), Assignment)
    assert looked[0] is None


@pytest.mark.parametrize("design", ["within", "blocks", "so many a person"])
def test_the_last_trials_of_every_design_go_to_k_people_each_and_nobody_is_told_finished(design):
    """Exactly as many places as people, all at once, by the way through the study: a trial, or "wait" at the worst."""
    threads = number_of_threads()
    k = threads // 2
    study = {
        "within": lambda: pairs(1, arms=2, k=k),
        "blocks": lambda: single(2, classes=2, k=k, block_by="class", rotate_blocks=True),
        "so many a person": lambda: single(2, k=k, trials_per_person=1),
    }[design]()
    people = [make.participant(study) for _ in range(2 * k)]
    results = together([lambda person=person: next_step(person) for person in people])
    assert not [found for found in results if isinstance(found, Exception)]
    assert {found.kind for found in results} <= {"trial", "wait"}
    # Who was told to wait while others looked at the same rows is given what is left when they look again.
    steps = [next_step(person) for person, found in zip(people, results, strict=True) if found.kind == "wait"]
    assert {found.kind for found in steps} <= {"trial"}
    assert sorted(Counter(Assignment.objects.values_list("trial", flat=True)).values()) == [k, k]
    assert Assignment.objects.values("participant").distinct().count() == 2 * k
    assert set(Trial.objects.values_list("claims_left", flat=True)) == {0}


def test_nobody_is_told_finished_while_a_place_goes_from_hand_to_hand():
    """One holder gives the last place back and takes it again, over and over; nobody else may read that as the end."""
    study = make.ratings(1, k=1)
    holder = make.participant(study)
    others = [make.participant(study) for _ in range(6 if connection.vendor == "postgresql" else 3)]
    claims.claim_next(holder)
    over = threading.Event()

    def juggle() -> str:
        for _ in range(25):
            claims.return_open(holder)
            claims.claim_next(holder)
        over.set()
        return "through"

    def look(person: Participant) -> set[str]:
        seen = set()
        while not over.is_set():
            step = next_step(person)
            seen.add(step.kind)
            if step.assignment is not None:
                claims.return_open(person)
        return seen

    results = together([juggle, *[lambda person=person: look(person) for person in others]])
    assert results[0] == "through"
    assert not [found for found in results if isinstance(found, Exception)]
    assert set().union(*results[1:]) <= {"trial", "wait"}
    assert not Participant.objects.exclude(outcome="").exists()


def test_entering_at_once_keeps_arms_and_lists_balanced():
    threads = number_of_threads() // 3 * 3
    for study, names in (
        (pairs(3, k=None, conditions="between"), "arm"),
        (pairs(6, k=None, lists=ListPlan(length=6, repeats=1)), "trial_list"),
    ):
        results = together([lambda study=study: enter_guest(study)] * threads)
        assert not [found for found in results if isinstance(found, Exception)]
        spread = Counter(Participant.objects.filter(study=study).values_list(names, flat=True))
        assert sorted(spread.values()) == [threads // 3] * 3
        numbers = Participant.objects.filter(study=study).values_list("number", flat=True)
        assert sorted(numbers) == list(range(threads))


def test_a_recruiting_id_that_comes_many_times_at_once_is_one_person():
    study = single(1, k=1)
    results = together([lambda: enter_guest(study, external_id="pid-1")] * 8)
    assert len({found.pk for found in results}) == 1
    assert Participant.objects.count() == 1
    assert get_user_model().objects.filter(username__startswith="guest-").count() == 1


@pytest.mark.parametrize("way", ["ends", "gives back", "is timed out", "expires"])
def test_an_answer_that_races_with_the_end_of_its_place_is_kept_or_refused_but_never_lost(way):
    """Acknowledged: it counts, or it is set aside on record. Refused: nothing of it stands and the place is free."""
    number = number_of_threads() // 5
    study = make.ratings(number, k=1, plan={"people": {"time_limit_minutes": 5}})
    pages = [claims.claim_next(make.participant(study)) for _ in range(number)]
    if way == "is timed out":
        Participant.objects.update(created=timezone.now() - timedelta(hours=1))
    if way == "expires":
        Assignment.objects.update(lease_until=timezone.now() - timedelta(hours=1))
    ends = {
        "ends": lambda page: finish(page.participant, "failed_checks"),
        "gives back": lambda page: give_back(page.participant),
        "is timed out": lambda page: time_out_overdue(study),
        "expires": lambda page: claims.release_expired(study, patient=True),
    }[way]
    jobs: list[Callable[[], Any]] = []
    for page in pages:
        jobs.append(lambda page=page: submit(assignment=page, submission=page.uuid, payload=make.rating(page)))
        jobs.append(lambda page=page: ends(page))
    results = together(jobs)
    kept = 0
    for page, sent, ended in zip(pages, results[::2], results[1::2], strict=True):
        assert not isinstance(ended, Exception), ended
        row = Assignment.objects.get(pk=page.pk)
        left = Trial.objects.get(pk=page.trial_id).claims_left
        if isinstance(sent, Exception):
            assert isinstance(sent, TrialTaken | StudyClosed), sent
            assert not Answer.objects.filter(assignment=row).exists()
            assert (row.state in claims.LOST, left) == (True, 1)
        else:
            kept += 1
            assert AnswerRevision.objects.filter(submission=page.uuid).count() == 1
            assert (row.state, left) == ("answered", 0) if way == "expires" else ("set_aside", 1)
    if way == "expires":
        assert kept == number  # the place was still theirs to take


def test_places_that_run_out_are_answered_or_taken_by_someone_else_but_not_both():
    """Leases run out under people who answer at that moment, while as many others look for a place."""
    number = number_of_threads() // 5
    study = make.ratings(number, k=1)
    pages = [claims.claim_next(make.participant(study)) for _ in range(number)]
    others = [make.participant(study) for _ in range(number)]
    Assignment.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    jobs: list[Callable[[], Any]] = []
    for page, other in zip(pages, others, strict=True):
        jobs.append(lambda page=page: submit(assignment=page, submission=page.uuid, payload=make.rating(page)))
        jobs.append(lambda other=other: claims.claim_next(other))
    results = together(jobs)
    assert not [found for found in results if isinstance(found, Exception) and not isinstance(found, TrialTaken)]
    held = Counter(Assignment.objects.filter(state__in=claims.HELD).values_list("trial", flat=True))
    assert set(held.values()) == {1}
    for trial in Trial.objects.all():
        assert trial.claims_left + held[trial.pk] == 1
    acknowledged = [found.answer for found in results[::2] if not isinstance(found, Exception)]
    assert len(acknowledged) == Answer.objects.count() == Assignment.objects.filter(state="answered").count()


def test_two_tabs_never_answer_more_than_one_person_may():
    """The last trial a person may answer, answered in one tab while the other asks for the next."""
    study = single(6, k=None, trials_per_person=3)
    for _ in range(3):
        person = make.participant(study)
        for _ in range(2):
            page = claims.claim_next(person)
            submit(assignment=page, submission=page.uuid, payload=answer_to(page))
        last = claims.claim_next(person)
        results = together(
            [lambda last=last: submit(assignment=last, submission=last.uuid, payload=answer_to(last))]
            + [lambda person=person: next_step(person)] * 4
        )
        assert not [found for found in results if isinstance(found, Exception)]
        assert person.assignments.count() == 3
        assert next_step(person).kind == "done"


def test_two_tabs_get_the_same_trial():
    study = make.ratings(5)
    person = make.participant(study)
    results = together([lambda: claims.claim_next(person)] * 8)
    assert len({found.pk for found in results}) == 1
    assert Assignment.objects.count() == 1


def test_entering_twice_at_once_is_one_participation():
    study = make.ratings(1)
    user = make.annotator()
    results = together([lambda: enter(user, study)] * 8)
    assert len({found.pk for found in results}) == 1
    assert Participant.objects.count() == 1


def test_one_submission_sent_many_times_at_once_is_one_answer():
    page = claims.claim_next(make.participant(make.ratings(1, sets=2)))
    name = uuid.uuid4()
    results = together([lambda: submit(assignment=page, submission=name, payload=make.rating(2))] * 8)
    assert not [found for found in results if isinstance(found, Exception)]
    assert sorted(found.repeated for found in results) == [False] + [True] * 7
    assert len({found.answer.pk for found in results}) == 1
    assert (Answer.objects.count(), AnswerRevision.objects.count(), Judgement.objects.count()) == (1, 1, 6)


def test_different_answers_from_many_tabs_at_once_keep_the_first():
    page = claims.claim_next(make.participant(make.ratings(1)))
    results = together(
        [
            lambda quality=quality: submit(
                assignment=page, submission=uuid.uuid4(), payload=make.rating(1, quality=quality)
            )
            for quality in (1, 2, 3, 4, 5)
        ]
    )
    kept = [found for found in results if not isinstance(found, Exception)]
    assert len(kept) == 1
    assert sum(isinstance(found, AnswerConflict) for found in results) == 4
    assert AnswerRevision.objects.count() == 1


def test_people_who_answer_everything_at_once_leave_exactly_k_answers():
    """Whole studies played side by side, with "wait" read as wait: k answers a trial at the end, k different people."""
    threads, k, trials = (16, 3, 8) if connection.vendor == "postgresql" else (6, 2, 5)
    study = make.ratings(trials, k=k)
    people = [make.participant(study) for _ in range(threads)]

    def play(person: Participant) -> str:
        while True:
            step = next_step(person)
            if step.kind == "trial":
                submit(assignment=step.assignment, submission=uuid.uuid4(), payload=make.rating(step.assignment))
            elif step.kind != "wait":
                return step.kind

    results = together([lambda person=person: play(person) for person in people])
    assert results == ["done"] * threads
    pairs = Assignment.objects.filter(state="answered").values_list("trial", "participant")
    assert Counter(trial for trial, _ in pairs) == dict.fromkeys(Trial.objects.values_list("pk", flat=True), k)
    assert len(set(pairs)) == len(pairs)
    assert set(Trial.objects.values_list("claims_left", flat=True)) == {0}
