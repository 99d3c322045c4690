"""What the study builder does for a human–AI team: conditions without an explanation, balanced images, and the course
of the published study (Taesiri, Nguyen & Nguyen, NeurIPS 2022), filled in where the images suffice.

A condition's select says a set of maps by its id, or: `none` what the classifier says and no explanation, `none:ID`
what that set's own vote says, `alone` and `alone:ID` the same name, and nothing of an AI.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef

from annotation.admin.builder_names import put_rows, rows
from annotation.extra_trials import add
from annotation.models import Study
from annotation.models.studies import Phase
from annotation.studies.trials import Group
from annotation.team_ai import ais_of_groups, answers_of
from annotation.team_images import Chosen, plan
from annotation.team_names import CONFIDENCE
from annotation.trial_tables import ExtraTrial
from mlcore.catalogue import MATCHERS
from mlcore.catalogue.fields import Field
from mlcore.models import Explanation, ExplanationSet, Image

NONE, ALONE = "none", "alone"
BALANCED, ALL = "balanced", "all"
DESIGN = (
    Field(
        "balance", "Images balanced", "choice", BALANCED,
        "Difficulty is how sure the AI is, in thirds of those that it gets right, and of those that it gets wrong.",
        choices=((BALANCED, "as many right as wrong, easy and hard"), (ALL, "as they come")),
    ),
    Field("practice_trials", "Training trials", "int", 0, "Balanced too; people are told what was right.", 0, 60),
    Field("validation_trials", "Validation trials", "int", 0, "Balanced too; the pass mark is below.", 0, 60),
)  # fmt: skip
NAMES = tuple(item.name for item in DESIGN)
TRAINING, VALIDATION, TEST = 6, 10, 30  # as published, but for the training: one of each kind of image
INTRODUCTION = (
    {
        "title": "What you will do",
        "text": "You will see pictures, one after the other. Beside each stands the name of what it may show, "
        "sometimes with more that may help you. **The name is often right, and sometimes wrong.** "
        "Decide whether it is right.",
    },
    {
        "title": "How it goes on",
        "text": "First comes some **training**, in which you are told whether you decided correctly. Then follow "
        f"{VALIDATION} pictures without a word, to see whether the task is clear. Who passes goes on to the study "
        f"itself, with {TEST} pictures. Take the time that you need; we note how long a picture takes.",
    },
)


@dataclass(frozen=True)
class Option:
    """A choice for a condition beside the sets of maps."""

    value: str
    title: str


def speaking(offered: Sequence[ExplanationSet]) -> list[ExplanationSet]:
    """Those of the sets that bring answers of their own. One query."""
    own = Explanation.objects.filter(set=OuterRef("pk"), data__has_key=CONFIDENCE).exclude(payload="map")
    found = set(
        ExplanationSet.objects.filter(pk__in=[item.pk for item in offered])
        .filter(Exists(own))
        .values_list("pk", flat=True)
    )
    return [item for item in offered if item.pk in found]


def options(offered: Sequence[ExplanationSet]) -> list[Option]:
    """Conditions without an explanation and people alone, of the classifier's head and of every matcher."""
    voices = speaking(offered)
    return [
        Option(NONE, "No explanation: what the classifier says"),
        *(Option(f"{NONE}:{item.pk}", f"No explanation: what {method_title(item)} says") for item in voices),
        Option(ALONE, "People alone: nothing of an AI"),
        *(Option(f"{ALONE}:{item.pk}", f"People alone, about what {method_title(item)} says") for item in voices),
    ]


def method_title(item: ExplanationSet) -> str:
    spec = MATCHERS.get(item.method)
    return spec.title if spec else item.method.replace("_", " ")


def group_of(name: str, chosen: Sequence[str], by_pk: Mapping[str, ExplanationSet]) -> Group:
    """The condition that these values of its selects stand for."""
    head, _, pk = chosen[0].partition(":") if chosen else ("", "", "")
    if head in (NONE, ALONE):
        return Group(name, speaker=by_pk.get(pk), alone=head == ALONE)
    return Group(name, tuple(by_pk[value] for value in chosen if value in by_pk))


def value_of(group: Mapping[str, Any], pks: Mapping[str, str]) -> str:
    """The select's value of a condition without sets, as a study keeps it."""
    head, speaker = (ALONE if group.get("alone") else NONE), pks.get(str(group.get("speaker") or ""), "")
    return f"{head}:{speaker}" if speaker else head


def default_name(group: Group) -> str:
    """What a condition is called where the researcher says nothing."""
    said = f", {method_title(group.speaker)}" if group.speaker is not None else ""
    return f"{'people alone' if group.alone else 'no explanation'}{said}"


def chosen_images(
    groups: Sequence[Group], candidates: Sequence[Image], values: Mapping[str, str], most: str, practice: bool
) -> Chosen | None:
    """The balanced images of these conditions; None where they have no AI yet, or nothing is to be balanced.

    practice: whether images for training and validation are set aside, as for a study that is made now.
    """
    if values.get("balance", BALANCED) != BALANCED or not groups or not candidates:
        return None
    ais = ais_of_groups(groups)
    image_set = candidates[0].image_set
    pks = [image.pk for image in candidates]
    told: dict[tuple[int, int], Any] = {}
    said = []
    for group in groups:
        ai = ais[group.name]
        if ai is None:
            return None
        if ai.key not in told:
            told[ai.key] = answers_of(ai, image_set, pks)
        said.append(told[ai.key])
    numbers = {
        str(Phase.PRACTICE): _whole(values.get("practice_trials")) if practice else 0,
        str(Phase.QUALIFICATION): _whole(values.get("validation_trials")) if practice else 0,
        str(Phase.MAIN): int(most) if most.isdigit() and int(most) else None,
    }
    return plan([group.name for group in groups], said, numbers, _whole(values.get("seed")), len(candidates))


def fill_in(values: MutableMapping[str, str], chosen: Chosen | None) -> None:
    """The course of the published study, where the images suffice for it; what was typed already stays.

    chosen: the plan with as many images as there are and none set aside.
    """
    there = min((len(mine) for mine in chosen.parts[str(Phase.MAIN)]), default=0) if chosen is not None else 0
    values.setdefault("balance", BALANCED if there else ALL)
    enough = there >= TRAINING + VALIDATION + TEST
    values.setdefault("practice_trials", str(TRAINING if enough else 0))
    values.setdefault("validation_trials", str(VALIDATION if enough else 0))
    if enough:
        values.setdefault("trials_per_person", str(TEST))
        values.setdefault("qualification.pass_mark", "80")
        if not rows(values, "introduction"):
            put_rows(dict_of(values), "introduction", [dict(page) for page in INTRODUCTION])


def dict_of(values: MutableMapping[str, str]) -> dict[str, str]:
    assert isinstance(values, dict)
    return values


def forget(values: dict[str, str]) -> None:
    """Take out again what `fill_in` wrote and nobody changed, for a study of another kind."""
    for name in (*NAMES, "trials_per_person", "qualification.pass_mark"):
        values.pop(name, None)
    kept = [row for row in rows(values, "introduction") if {key: row.get(key) for key in ("title", "text")}
            not in [dict(page) for page in INTRODUCTION]]  # fmt: skip
    put_rows(values, "introduction", kept)


def extra_trials(groups: Sequence[Group], chosen: Chosen, conditions: str) -> list[ExtraTrial]:
    """Training and validation as chosen. Between people an image that all conditions show is one trial of each;
    within people the conditions take turns."""
    wanted = {pk for part in (Phase.PRACTICE, Phase.QUALIFICATION) for mine in chosen.parts[str(part)] for pk in mine}
    images = Image.objects.in_bulk(list(wanted))
    found = []
    for part in (str(Phase.PRACTICE), str(Phase.QUALIFICATION)):
        lists = chosen.parts[part]
        if conditions == Study.Conditions.WITHIN:
            mixed = [(lists[place % len(lists)], place) for place in range(len(lists[0]))]
            seen: set[int] = set()
            for mine, place in mixed:
                pk = next((pk for pk in mine[place:] + mine[:place] if pk not in seen), None)
                if pk is not None:
                    seen.add(pk)
                    found.append(ExtraTrial(part, images[pk], groups[place % len(groups)].name))
            continue
        common = set.intersection(*(set(mine) for mine in lists)) if lists else set()
        found += [ExtraTrial(part, images[pk]) for pk in lists[0] if pk in common]
        for group, mine in zip(groups, lists, strict=True):
            found += [ExtraTrial(part, images[pk], group.name) for pk in mine if pk not in common]
    return found


def add_trials(study: Study, user: Any, groups: Sequence[Group], chosen: Chosen) -> int:
    """Write them. Raises StudyRefused."""
    return add(study, user, extra_trials(groups, chosen, study.conditions))


def _whole(text: str | None) -> int:
    return int(text) if text and text.strip().isdigit() and len(text) < 8 else 0
