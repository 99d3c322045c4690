"""Which trial a person is given next, in every mode. Each step is a range of one index, whatever the study's size.

Order of a person: the block (their own first one, then on), within it the condition that they have met least (within
people), within it the trials that the fewest people have had, from the person's own place in the random order on.
"""

import random
from collections.abc import Sequence

from django.db import connection
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery

from annotation.models import Arm, Assignment, Participant, Study, Trial
from annotation.models.studies import Phase

HELD = (Assignment.State.OPEN, Assignment.State.ANSWERED)
LOST = (Assignment.State.EXPIRED, Assignment.State.RETURNED)
FREE = Q(claims_left__isnull=True) | Q(claims_left__gt=0)
# The whole index order is named: PostgreSQL does not take "arm IS NULL" for a constant.
ORDER = ("arm_id", "block", F("claims_left").desc(), "random_key")


def left_for(person: Participant, phase: str = Phase.MAIN, *, ahead: Sequence[Trial] = ()) -> "QuerySet[Trial]":
    """The trials of a phase that the person could still be given, free or not; in no order.

    `ahead`: trials that are taken as given already.
    """
    mine = Assignment.objects.filter(trial=OuterRef("pk"), participant=person, state__in=HELD)
    trials = Trial.objects.filter(~Exists(mine), study=person.study_id, phase=phase)
    if ahead:
        trials = trials.exclude(pk__in=[trial.pk for trial in ahead])
    study = person.study
    if phase == Phase.MAIN and study.mode == Study.Mode.LISTS:
        return trials.filter(list_entries__trial_list=person.trial_list_id)
    if phase == Phase.MAIN and study.conditions == Study.Conditions.WITHIN and study.image_once:
        seen = Assignment.objects.filter(
            trial__image=OuterRef("image"), trial__phase=Phase.MAIN, participant=person, state__in=HELD
        )
        trials = trials.filter(~Exists(seen))
        if ahead:
            trials = trials.exclude(image__in=[trial.image_id for trial in ahead])
    if study.conditions == Study.Conditions.WITHIN:
        return trials
    if phase == Phase.MAIN:
        return trials.filter(Q(arm__isnull=True) if person.arm_id is None else Q(arm=person.arm_id))
    return trials.filter(Q(arm__isnull=True) | Q(arm=person.arm_id)) if person.arm_id else trials.filter(arm=None)


def next_trial(
    person: Participant, phase: str, *, lock: bool = False, patient: bool = False, ahead: Sequence[Trial] = ()
) -> Trial | None:
    """The first free trial in the person's order, locked for a claim where `lock` says so."""
    trials = left_for(person, phase, ahead=ahead)
    if not person.is_preview:
        trials = trials.filter(FREE)
    if phase != Phase.MAIN:
        return trials.select_related("image").order_by("random_key", "pk").first()
    study = person.study
    if study.mode == Study.Mode.LISTS:
        return trials.select_related("image").order_by("list_entries__position").first()
    block = _block(person, trials) if study.blocks > 1 else 0
    if block is None:
        return None
    trials = trials.filter(block=block)
    if study.conditions == Study.Conditions.WITHIN:
        arm = _arm(person, trials, ahead)
        if arm is None:
            return None
        trials = trials.filter(arm=arm)
    counted = study.mode == Study.Mode.K and not person.is_preview
    wanted = trials.select_related("image")
    if lock and counted:
        wanted = wanted.select_for_update(of=("self",), skip_locked=not patient, no_key=True)
    if not (patient and connection.features.has_select_for_update_skip_locked):
        found = _from_own_place(person, wanted, trials if counted else None)
        if found is not None or not counted:
            return found
    # Only while many claim the same last trials: whatever is free, in the one order in which trials are locked. A
    # trial that was taken while this claim waited for it stays locked, so any other order could close a circle.
    return wanted.order_by("pk").first()


def _from_own_place(person: Participant, wanted: "QuerySet[Trial]", counted: "QuerySet[Trial] | None") -> Trial | None:
    """From the person's offset on, then from the start; where trials are counted, among those that the fewest had.

    How many the fewest had is read without a lock; the claim itself takes only what is still there.
    """
    if counted is not None:
        wanted = wanted.filter(claims_left=Subquery(counted.order_by(*ORDER).values("claims_left")[:1]))
    for half in (Q(random_key__gte=person.order_offset), Q(random_key__lt=person.order_offset)):
        trial = wanted.filter(half).order_by(*ORDER).first()
        if trial is not None:
            return trial
    return None


def _block(person: Participant, trials: "QuerySet[Trial]") -> int | None:
    """The first block, in the person's own order of blocks, that has a free trial for them."""
    study = person.study
    start = person.number % study.blocks if study.rotate_blocks else 0
    # One short look into the index for each block, whatever the number of trials.
    for offset in range(study.blocks):
        block = (start + offset) % study.blocks
        if _any(trials.filter(block=block)):
            return block
    return None


def _arm(person: Participant, trials: "QuerySet[Trial]", ahead: Sequence[Trial]) -> int | None:
    """The condition with a free trial that the person has met least; ties by chance, the same whenever it is drawn."""
    held = (
        Assignment.objects.filter(
            participant=person, state__in=HELD, trial__phase=Phase.MAIN, trial__arm=OuterRef("pk")
        )
        .order_by()
        .values("trial__arm")
        .annotate(number=Count("pk"))
        .values("number")
    )
    arms = Arm.objects.filter(study=person.study_id).annotate(held=Subquery(held)).order_by("position")
    met = {arm: number or 0 for arm, number in arms.values_list("pk", "held")}
    for trial in ahead:
        if trial.arm_id is not None:
            met[trial.arm_id] += 1
    drawn = random.Random(f"{person.study.seed}/{person.uuid}/{sum(met.values())}").sample(list(met), len(met))
    # One short look into the index for each, mostly one in all. Asked for all at once, PostgreSQL reads every trial.
    return next((arm for arm in sorted(drawn, key=met.__getitem__) if _any(trials.filter(arm=arm))), None)


def _any(trials: "QuerySet[Trial]") -> bool:
    """Whether there is one. In the index's own order, so that trials that were given away are not read on the way."""
    return trials.order_by(*ORDER).values_list("pk", flat=True).first() is not None
