"""Who sees what next: a person's next trial is claimed by one conditional statement in a short transaction.

Rows are locked in one order everywhere — participant, then assignment, then trial — and a claim never waits for an
assignment, so two of these transactions cannot wait for each other in a circle.
"""

import random
from collections import Counter
from datetime import timedelta

from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from annotation.models import Assignment, Participant, Stimulus, Study, Trial
from annotation.models.studies import Phase

LEASE = timedelta(minutes=30)
HELD = (Assignment.State.OPEN, Assignment.State.ANSWERED)
LOST = (Assignment.State.EXPIRED, Assignment.State.RETURNED)
FREE = Q(claims_left__isnull=True) | Q(claims_left__gt=0)


def claim_next(participant: Participant, *, phase: str = Phase.MAIN) -> Assignment | None:
    """The person's open assignment, or the first free trial in their order, claimed; None when nothing is free.

    First, rows that another claim holds are skipped, so that nobody waits. Only when nothing else is left are leases
    that ran out given back, and locked rows waited for: "locked" is never read as "finished".
    """
    if participant.study.state != Study.State.LIVE:
        return None
    if not connection.features.has_select_for_update_skip_locked:
        # One writer at a time (SQLite, IMMEDIATE): there is nothing to skip.
        return _claim(participant, phase, patient=True) or (
            _claim(participant, phase, patient=True) if release_expired(participant.study) else None
        )
    claimed = _claim(participant, phase, patient=False)
    if claimed is None:
        release_expired(participant.study, patient=True)
        claimed = _claim(participant, phase, patient=True)
    return claimed


@transaction.atomic
def _claim(participant: Participant, phase: str, *, patient: bool) -> Assignment | None:
    person = (
        Participant.objects.select_for_update(of=("self",), no_key=True).select_related("study").get(pk=participant.pk)
    )
    mine = (
        Assignment.objects.filter(participant=person, state=Assignment.State.OPEN, trial__phase=phase)
        .select_related("trial__image")
        .order_by("pk")
        .first()
    )
    if mine is not None and renew(mine):
        return mine
    trial = _first_free(person, phase, patient=patient)
    if trial is None:
        return None
    if trial.claims_left is not None and not Trial.objects.filter(pk=trial.pk, claims_left__gt=0).update(
        claims_left=F("claims_left") - 1
    ):
        return None
    return _hand_over(person, trial)


def free_trials(person: Participant, phase: str = Phase.MAIN) -> "QuerySet[Trial]":
    """What the person could be given, in the order of the trials; found in the index of free trials alone."""
    mine = Assignment.objects.filter(trial=OuterRef("pk"), participant=person, state__in=HELD)
    arm = Q(arm__isnull=True) if person.arm_id is None else Q(arm=person.arm_id)
    trials = Trial.objects.filter(FREE, arm, ~Exists(mine), study=person.study_id, phase=phase)
    # The whole index order is named: PostgreSQL does not take "arm IS NULL" for a constant.
    return trials.select_related("image").order_by("arm_id", "random_key")


def _first_free(person: Participant, phase: str, *, patient: bool) -> Trial | None:
    """From the person's offset on, then from the start."""
    trials = free_trials(person, phase)
    if person.study.answers_per_trial is not None:
        trials = trials.select_for_update(of=("self",), skip_locked=not patient, no_key=True)
    for half in (Q(random_key__gte=person.order_offset), Q(random_key__lt=person.order_offset)):
        trial = trials.filter(half).first()
        if trial is not None:
            return trial
    return None


def _hand_over(person: Participant, trial: Trial) -> Assignment:
    """The trial, under a new lease. An assignment that was lost is opened again, with its order and its draft."""
    until = timezone.now() + LEASE
    lost = (
        Assignment.objects.filter(participant=person, trial=trial, state__in=LOST)
        .select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked)
        .order_by("-pk")
        .first()
    )
    if lost is not None:
        lost.state, lost.lease_until = Assignment.State.OPEN, until
        lost.save(update_fields=["state", "lease_until"])
        lost.participant, lost.trial = person, trial
        return lost
    return Assignment.objects.create(
        participant=person, trial=trial, order=slot_order(person, trial), lease_until=until
    )


def slot_order(person: Participant, trial: Trial) -> list[int]:
    """The slots in the order in which this person sees them: drawn once, the same whenever it is drawn."""
    slots = list(Stimulus.objects.filter(trial=trial).order_by("slot").values_list("slot", flat=True))
    random.Random(f"{person.uuid}/{trial.uuid}").shuffle(slots)
    return slots


def stimulus_at(assignment: Assignment, position: int) -> Stimulus | None:
    """What stands at this place of the person's page; None where there is no such place."""
    if not 0 <= position < len(assignment.order):
        return None
    slot = assignment.order[position]
    return Stimulus.objects.select_related("explanation__image").get(trial=assignment.trial_id, slot=slot)


def renew(assignment: Assignment) -> bool:
    """A full lease again, while the assignment is open. The row is written only when half of the lease is gone."""
    now = timezone.now()
    if assignment.lease_until - now > LEASE / 2:
        return True
    until = now + LEASE
    open_still = Assignment.objects.filter(pk=assignment.pk, state=Assignment.State.OPEN)
    if not open_still.update(lease_until=until):
        return False
    assignment.lease_until = until
    return True


@transaction.atomic
def return_open(participant: Participant) -> int:
    """Give back what the person holds; how many that were. The draft stays, should they come back to it."""
    Participant.objects.select_for_update(no_key=True).get(pk=participant.pk)
    return _lose(
        Assignment.objects.filter(participant=participant, state=Assignment.State.OPEN), Assignment.State.RETURNED
    )


@transaction.atomic
def release_expired(study: Study | None = None, *, patient: bool = False) -> int:
    """Give back every claim whose lease ran out, of one study or of all; how many that were.

    `patient` waits for assignments that are being answered at this moment instead of leaving them alone.
    """
    expired = Assignment.objects.filter(state=Assignment.State.OPEN, lease_until__lt=timezone.now())
    if study is not None:
        expired = expired.filter(trial__study=study)
    return _lose(expired, Assignment.State.EXPIRED, skip_locked=not patient)


def _lose(assignments: "QuerySet[Assignment]", state: str, *, skip_locked: bool = False) -> int:
    rows = list(
        assignments.select_for_update(
            of=("self",), skip_locked=skip_locked and connection.features.has_select_for_update_skip_locked
        )
        .order_by("pk")
        .values_list("pk", "trial_id")
    )
    if not rows:
        return 0
    Assignment.objects.filter(pk__in=[pk for pk, _ in rows]).update(state=state)
    for trial, number in sorted(Counter(trial for _, trial in rows).items()):
        Trial.objects.filter(pk=trial, claims_left__isnull=False).update(claims_left=F("claims_left") + number)
    return len(rows)


def reclaim(assignment: Assignment) -> bool:
    """Take the place of a lost assignment again, if it was not given away. Call with participant and row locked."""
    trial = Trial.objects.select_for_update(no_key=True).get(pk=assignment.trial_id)
    elsewhere = Assignment.objects.filter(participant=assignment.participant_id, trial=trial, state__in=HELD)
    if elsewhere.exclude(pk=assignment.pk).exists():
        return False
    if trial.claims_left is not None and not Trial.objects.filter(pk=trial.pk, claims_left__gt=0).update(
        claims_left=F("claims_left") - 1
    ):
        return False
    assignment.state = Assignment.State.OPEN
    assignment.lease_until = timezone.now() + LEASE
    assignment.save(update_fields=["state", "lease_until"])
    return True
