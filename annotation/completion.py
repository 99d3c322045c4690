"""How a participation ends: with which outcome and code, and what becomes of the places that it held."""

import secrets
from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from annotation.assignment import lose
from annotation.models import Assignment, Participant, Study
from annotation.models.studies import Phase
from annotation.plan import code_for, default_plan

COUNTED = (Phase.MAIN, Phase.CHECK)


@transaction.atomic
def finish(participant: Participant, outcome: str) -> Participant:
    """The end, once: a second call returns what the first one wrote.

    What is open goes back. After an outcome that the study replaces, the answers of the main trials are set aside as
    well: they stay on record, count no more, and their places are given to other people.
    """
    rows = Participant.objects.select_for_update(of=("self",), no_key=True).select_related("study__current")
    person = rows.get(pk=participant.pk)
    if not person.outcome:
        plan = person.study.version.plan or default_plan()
        lose(person.assignments.filter(state=Assignment.State.OPEN), Assignment.State.RETURNED)
        if outcome in plan["replace"]:
            answered = person.assignments.filter(state=Assignment.State.ANSWERED, trial__phase__in=COUNTED)
            lose(answered, Assignment.State.SET_ASIDE)
        person.outcome, person.phase, person.finished = outcome, Participant.Phase.DONE, timezone.now()
        person.completion_code = code_for(plan, outcome)
        personal = plan["completion"]["personal_code"] and outcome == Participant.Outcome.COMPLETED
        if personal and not person.completion_code:
            person.completion_code = secrets.token_hex(4).upper()
        person.save(update_fields=["outcome", "phase", "finished", "completion_code"])
    for name in ("outcome", "phase", "finished", "completion_code"):
        setattr(participant, name, getattr(person, name))
    return person


def give_back(participant: Participant) -> Participant:
    """The person stops here and returns their place."""
    return finish(participant, Participant.Outcome.RETURNED)


def is_overdue(participant: Participant, minutes: int | None) -> bool:
    """Whether the person's time, counted from when they entered, is over."""
    if minutes is None or participant.outcome or participant.kind != Participant.Kind.HUMAN:
        return False
    return timezone.now() - participant.created > timedelta(minutes=minutes)


def time_out_overdue(study: Study | None = None) -> int:
    """End every participation whose time is over, of one study or of all live ones; how many that were."""
    ended = 0
    for one in [study] if study is not None else Study.objects.filter(state=Study.State.LIVE):
        minutes = (one.version.plan or default_plan())["people"]["time_limit_minutes"]
        if minutes is None:
            continue
        before = timezone.now() - timedelta(minutes=minutes)
        overdue = Participant.objects.filter(Q(study=one), outcome="", kind=Participant.Kind.HUMAN, created__lt=before)
        for person in overdue.select_related("study").order_by("pk"):
            finish(person, Participant.Outcome.TIMED_OUT)
            ended += 1
    return ended
