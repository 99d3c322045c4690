"""Who sees what next: a person's next trial is claimed by one conditional statement in a short transaction.

Rows are locked in one order everywhere — participant, then assignment, then trial — and a claim never waits for an
assignment, so two of these transactions cannot wait for each other in a circle.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection, transaction
from django.db.models import Count, F, Min, Q, QuerySet
from django.utils import timezone

from annotation.candidates import HELD, LOST, next_trial
from annotation.models import Assignment, Participant, Stimulus, Study, Trial
from annotation.models.studies import Phase
from annotation.sides import draw_order, keeps_balance

LEASE = timedelta(minutes=30)
MOST_SLOTS = 4


@dataclass(frozen=True)
class Held:
    """What a person was given before, in one query.

    `open`: the assignment in hand, of this phase; `given`: how many of this phase there ever were; `answered`: how
    many of them stand; `lost`: whether one was lost; `firsts`: slot → in how many trials that stand it came first.
    """

    open: int | None
    given: int
    answered: int
    lost: bool
    firsts: dict[int, int]

    @classmethod
    def of(cls, person: Participant, phase: str) -> "Held":
        here = Q(trial__phase=phase)
        found = Assignment.objects.filter(participant=person).aggregate(
            open=Min("pk", filter=here & Q(state=Assignment.State.OPEN)),
            given=Count("pk", filter=here),
            answered=Count("pk", filter=here & Q(state=Assignment.State.ANSWERED)),
            lost=Count("pk", filter=Q(state__in=LOST)),
            **{
                f"first_{slot}": Count("pk", filter=Q(state__in=HELD, order__0=slot, order__1__isnull=False))
                for slot in range(MOST_SLOTS)
            },
        )
        firsts = {slot: found[f"first_{slot}"] for slot in range(MOST_SLOTS)}
        return cls(found["open"], found["given"], found["answered"], bool(found["lost"]), firsts)


def takes_trials(participant: Participant) -> bool:
    """Whether the study gives this person trials now: it is live, or they only look at a draft."""
    state = participant.study.state
    return state == Study.State.LIVE or (participant.is_preview and state == Study.State.DRAFT)


def claim_next(participant: Participant, *, phase: str = Phase.MAIN) -> Assignment | None:
    """The person's open assignment, or the first free trial in their order, claimed; None when nothing is free.

    First, rows that another claim holds are skipped, so that nobody waits. Only when nothing else is left are leases
    that ran out given back, and locked rows waited for: "locked" is never read as "finished". Looked for again also
    where nothing was given back here: somebody else may have done that a moment before.
    """
    if not takes_trials(participant):
        return None
    # One writer at a time (SQLite, IMMEDIATE): there is nothing to skip.
    claimed = _claim(participant, phase, patient=not connection.features.has_select_for_update_skip_locked)
    if claimed is None and phase == Phase.MAIN:
        release_expired(participant.study, patient=True)
        claimed = _claim(participant, phase, patient=True)
    return claimed


@transaction.atomic
def _claim(participant: Participant, phase: str, *, patient: bool) -> Assignment | None:
    person = (
        Participant.objects.select_for_update(of=("self",), no_key=True).select_related("study").get(pk=participant.pk)
    )
    held = Held.of(person, phase)
    if held.open is not None:
        mine = Assignment.objects.select_related("trial__image").get(pk=held.open)
        if renew(mine):
            return mine
    if person.outcome:
        return None  # it ended meanwhile, in another window or by the clock
    most = person.study.trials_per_person
    if phase == Phase.MAIN and most is not None and held.answered >= most:
        return None  # through, perhaps in another window at this moment
    trial = next_trial(person, phase, lock=True, patient=patient)
    if trial is None:
        return None
    if _is_counted(person, trial) and not _take(trial):
        return None
    return _hand_over(person, trial, held)


def _is_counted(person: Participant, trial: Trial) -> bool:
    return trial.claims_left is not None and not person.is_preview


def _take(trial: Trial) -> bool:
    """One of the trial's places; the database refuses the one too many."""
    return bool(Trial.objects.filter(pk=trial.pk, claims_left__gt=0).update(claims_left=F("claims_left") - 1))


def give_places(trials: "Counter[int]") -> None:
    """Gives places back: trial id → how many. Trials are written in the order of their ids, as everywhere."""
    for trial, number in sorted(trials.items()):
        Trial.objects.filter(pk=trial, claims_left__isnull=False).update(claims_left=F("claims_left") + number)


def peek(participant: Participant, number: int = 2) -> list[Trial]:
    """The trials that this person would probably be given after the one in hand. Nothing is claimed or locked."""
    found: list[Trial] = []
    if not takes_trials(participant) or participant.phase not in Phase.values:
        return found
    for _ in range(number):
        trial = next_trial(participant, participant.phase, ahead=found)
        if trial is None:
            break
        found.append(trial)
    return found


def _hand_over(person: Participant, trial: Trial, held: Held) -> Assignment:
    """The trial, under a new lease. An assignment that was lost is opened again, with its order and its draft."""
    until = timezone.now() + LEASE
    if held.lost:
        lost = (
            Assignment.objects.filter(participant=person, trial=trial, state__in=LOST)
            .select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked)
            .order_by("-pk")
            .first()
        )
        # An order that would tip the balance is drawn anew, and then nothing of the old page may come back.
        if lost is not None and keeps_balance(lost.order, held.firsts):
            lost.state, lost.lease_until = Assignment.State.OPEN, until
            lost.save(update_fields=["state", "lease_until"])
            lost.participant, lost.trial = person, trial
            return lost
    slots = list(Stimulus.objects.filter(trial=trial).order_by("slot").values_list("slot", flat=True))
    order = draw_order(person, trial, slots, held.firsts)
    return Assignment.objects.create(
        participant=person, trial=trial, order=order, lease_until=until, place=held.given + 1
    )


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
    return lose(
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
    return lose(expired, Assignment.State.EXPIRED, skip_locked=not patient)


def lose(assignments: "QuerySet[Assignment]", state: str, *, skip_locked: bool = False) -> int:
    """These assignments count no more: they become `state` and their places are free. Call in a transaction."""
    rows = list(
        assignments.select_for_update(
            of=("self",), skip_locked=skip_locked and connection.features.has_select_for_update_skip_locked
        )
        .order_by("pk")
        .values_list("pk", "trial_id", "participant__kind")
    )
    if not rows:
        return 0
    Assignment.objects.filter(pk__in=[pk for pk, _, _ in rows]).update(state=state)
    give_places(Counter(trial for _, trial, kind in rows if kind != Participant.Kind.PREVIEW))
    return len(rows)


def reclaim(assignment: Assignment) -> bool:
    """Take the place of a lost assignment again, if it was not given away. Call with participant and row locked.

    A person holds one trial of a phase at a time: what else they hold of it goes back. Refused where that would give
    them an image twice, or more trials than one person answers.
    """
    person, phase = assignment.participant, assignment.trial.phase
    own = Assignment.objects.filter(participant=person, trial__phase=phase).exclude(pk=assignment.pk)
    if person.outcome or own.filter(trial=assignment.trial_id, state__in=HELD).exists():
        return False
    # Locked before anything is counted: one of them may be answered at this moment.
    open_ones = own.filter(state=Assignment.State.OPEN)
    instead = list(open_ones.select_for_update(of=("self",)).order_by("pk").values_list("trial_id", flat=True))
    if phase == Phase.MAIN and _is_full_for(assignment, own.filter(state=Assignment.State.ANSWERED)):
        return False
    # Trials are locked in the order of their ids, as everywhere.
    trials = Trial.objects.select_for_update(of=("self",), no_key=True).order_by("pk")
    locked = {trial.pk: trial for trial in trials.filter(pk__in=[assignment.trial_id, *instead])}
    trial = locked[assignment.trial_id]
    if _is_counted(person, trial) and not _take(trial):
        return False
    lose(open_ones, Assignment.State.RETURNED)
    assignment.state = Assignment.State.OPEN
    assignment.lease_until = timezone.now() + LEASE
    assignment.save(update_fields=["state", "lease_until"])
    return True


def _is_full_for(assignment: Assignment, answered: "QuerySet[Assignment]") -> bool:
    """Whether the person has answered as many main trials as one person does, or this image in another condition."""
    study = assignment.trial.study
    if study.trials_per_person is not None and answered.count() >= study.trials_per_person:
        return True
    return study.image_once and answered.filter(trial__image=assignment.trial.image_id).exists()
