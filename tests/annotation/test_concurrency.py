"""Many at once: exactly k answers a trial, nobody doubled, nobody told "finished" while something is left."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections

from annotation import assignment as claims
from annotation.answers import submit
from annotation.errors import AnswerConflict
from annotation.flow import enter, next_step
from annotation.models import Answer, AnswerRevision, Assignment, Judgement, Participant, Trial
from tests.annotation import factories as make

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
    from django.utils import timezone

    Assignment.objects.update(lease_until=timezone.now())
    people = [make.participant(study) for _ in range(threads)]
    results = together([lambda person=person: claims.claim_next(person) for person in people])
    assert [found for found in results if not isinstance(found, Assignment)] == []
    assert Trial.objects.get().claims_left == 0
    assert Counter(Assignment.objects.values_list("state", flat=True)) == {"expired": threads, "open": threads}


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
