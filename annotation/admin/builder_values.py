"""The first half of the study builder's form as a draft is now: images, conditions, who is given what."""

import csv
import io

from annotation.admin import builder_team as teams
from annotation.admin.builder_names import NO, YES, Values
from annotation.admin.builder_structure import SAME
from annotation.models import ListEntry, Study
from annotation.models.studies import Phase
from mlcore.models import ExplanationSet


def values_of(study: Study) -> tuple[Values, list[str]]:
    """The first half of the form as a draft is now: its values, and the sets where they stand together."""
    version = study.version
    found: Values = {}
    groups = version.settings.get("groups", [])
    pks = {
        str(uuid): str(pk)
        for uuid, pk in ExplanationSet.objects.filter(
            uuid__in=[name for group in groups for name in [*group["sets"], group.get("speaker")] if name]
        ).values_list("uuid", "pk")
    }
    together = study.conditions == Study.Conditions.TOGETHER
    explanations = [pks[name] for group in groups for name in group["sets"] if name in pks] if together else []
    if not together:
        for number, group in enumerate(groups):
            chosen = [pks.get(name, "") for name in group["sets"]] or [teams.value_of(group, pks)]
            found |= {f"groups.{number}.name": group["name"]}
            found |= {f"groups.{number}.sets.{place}": pk for place, pk in enumerate(chosen)}
    found |= {
        "kind": study.kind,
        "image_set": str(study.image_set_id),
        "which": SAME,
        "most": "",
        "conditions": study.conditions,
        "mode": study.mode,
        "k": str(study.answers_per_trial or ""),
        "trials_per_person": str(study.trials_per_person or ""),
        "image_once": YES if study.image_once or study.conditions != Study.Conditions.WITHIN else NO,
        "block_by": _blocks_of(study),
        "rotate_blocks": YES if study.rotate_blocks else NO,
        "seed": str(study.seed),
        "balance": teams.BALANCED if any(group.get("balanced") for group in groups) else teams.ALL,
    }
    if study.mode == Study.Mode.LISTS:
        entries = ListEntry.objects.filter(trial_list__study=study).order_by("trial_list__number", "position")
        lines = entries.values_list("trial_list__number", "trial__image__name", "trial__arm__name")
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows(
            [("list", "image", "condition"), *((number, image, arm or "") for number, image, arm in lines)]
        )
        found |= {"lists_how": "table", "lists_table": table.getvalue().strip()}
    return found, explanations


def _blocks_of(study: Study) -> str:
    if study.blocks <= 1:
        return "none"
    pairs = study.trials.filter(phase=Phase.MAIN).order_by().values_list("block", "arm").distinct()
    blocks = [block for block, arm in pairs[: study.blocks + 1] if arm is not None]
    return "condition" if len(blocks) == len(set(blocks)) == study.blocks else "class"
