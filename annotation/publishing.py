"""A study is published, closed and copied. Each change writes its audit row in the same transaction."""

import copy
from collections import Counter
from typing import Any

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from annotation.errors import StudyRefused
from annotation.making import Group, TrialItem, add_trials, create_study, groups_of
from annotation.models import (
    Arm,
    ListEntry,
    Participant,
    Stimulus,
    Study,
    StudyPicture,
    StudyVersion,
    Trial,
    TrialList,
)
from annotation.models.studies import Phase, picture_name
from annotation.people import erase
from annotation.plan import default_plan
from annotation.studies import kind_of
from annotation.versions import revise
from mlcore.models import AuditEntry

__all__ = [
    "Group",
    "StudyRefused",
    "TrialItem",
    "add_trials",
    "close",
    "copy_study",
    "create_study",
    "groups_of",
    "problems",
    "publish",
    "revise",
]

BATCH = 1000


def problems(study: Study) -> list[str]:
    """Everything that keeps a draft from going live, a sentence each; empty where nothing does."""
    found: list[str] = []
    version = study.versions.order_by("-number").first()
    if version is None:
        return [f"“{study}” has no texts yet."]
    plan = version.plan or default_plan()
    counted = Trial.objects.filter(study=study).values_list("phase").annotate(number=Count("pk")).order_by()
    phases = Counter(dict(counted))
    if not phases[Phase.MAIN]:
        found.append(f"“{study}” has nothing to show: it holds no trials.")
    found += _arm_problems(study)
    found += kind_of(study).problems(study)
    ungraded = Trial.objects.filter(
        Q(gold__isnull=True) | Q(gold__answer=None), study=study, phase__in=[Phase.QUALIFICATION, Phase.CHECK]
    )
    for phase in (Phase.QUALIFICATION, Phase.CHECK):
        number = sum(1 for trial in ungraded if trial.phase == phase)
        if number:
            word = "qualification" if phase == Phase.QUALIFICATION else "check"
            found.append(f"{number} {word} trial{'s have' if number > 1 else ' has'} no right answer.")
    most = study.trials_per_person
    if most is not None and most > study.main_trials:
        found.append(f"{most} trials per person are wanted, but a person can meet {study.main_trials} at most.")
    if most is not None and phases[Phase.CHECK] > most:
        found.append("There are more attention checks than main trials for one person.")
    people, completion = plan["people"], plan["completion"]
    if people["prolific"] and not completion["codes"]["completed"]:
        found.append("Recruiting with Prolific needs a completion code.")
    if people["prolific"] and phases[Phase.QUALIFICATION] and not completion["codes"]["screened_out"]:
        found.append("Recruiting with Prolific and a qualification needs a code for people who do not qualify.")
    if not (people["accounts"] or people["open_link"] or people["prolific"] or study.invitations.exists()):
        found.append("Nobody can enter: allow accounts, an open link or Prolific, or make invitations.")
    return found


def _arm_problems(study: Study) -> list[str]:
    if study.conditions != Study.Conditions.BETWEEN:
        return []
    empty = [arm.name for arm in study.arms.all() if not arm.main_trials]
    return [f"Condition “{name}” has no trials." for name in empty]


@transaction.atomic
def publish(study: Study, actor: Any) -> Study:
    """draft → live; looks at the draft are forgotten. Raises StudyRefused saying all that is in the way."""
    row = Study.objects.select_for_update().get(pk=study.pk)
    if row.state == Study.State.LIVE:
        raise StudyRefused(f"“{row}” is already published.")
    if row.state == Study.State.CLOSED:
        raise StudyRefused(f"“{row}” is closed. Make a new study to ask again.")
    kind_of(row)
    in_the_way = problems(row)
    if in_the_way:
        raise StudyRefused(" ".join(in_the_way))
    for person in row.participants.filter(kind=Participant.Kind.PREVIEW):
        erase(person)
    return _move(study, row, actor, "study.publish", Study.State.LIVE, "published")


@transaction.atomic
def close(study: Study, actor: Any) -> Study:
    """live → closed: no further answer, no further change. Raises StudyRefused saying what is in the way."""
    row = Study.objects.select_for_update().get(pk=study.pk)
    if row.state == Study.State.CLOSED:
        raise StudyRefused(f"“{row}” is already closed.")
    if row.state == Study.State.DRAFT:
        raise StudyRefused(f"“{row}” was never published, so there is nothing to close.")
    return _move(study, row, actor, "study.close", Study.State.CLOSED, "closed")


def _move(study: Study, row: Study, actor: Any, action: str, state: str, moment: str) -> Study:
    before = {"state": row.state}
    row.state = state
    setattr(row, moment, timezone.now())
    row.save(update_fields=["state", moment])
    AuditEntry.write(actor, action, row, before=before, after={"state": state})
    study.state, study.published, study.closed = row.state, row.published, row.closed
    return row


@transaction.atomic
def copy_study(study: Study, actor: Any, name: str) -> Study:
    """A draft like this one: texts, conditions, trials, lists and pictures, without people and answers."""
    name = name.strip()
    if not 0 < len(name) <= 160:
        raise StudyRefused("Give the copy a name of at most 160 characters.")
    old_version = study.version
    new: Study = _fresh(Study.objects.get(pk=study.pk))
    new.name, new.state, new.published, new.closed = name, Study.State.DRAFT, None, None
    new.current = None
    new.join_key, new.owner = picture_name(), actor if getattr(actor, "pk", None) else study.owner
    new.save()
    version: StudyVersion = _fresh(old_version)
    version.study, version.number = new, 1
    version.save()
    new.current = version
    new.save(update_fields=["current"])
    arms: dict[int | None, Arm | None] = {None: None}
    for arm in study.arms.all():
        arms[arm.pk] = Arm.objects.create(study=new, name=arm.name, position=arm.position, main_trials=arm.main_trials)
    trials = _copy_trials(study, new, arms)
    for old_list in study.lists.all():
        made = TrialList.objects.create(study=new, number=old_list.number)
        entries = old_list.entries.values_list("trial_id", "position")
        ListEntry.objects.bulk_create(
            ListEntry(trial_list=made, trial_id=trials[trial], position=position) for trial, position in entries
        )
    for picture in study.pictures.all():
        # The file is never rewritten, so both may point to it.
        StudyPicture.objects.create(
            study=new, name=picture.name, file=picture.file.name, width=picture.width, height=picture.height
        )
    AuditEntry.write(actor, "study.copy", new, after={"of": str(study.uuid)})
    return new


def _fresh(row: Any) -> Any:
    """The same values as a row that is not saved yet, under a UUID of its own."""
    fresh = copy.copy(row)
    fresh.__dict__.pop("version", None)
    fresh._state = copy.copy(row._state)
    fresh.pk, fresh._state.adding = None, True
    fresh._state.fields_cache = {}
    fresh.uuid = type(row)._meta.get_field("uuid").get_default()
    return fresh


def _copy_trials(study: Study, new: Study, arms: dict[int | None, Arm | None]) -> dict[int, int]:
    """The trials with their stimuli, some at a time; old id → new id."""
    ids: dict[int, int] = {}
    last = 0
    while True:
        batch = list(Trial.objects.filter(study=study, pk__gt=last).order_by("pk")[:BATCH])
        if not batch:
            return ids
        last = batch[-1].pk
        stimuli = list(Stimulus.objects.filter(trial__in=[trial.pk for trial in batch]).order_by("pk"))
        made = []
        for trial in batch:
            fresh: Trial = _fresh(trial)
            fresh.study, fresh.arm = new, arms[trial.arm_id]
            fresh.claims_left = new.answers_per_trial if trial.phase == Phase.MAIN else None
            made.append(fresh)
        Trial.objects.bulk_create(made)
        ids |= {old.pk: fresh.pk for old, fresh in zip(batch, made, strict=True)}
        copies = []
        for stimulus in stimuli:
            twin: Stimulus = _fresh(stimulus)
            twin.trial_id, twin.picture = ids[stimulus.trial_id], picture_name()
            copies.append(twin)
        Stimulus.objects.bulk_create(copies)
