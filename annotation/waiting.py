"""Whether somebody who was told to wait still has to. Nothing is claimed: people reload a page on which they wait."""

from datetime import timedelta

from django.db.models import Count, Exists, OuterRef, Q
from django.utils import timezone

from annotation.assignment import takes_trials
from annotation.candidates import FREE, left_for
from annotation.completion import is_overdue
from annotation.models import Assignment, Participant
from annotation.models.studies import Phase
from annotation.plan import default_plan

State = Assignment.State


def waits(person: Participant) -> bool:
    """Nothing is free for the person, and others hold what may come back. In three reads, whatever the study's size.

    False says only that the whole way has to be asked (annotation.flow): as soon as a lease or somebody's time has run
    out, the claim gives back what they held.
    """
    version = person.study.version
    limit = (version.plan or default_plan())["people"]["time_limit_minutes"]
    agreed = person.consent_version
    asked = bool(version.consent) and (agreed is None or agreed.consent_hash != version.consent_hash)
    if person.phase != Phase.MAIN or person.outcome or person.is_preview or asked:
        return False
    if not takes_trials(person) or is_overdue(person, limit):
        return False
    held = Assignment.objects.filter(participant=person).aggregate(
        open=Count("pk", filter=Q(state=State.OPEN)),
        done=Count("pk", filter=Q(state=State.ANSWERED, trial__phase=Phase.MAIN)),
    )
    most = person.study.trials_per_person
    if held["open"] or (most is not None and held["done"] >= most):
        return False
    left = left_for(person)
    others = Assignment.objects.filter(trial=OuterRef("pk"), state=State.OPEN)
    others = others.exclude(participant__kind=Participant.Kind.PREVIEW)
    now = timezone.now()
    gone = Q(lease_until__lt=now)
    if limit is not None:
        gone |= Q(participant__created__lt=now - timedelta(minutes=limit), participant__kind=Participant.Kind.HUMAN)
    if left.filter(FREE | Exists(others.filter(gone))).exists():
        return False
    return left.filter(Exists(others)).exists()
