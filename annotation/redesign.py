"""A draft gets other images, conditions or rules of assignment and stays the same study to everyone who knows it."""

from typing import Any

from django.db import transaction

from annotation.errors import StudyRefused
from annotation.making import Group, TrialItem, add_trials, create_study
from annotation.models import Participant, Study
from annotation.models.studies import Phase
from annotation.people import erase
from annotation.trial_tables import EXTRA_PHASES
from mlcore.models import AuditEntry


@transaction.atomic
def redesign(study: Study, actor: Any, **arguments: Any) -> Study:
    """A draft made anew by `create_study(**arguments)`; address, invitations, pictures and added trials are kept.

    Looks at the draft are forgotten. A study of attribution pairs keeps its maps and images, whatever is asked for.
    Raises StudyRefused: the study is not a draft, the new design cannot be, or an added trial shows an image or a
    condition that is no longer there.
    """
    old = Study.objects.select_for_update().get(pk=study.pk)
    if old.state != Study.State.DRAFT:
        raise StudyRefused(f"“{old}” is {old.state}: its images and conditions stay. Copy it to change them.")
    for person in old.participants.filter(kind=Participant.Kind.PREVIEW):
        erase(person)
    new = create_study(owner=old.owner, **_with_pairs(old, arguments))
    for phase in EXTRA_PHASES:
        items = _items(old, phase)
        if items:
            add_trials(new, actor, phase, items)
    old.pictures.update(study=new)
    old.invitations.update(study=new)
    uuid, join_key, created = old.uuid, old.join_key, old.created
    old.trials.all().delete()
    old.delete()
    new.uuid, new.join_key, new.created = uuid, join_key, created
    new.save(update_fields=["uuid", "join_key", "created"])
    AuditEntry.write(actor, "study.redesign", new, after={"conditions": new.conditions, "mode": new.mode})
    return new


def _with_pairs(old: Study, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with the groups' own images: which map belongs to which picture was decided with the pairs."""
    written = old.version.settings.get("groups", [])
    if not any("pair_set" in group for group in written):
        return arguments
    asked = arguments.get("groups") or [Group("", tuple(arguments.get("explanation_sets", ())))]
    if [[str(item.uuid) for item in group.sets] for group in asked] != [group["sets"] for group in written]:
        raise StudyRefused("The maps of this study are attribution pairs and stay as they are. Make a study of others.")
    groups = []
    for group, kept in zip(asked, written, strict=True):
        trials = old.trials.filter(phase=Phase.MAIN).select_related("image").order_by("pk")
        if old.conditions != Study.Conditions.TOGETHER:
            trials = trials.filter(arm__name=kept["name"])
        images = tuple(trial.image for trial in trials)
        about = {key: value for key, value in kept.items() if key not in ("name", "sets", "conditions")}
        groups.append(Group(group.name, group.sets, images, tuple(kept.get("conditions", ())), about))
    return {key: value for key, value in arguments.items() if key not in ("images", "explanation_sets")} | {
        "groups": groups
    }


@transaction.atomic
def rename(study: Study, actor: Any, name: str) -> bool:
    """Researchers' own name of the study; whether it changed. Raises StudyRefused."""
    name = name.strip()
    if not 0 < len(name) <= 160:
        raise StudyRefused("A study's name has 1 to 160 characters.")
    row = Study.objects.select_for_update().get(pk=study.pk)
    if row.name == name:
        return False
    before = {"name": row.name}
    row.name = study.name = name
    row.save(update_fields=["name"])
    AuditEntry.write(actor, "study.rename", row, before=before, after={"name": name})
    return True


def _items(study: Study, phase: str) -> list[TrialItem]:
    """The added trials of a phase as they were asked for; those of all conditions at one place are one item."""
    found: dict[int, TrialItem] = {}
    several = study.arms.count() > 1 and study.conditions == Study.Conditions.BETWEEN
    trials = study.trials.filter(phase=phase).select_related("image", "arm").order_by("random_key", "pk")
    for trial in trials:
        gold = trial.gold or {}
        shared = several and trial.random_key in found
        found[trial.random_key] = TrialItem(
            image=trial.image,
            group="" if shared or trial.arm is None else trial.arm.name,
            gold=gold.get("answer"),
            feedback=gold.get("feedback", ""),
            instruction=trial.context.get("instruction", ""),
        )
    return list(found.values())
