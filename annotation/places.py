"""A researcher ends someone's participation, so that their place goes to someone else."""

from typing import Any

from django.db import transaction

from annotation import completion
from annotation.errors import StudyRefused
from annotation.models import Participant
from mlcore.models import AuditEntry


@transaction.atomic
def take_back(participant: Participant, actor: Any) -> Participant:
    """As if the person had stopped: what they held goes back, by the study's rules. Raises StudyRefused where they
    have ended already."""
    person = Participant.objects.select_for_update(of=("self",)).select_related("study").get(pk=participant.pk)
    if person.outcome:
        raise StudyRefused(f"{person} has ended already: {person.get_outcome_display()}.")
    ended = completion.give_back(person)
    AuditEntry.write(actor, "participant.take_back", person.study, after={"pseudonym": person.pseudonym})
    return ended
