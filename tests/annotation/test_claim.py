"""Who sees what next (architecture, "Next trial")."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.db.models import Subquery
from django.utils import timezone

from annotation import assignment as claims
from annotation.answers import submit
from annotation.candidates import FREE, ORDER, left_for
from annotation.flow import next_step
from annotation.models import Assignment, Participant, Trial
from annotation.publishing import close
from annotation.studies import KINDS
from tests.annotation import factories as make

pytestmark = pytest.mark.django_db


def answer(assignment: Assignment, **values) -> None:
    import uuid

    submit(assignment=assignment, submission=uuid.uuid4(), payload=make.rating(assignment), **values)


def expire(assignment: Assignment) -> None:
    Assignment.objects.filter(pk=assignment.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def keys(study, low_to_high: list[int]) -> list[Trial]:
    """Give the trials these random keys; the trials in that order."""
    trials = list(Trial.objects.filter(study=study).order_by("pk"))
    for trial, key in zip(trials, low_to_high, strict=True):
        Trial.objects.filter(pk=trial.pk).update(random_key=key)
    return trials


def test_trials_come_in_the_persons_order_and_wrap():
    study = make.ratings(4)
    trials = keys(study, [10, 20, 30, 40])
    person = make.participant(study, order_offset=25)
    seen = []
    while (given := claims.claim_next(person)) is not None:
        seen.append(given.trial_id)
        answer(given)
    assert seen == [trials[2].pk, trials[3].pk, trials[0].pk, trials[1].pk]


def test_the_open_assignment_comes_back_until_it_is_answered():
    person = make.participant(make.ratings(3))
    first = claims.claim_next(person)
    assert claims.claim_next(person) == first
    assert Assignment.objects.count() == 1
    answer(first)
    assert claims.claim_next(person) != first


def test_each_trial_goes_to_k_people_and_no_more():
    study = make.ratings(1, k=2)
    people = [make.participant(study) for _ in range(3)]
    given = [claims.claim_next(person) for person in people]
    assert [item is None for item in given] == [False, False, True]
    assert Trial.objects.get().claims_left == 0


def test_without_k_everyone_gets_everything():
    study = make.ratings(2, k=None)
    for _ in range(3):
        person = make.participant(study)
        for _ in range(2):
            answer(claims.claim_next(person))
        assert claims.claim_next(person) is None
    assert set(Trial.objects.values_list("claims_left", flat=True)) == {None}


def test_an_expired_lease_is_free_for_the_next_claim_and_the_count_stays_exact():
    study = make.ratings(1)
    slow, quick = make.participant(study), make.participant(study)
    lost = claims.claim_next(slow)
    assert claims.claim_next(quick) is None
    expire(lost)
    taken = claims.claim_next(quick)
    assert taken is not None
    assert taken.trial_id == lost.trial_id
    lost.refresh_from_db()
    assert lost.state == Assignment.State.EXPIRED
    assert Trial.objects.get().claims_left == 0


def test_who_comes_back_late_finds_the_same_page_as_long_as_nobody_took_it():
    study = make.ratings(1, sets=4)
    person = make.participant(study)
    first = claims.claim_next(person)
    expire(first)
    assert claims.release_expired() == 1
    assert Trial.objects.get().claims_left == 1
    again = claims.claim_next(person)
    assert (again.pk, again.order, again.state) == (first.pk, first.order, Assignment.State.OPEN)
    assert Trial.objects.get().claims_left == 0


def test_claiming_renews_ones_own_lease_that_ran_out():
    person = make.participant(make.ratings(1))
    first = claims.claim_next(person)
    expire(first)
    again = claims.claim_next(person)
    assert again.pk == first.pk
    assert again.lease_until > timezone.now() + claims.LEASE * 0.9
    assert claims.release_expired() == 0


def test_what_is_given_back_is_free_again():
    study = make.ratings(1)
    person = make.participant(study)
    claims.claim_next(person)
    assert claims.return_open(person) == 1
    assert Trial.objects.get().claims_left == 1
    assert claims.return_open(person) == 0
    assert claims.claim_next(make.participant(study)) is not None


def test_the_order_of_maps_is_drawn_once_and_differs_between_people():
    study = make.ratings(1, sets=4, k=None)
    orders = set()
    for _ in range(12):
        person = make.participant(study)
        given = claims.claim_next(person)
        assert sorted(given.order) == [0, 1, 2, 3]
        assert claims.claim_next(person).order == given.order
        assert [claims.stimulus_at(given, place).slot for place in range(4)] == given.order
        orders.add(tuple(given.order))
    assert len(orders) > 3
    assert claims.stimulus_at(given, 4) is None
    assert claims.stimulus_at(given, -1) is None


def test_a_study_that_is_not_live_hands_nothing_out():
    study = make.ratings(1)
    person = make.participant(study)
    close(study, None)
    person = Participant.objects.get(pk=person.pk)
    assert claims.claim_next(person) is None
    assert next_step(person).kind == "closed"


def test_steps_say_trial_wait_done():
    study = make.ratings(1)
    first, second = make.participant(study), make.participant(study)
    assert next_step(first).kind == "trial"
    assert next_step(second).kind == "wait"
    answer(next_step(first).assignment)
    assert next_step(second).kind == "done"
    assert next_step(first).kind == "done"


def test_the_database_itself_refuses_the_claim_too_many_and_the_second_assignment():
    study = make.ratings(1)
    given = claims.claim_next(make.participant(study))
    with pytest.raises(IntegrityError), transaction.atomic():
        Trial.objects.update(claims_left=-1)
    with pytest.raises(IntegrityError), transaction.atomic():
        Assignment.objects.create(
            participant=given.participant, trial=given.trial, lease_until=timezone.now(), order=[0]
        )


def _many_trials(study, number: int) -> None:
    """Exhausted trials on every side of the free one, so that a scan would have to walk over them."""
    image = study.trials.first().image
    Trial.objects.bulk_create(
        [Trial(study=study, image=image, random_key=index + 1, claims_left=0) for index in range(number)],
        batch_size=1000,
    )


@pytest.mark.parametrize("number", [100, 10_000])
def test_a_claim_costs_the_same_number_of_queries_at_any_size(number, django_assert_num_queries):
    study = make.ratings(1)
    _many_trials(study, number)
    person = make.participant(study, order_offset=number // 2)
    with django_assert_num_queries(8):  # two of them are the savepoint of the test's own transaction
        assert claims.claim_next(person) is not None


def test_the_next_trial_is_found_in_the_index_of_free_trials():
    from django.db import connection

    study = make.ratings(1)
    _many_trials(study, 3000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    person = make.participant(study, order_offset=5)
    free = left_for(person).filter(FREE, block=0)
    level = Subquery(free.order_by(*ORDER).values("claims_left")[:1])
    plan = free.filter(claims_left=level, random_key__gte=5).order_by(*ORDER)[:1].explain()
    assert plan.count("trial_free_by_level") == 2
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan


def test_registered_kinds_build_their_trials():
    assert set(KINDS) >= {"reasonability", "map_drawing"}
    study = make.ratings(2, sets=3, k=5)
    trials = Trial.objects.filter(study=study)
    assert [trial.claims_left for trial in trials] == [5, 5]
    assert [trial.stimuli.count() for trial in trials] == [3, 3]
