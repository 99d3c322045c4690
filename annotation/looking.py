"""Looks at the result of a live study: allowed, and on record, since stopping at a figure one likes misleads."""

from typing import Any

from django.db import transaction

from annotation.errors import StudyRefused
from annotation.models import Assignment, Participant, Study
from annotation.models.studies import Phase
from mlcore.models import AuditEntry


@transaction.atomic
def record_look(study: Study, actor: Any) -> AuditEntry:
    """Writes down who looked and at how many answers. Raises StudyRefused for a draft, which has no result."""
    if study.state == Study.State.DRAFT:
        raise StudyRefused(f"“{study}” was never published, so there is no result to look at.")
    given = Assignment.objects.filter(trial__study=study, trial__phase=Phase.MAIN, state=Assignment.State.ANSWERED)
    answers = given.exclude(participant__kind=Participant.Kind.PREVIEW).count()
    return AuditEntry.write(actor, "study.look", study, after={"state": study.state, "answers": answers})
