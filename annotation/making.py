"""A study is made, with its trials, conditions and lists, and an audit row in the same transaction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import models, transaction

from annotation.design import Design, check_sets, check_words, conditions_of, sets_of, settled
from annotation.errors import PlanInvalid, StudyRefused
from annotation.lists import ListPlan, write_lists
from annotation.models import Arm, Study, StudyVersion, Trial
from annotation.models.studies import Phase
from annotation.plan import clean_plan
from annotation.studies import Kind, kind_named, kind_of
from annotation.studies.trials import Built, Group
from annotation.versions import digest
from mlcore.models import AuditEntry, ExplanationSet, Image, ImageLabel, ImageSet

MOST_BLOCKS = 100
Conditions = Study.Conditions


@transaction.atomic
def create_study(
    *,
    kind: str,
    name: str,
    owner: Any,
    image_set: ImageSet | None = None,
    images: "models.QuerySet[Image] | Iterable[Image] | None" = None,
    explanation_sets: Sequence[ExplanationSet] = (),
    groups: Sequence[Group] | None = None,
    conditions: str | None = None,
    mode: str | None = None,
    answers_per_trial: int | None = 1,
    trials_per_person: int | None = None,
    image_once: bool | None = None,
    block_by: str = "none",
    rotate_blocks: bool = False,
    lists: ListPlan | None = None,
    settings: Mapping[str, Any] | None = None,
    plan: Mapping[str, Any] | None = None,
    consent: str = "",
    translations: Mapping[str, Any] | None = None,
    title: str = "",
    task: str = "",
    seed: int = 0,
) -> Study:
    """A draft with its first version, its trials and their stimuli.

    `images` unset: every image that all explanation sets explain; without any set, the whole image set.
    `groups`: the conditions, each with the sets that one of its trials shows; unset, they follow from
    `explanation_sets`: all in one trial where conditions stand together, else as many as a trial shows at least.
    `conditions` unset: the kind's own way. `answers_per_trial` is k; None gives every trial to everyone.
    `lists` gives each person one fixed list (`annotation.lists`). The trials' order follows from `seed`.
    Raises StudyRefused with one sentence, PlanInvalid with a sentence a part of the plan.
    """
    study_kind = kind_named(kind)
    cleaned = study_kind.clean_settings(settings)
    design = Design(conditions, mode, answers_per_trial, trials_per_person, image_once, block_by, rotate_blocks, lists)
    check_words(name, title, task, seed)
    design = settled(design, study_kind)
    shown = conditions_of(study_kind, design, explanation_sets, groups)
    check_sets(study_kind, design, shown, cleaned)
    sets = sets_of(shown)
    image_set = _image_set(image_set, sets)
    study = Study.objects.create(
        name=name.strip(),
        kind=kind,
        owner=owner if getattr(owner, "pk", None) else None,
        image_set=image_set,
        seed=seed,
        mode=str(design.mode),
        answers_per_trial=design.answers_per_trial,
        trials_per_person=design.trials_per_person,
        conditions=str(design.conditions),
        image_once=bool(design.image_once),
    )
    _check_own_images(image_set, shown)
    shared = any(group.images is None for group in shown)
    chosen = _images(image_set, images, sets) if shared else ()
    built = _write_trials(study, study_kind, design, shown, chosen, cleaned)
    if not built.trials:
        raise StudyRefused(_nothing_to_show(built.left_out, sets))
    if design.lists is not None:
        write_lists(study, design.lists)
    _count(study, built)
    study.current = StudyVersion.objects.create(
        study=study,
        number=1,
        title=title.strip() or study.name,
        task=task.strip() or str(study_kind.usual_task(shown)),
        consent=consent.strip(),
        consent_hash=digest(consent),
        plan=clean_plan(plan),
        translations=dict(translations or {}),
        settings=cleaned
        | {
            "trials": built.trials,
            "left_out": dict(built.left_out),
            "explanation_sets": [str(item.uuid) for item in sets],
            "groups": [group.written() for group in shown],
        },
    )
    study.save(update_fields=["current"])
    AuditEntry.write(
        owner,
        "study.create",
        study,
        after={"kind": kind, "trials": built.trials, "k": design.answers_per_trial, "conditions": study.conditions},
    )
    return study


def groups_of(study: Study) -> list[Group]:
    """The conditions of a study with the sets that their trials show."""
    written = study.version.settings.get("groups", [])
    wanted = {name for group in written for name in [*group["sets"], *filter(None, [group.get("speaker")])]}
    sets = {
        str(item.uuid): item for item in ExplanationSet.objects.select_related("classifier").filter(uuid__in=wanted)
    }
    missing = wanted - set(sets)
    if missing:
        raise StudyRefused("A set of maps of this study is gone, so no further trial can be made from it.")
    return [
        Group(
            group["name"],
            tuple(sets[name] for name in group["sets"]),
            conditions=tuple(group.get("conditions", ())),
            speaker=sets.get(group.get("speaker", "")),
            alone=bool(group.get("alone")),
        )
        for group in written
    ]


# --- trials around the main ones ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrialItem:
    """A practice, qualification or check trial.

    `group`: name of the condition; empty stands for the only one, for each person's own (between people), or for the
    first (within people). `gold`: the right answer by the kind's `gold_fields`; None takes what labels and masks say.
    """

    image: Image
    group: str = ""
    gold: Mapping[str, Any] | None = None
    feedback: str = ""
    instruction: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@transaction.atomic
def add_trials(study: Study, actor: Any, phase: str, items: Sequence[TrialItem]) -> list[Trial]:
    """Further trials of a draft, after those that the phase has. All or none. Raises StudyRefused naming the row."""
    from annotation.studies.trials import Maker

    row = Study.objects.select_for_update().get(pk=study.pk)
    if row.state != Study.State.DRAFT:
        raise StudyRefused(f"“{row}” is {row.state}: its trials stay as they are. Copy it to change them.")
    if phase not in (Phase.PRACTICE, Phase.QUALIFICATION, Phase.CHECK):
        raise StudyRefused("Trials are added for practice, qualification or as checks.")
    kind, groups = kind_of(row), groups_of(row)
    maker = Maker(row, groups, row.version.settings)
    last = Trial.objects.filter(study=row, phase=phase).aggregate(last=models.Max("random_key"))["last"]
    position = 0 if last is None else int(last) + 1
    made = []
    for number, item in enumerate(items, 1):
        try:
            for group in _groups_of_item(row, groups, item):
                trial, stimuli = maker.make(maker.facts([item.image]), item.image, group, phase)
                trial.random_key = position
                trial.context |= {"instruction": item.instruction.strip()} if item.instruction.strip() else {}
                trial.save()
                for stimulus in stimuli:
                    stimulus.trial = trial
                    stimulus.save()
                gold = kind.known_gold(trial) if item.gold is None else kind.clean_gold(item.gold)
                trial.gold = {"answer": gold, "feedback": item.feedback.strip()} if gold or item.feedback else None
                trial.save(update_fields=["gold"])
                made.append(trial)
        except StudyRefused as error:
            raise StudyRefused(f"Trial {number} ({item.image.name}): {error.sentence}") from error
        position += 1
    AuditEntry.write(actor, "study.add_trials", row, after={"phase": phase, "trials": len(made)})
    return made


def _groups_of_item(study: Study, groups: Sequence[Group], item: TrialItem) -> list[Group]:
    if item.image.image_set_id != study.image_set_id:
        raise StudyRefused(f"It does not belong to “{study.image_set}”.")
    if item.group:
        named = [group for group in groups if group.name == item.group]
        if not named:
            known = ", ".join(f"“{group.name}”" for group in groups if group.name)
            raise StudyRefused(f"There is no condition “{item.group}”." + (f" Conditions: {known}." if known else ""))
        return named
    return list(groups) if study.conditions == Conditions.BETWEEN else [groups[0]]


# --- writing ---------------------------------------------------------------------------------------------------------


def _image_set(image_set: ImageSet | None, sets: Sequence[ExplanationSet]) -> ImageSet:
    owners = {item.image_set_id: item.image_set for item in sets}
    if image_set is not None:
        owners[image_set.pk] = image_set
    if not owners:
        raise StudyRefused("Choose an image set, or a set of maps.")
    if len(owners) > 1:
        names = ", ".join(sorted(f"“{item}”" for item in owners.values()))
        raise StudyRefused(f"A study shows images of one set; these belong to {names}.")
    return next(iter(owners.values()))


def _images(
    image_set: ImageSet, images: "models.QuerySet[Image] | Iterable[Image] | None", sets: Sequence[ExplanationSet]
) -> Iterable[Image]:
    if images is None:
        chosen = Image.objects.filter(image_set=image_set).order_by("pk")
        for item in sets:
            chosen = chosen.filter(explanations__set=item)
        return chosen.iterator(chunk_size=1000)
    if isinstance(images, models.QuerySet):
        images = images.order_by("pk").distinct()
    listed = list(dict.fromkeys(images))
    for image in listed:
        if image.image_set_id != image_set.pk:
            raise StudyRefused(f"Image {image.name} does not belong to “{image_set}”.")
    return listed


def _check_own_images(image_set: ImageSet, groups: Sequence[Group]) -> None:
    for group in groups:
        for image in group.images or ():
            if image.image_set_id != image_set.pk:
                raise StudyRefused(f"Image {image.name} does not belong to “{image_set}”.")


def _write_trials(
    study: Study, kind: Kind, design: Design, groups: Sequence[Group], images: Iterable[Image], settings: dict
) -> Built:
    if study.conditions != Conditions.TOGETHER:
        Arm.objects.bulk_create(
            Arm(study=study, name=group.name, position=position) for position, group in enumerate(groups)
        )
    block_of, blocks = _blocks(design, groups, study.image_set)
    built = kind.build_trials(study, images=images, groups=groups, settings=settings, block_of=block_of)
    if blocks:
        study.blocks = max(1, len(blocks)) if isinstance(blocks, dict) else blocks
        study.rotate_blocks = design.rotate_blocks
        study.save(update_fields=["blocks", "rotate_blocks"])
    return built


def _blocks(
    design: Design, groups: Sequence[Group], image_set: ImageSet
) -> tuple[Callable[[Image, int], int] | None, dict[int, int] | int]:
    """Image and place of its condition → number of its block; and how many blocks there are."""
    if design.block_by == "condition":
        if design.conditions != Conditions.WITHIN:
            raise StudyRefused("Blocks by condition need conditions that are met within people.")
        return (lambda image, index: index), len(groups)
    if design.block_by == "class":
        labels = dict(
            ImageLabel.objects.filter(image__image_set=image_set).order_by("-index").values_list("image_id", "index")
        )
        numbers: dict[int, int] = {}

        def of_class(image: Image, _index: int) -> int:
            block = numbers.setdefault(labels.get(image.pk, -1), len(numbers))
            if block >= MOST_BLOCKS:
                raise StudyRefused(f"There would be more than {MOST_BLOCKS} blocks.")
            return block

        return of_class, numbers
    return None, 0


def _count(study: Study, built: Built) -> None:
    """How many main trials one person could meet."""
    for arm in study.arms.all():
        arm.main_trials = built.by_group[arm.name]
        arm.save(update_fields=["main_trials"])
    if study.conditions == Conditions.BETWEEN:
        study.main_trials = max(built.by_group.values())
    elif study.conditions == Conditions.WITHIN and study.image_once:
        study.main_trials = built.images
    else:
        study.main_trials = built.trials
    study.save(update_fields=["main_trials"])


def _nothing_to_show(left_out: Mapping[str, int], sets: Sequence[ExplanationSet]) -> str:
    if left_out:
        reasons = "; ".join(f"{number} have {reason}" for reason, number in left_out.items())
        return f"No image is left to show: {reasons}."
    if sets:
        return "No image has a map in every chosen set. Explain the images first."
    return "No image was chosen."


__all__ = ["Design", "Group", "PlanInvalid", "TrialItem", "add_trials", "create_study", "groups_of"]
