"""Whose trial it is. Everything of a trial goes through here: another person's trial does not exist."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest

from annotation.assignment import takes_trials
from annotation.candidates import HELD
from annotation.models import Assignment, Participant, Trial


def own_assignment(request: HttpRequest, uuid: UUID, *related: str) -> Assignment:
    """The assignment with its trial, image, study and person, in one query. Raises Http404 unless it is one's own.

    `related`: further rows to read along, `draft` for example.
    """
    found = (
        Assignment.objects.filter(uuid=uuid, participant__user_id=request.user.pk or 0)
        .select_related("trial__image", "participant__study__current", "participant__arm", *related)
        .first()
    )
    if found is None:
        raise Http404
    found.trial.study = found.participant.study  # one row, so that its version is read once
    return found


def may_see(user: Any, trial: Trial) -> bool:
    """Whether a trial's pictures are this person's to see.

    They are while the person's part in the study goes on and can meet the trial, so that pictures load ahead; and
    for ever, once the trial was given to them.
    """
    people = list(Participant.objects.filter(user=user.pk or 0, study=trial.study_id).select_related("study"))
    for person in people:
        fits = trial.arm_id is None or person.arm_id in (None, trial.arm_id)
        if fits and not person.outcome and takes_trials(person):
            return True
    return Assignment.objects.filter(participant__in=people, trial=trial, state__in=HELD).exists()
