"""Practice, qualification and check trials of a draft: added from a table, taken out, and put into another order."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from annotation.errors import StudyRefused
from annotation.making import TrialItem, add_trials
from annotation.models import Participant, Study, Trial
from annotation.models.studies import Phase
from annotation.people import erase
from annotation.trial_tables import EXTRA_PHASES, ExtraTrial
from mlcore.models import AuditEntry

GRADED = (str(Phase.QUALIFICATION), str(Phase.CHECK))


@transaction.atomic
def add(study: Study, actor: Any, extra: Sequence[ExtraTrial]) -> int:
    """All of these trials or none; how many rows were written. Raises StudyRefused naming the trial.

    A qualification or check trial needs a right answer, from the researcher or from labels and masks.
    """
    made = 0
    for phase in EXTRA_PHASES:
        items = [
            TrialItem(item.image, item.group, item.answer, item.feedback, item.instruction)
            for item in extra
            if item.phase == phase
        ]
        if not items:
            continue
        trials = add_trials(study, actor, phase, items)
        for trial in trials:
            if phase in GRADED and not (trial.gold or {}).get("answer"):
                raise StudyRefused(
                    f"{trial.image.name}: labels and masks do not tell the right answer. Say it yourself."
                )
        made += len(trials)
    return made


@transaction.atomic
def remove_trial(trial: Trial, actor: Any) -> None:
    """Take a practice, qualification or check trial out of a draft. Raises StudyRefused."""
    study = _draft(trial)
    for person in study.participants.filter(kind=Participant.Kind.PREVIEW):
        erase(person)  # a look may have answered it
    before = {"phase": trial.phase, "image": trial.image.name}
    trial.delete()
    AuditEntry.write(actor, "study.remove_trial", study, before=before)


@transaction.atomic
def move_trial(trial: Trial, actor: Any, steps: int) -> None:
    """Exchange a trial with the one before (−1) or after it (1) in its phase. At an end nothing happens.

    Between people a trial stands once for each condition; these move together. Raises StudyRefused.
    """
    study = _draft(trial)
    if steps not in (-1, 1):
        raise StudyRefused("A trial moves up or down by one place.")
    of_phase = Trial.objects.filter(study=study, phase=trial.phase)
    later = of_phase.filter(random_key__gt=trial.random_key).order_by("random_key")
    earlier = of_phase.filter(random_key__lt=trial.random_key).order_by("-random_key")
    other = (later if steps > 0 else earlier).values_list("random_key", flat=True).first()
    if other is None:
        return
    here = trial.random_key
    moving = list(of_phase.filter(random_key=here).values_list("pk", flat=True))
    of_phase.filter(random_key=other).update(random_key=here)
    of_phase.filter(pk__in=moving).update(random_key=other)
    trial.random_key = other
    AuditEntry.write(
        actor, "study.move_trial", study, after={"phase": trial.phase, "image": trial.image.name, "by": steps}
    )


def _draft(trial: Trial) -> Study:
    study = Study.objects.select_for_update().get(pk=trial.study_id)
    if study.state != Study.State.DRAFT:
        raise StudyRefused(f"“{study}” is {study.state}: its trials stay as they are. Copy it to change them.")
    if trial.phase not in EXTRA_PHASES:
        raise StudyRefused("Main trials belong to the study's images and conditions; change those instead.")
    return study
