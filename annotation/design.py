"""What is asked for when a study is made, checked and made whole before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from annotation.errors import StudyRefused
from annotation.lists import ListPlan
from annotation.models import Study
from annotation.studies import Kind
from annotation.studies.trials import Group, condition_names
from mlcore.models import ExplanationSet

MOST_SEED = 2_147_483_647
BLOCKS = ("none", "class", "condition")
Conditions, Mode = Study.Conditions, Study.Mode


@dataclass(frozen=True)
class Design:
    """Who sees what. Empty values follow from the rest: see `create_study`."""

    conditions: str | None = None
    mode: str | None = None
    answers_per_trial: int | None = 1
    trials_per_person: int | None = None
    image_once: bool | None = None
    block_by: str = "none"
    rotate_blocks: bool = False
    lists: ListPlan | None = None


def check_words(name: str, title: str, task: str, seed: int) -> None:
    if not name.strip():
        raise StudyRefused("Give the study a name.")
    for label, text, most in (("name", name, 160), ("title", title, 160), ("task", task, 300)):
        if len(text.strip()) > most:
            raise StudyRefused(f"The {label} is longer than {most} characters.")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MOST_SEED:
        raise StudyRefused(f"The seed is a whole number from 0 to {MOST_SEED}.")


def settled(design: Design, kind: Kind) -> Design:
    """Every value said, and none against another."""
    conditions = design.conditions or kind.condition_modes[0]
    if conditions not in kind.condition_modes:
        known = ", ".join(kind.condition_modes)
        raise StudyRefused(f"Conditions of “{kind.title}” stand {known}, not {conditions}.")
    mode = design.mode or (
        Mode.LISTS if design.lists else Mode.EVERYONE if design.answers_per_trial is None else Mode.K
    )
    if mode not in Mode.values:
        raise StudyRefused(f"Trials are given out as {', '.join(Mode.values)}; not as “{mode}”.")
    k = design.answers_per_trial if mode == Mode.K else None
    for number, what in ((k, "Answers per trial"), (design.trials_per_person, "Trials per person")):
        if number is not None and (
            isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 10_000
        ):
            raise StudyRefused(f"{what}: a whole number from 1 to 10000, or nothing for all.")
    if mode == Mode.K and k is None:
        raise StudyRefused("Say how many answers each trial gets.")
    if mode == Mode.LISTS and design.lists is None:
        raise StudyRefused("Fixed lists: upload them, or say how long a list is.")
    if mode != Mode.LISTS and design.lists is not None:
        raise StudyRefused("Lists are given, but trials are not given out by lists.")
    if mode == Mode.LISTS and conditions == Conditions.BETWEEN:
        raise StudyRefused("Fixed lists say who meets which condition: let conditions be met within people.")
    if mode == Mode.LISTS and design.trials_per_person is not None:
        raise StudyRefused("With fixed lists the list says how many trials a person answers.")
    if design.block_by not in BLOCKS:
        raise StudyRefused(f"Blocks are made by {', '.join(BLOCKS)}.")
    once = conditions == Conditions.WITHIN if design.image_once is None else design.image_once
    if once and conditions != Conditions.WITHIN:
        raise StudyRefused("“Each image once a person” concerns conditions that are met within people.")
    return Design(
        conditions, mode, k, design.trials_per_person, once, design.block_by, design.rotate_blocks, design.lists
    )


def conditions_of(
    kind: Kind, design: Design, sets: Sequence[ExplanationSet], groups: Sequence[Group] | None
) -> list[Group]:
    if groups is not None:
        given = list(groups)
    elif design.conditions == Conditions.TOGETHER or not sets:
        given = [Group("", tuple(sets))]
    else:
        each = max(kind.maps_at_least, 1)
        if len(sets) % each:
            raise StudyRefused(f"Each condition shows {each} sets of maps; {len(sets)} cannot be dealt out evenly.")
        given = [Group("", tuple(sets[start : start + each])) for start in range(0, len(sets), each)]
    if design.conditions == Conditions.TOGETHER:
        if len(given) > 1:
            raise StudyRefused("Where everything stands in one trial there is one condition only.")
        return [replace(given[0], name="")]
    return _named(given)


def _named(groups: Sequence[Group]) -> list[Group]:
    """Every condition with a name of its own."""
    singles = [group.sets[0] for group in groups if len(group.sets) == 1]
    plain = dict(zip((item.pk for item in singles), condition_names(singles), strict=True))
    named: list[Group] = []
    for number, group in enumerate(groups, 1):
        name = group.name.strip()
        if not name:
            if not group.sets:
                name = "people alone" if group.alone else "no explanation"
            elif len(group.sets) == 1:
                name = plain[group.sets[0].pk]
            else:
                name = f"{group.sets[0].method} {number}"
        if len(name) > 80:
            raise StudyRefused(f"The name of a condition has at most 80 characters: “{name[:40]}…”.")
        if name in {other.name for other in named}:
            raise StudyRefused(f"Two conditions are called “{name}”.")
        named.append(replace(group, name=name))
    return named


def check_sets(kind: Kind, design: Design, groups: Sequence[Group], settings: Mapping[str, Any]) -> None:
    if design.conditions != Conditions.TOGETHER and len(groups) < 2 and design.conditions == Conditions.BETWEEN:
        raise StudyRefused("Between people there are at least two conditions.")
    for group in groups:
        if not group.sets and kind.maps_at_least == 0:
            if design.conditions != Conditions.TOGETHER and not kind.none_condition:
                raise StudyRefused(f"“{kind.title}” has no condition without an explanation.")
            continue
        if len(group.sets) < kind.maps_at_least:
            raise (
                StudyRefused("Choose at least one set of maps: without maps there is nothing to rate.")
                if (kind.maps_at_least == 1)
                else StudyRefused(
                    f"A trial shows {kind.maps_at_least} sets of maps; choose so many for each condition."
                )
            )
        if len(group.sets) > kind.maps_at_most:
            raise StudyRefused(
                f"At most {kind.maps_at_most} sets of maps fit on one screen; {len(group.sets)} were chosen."
            )
        if len({item.pk for item in group.sets}) < len(group.sets):
            raise StudyRefused("The same set of maps was chosen twice.")
    if settings.get("shown_class") == "predicted" and not sets_of(groups):
        raise StudyRefused("To show what a model says, choose the set of maps of that model.")
    kind.check_sets(groups, settings)


def sets_of(groups: Sequence[Group]) -> list[ExplanationSet]:
    return list({item.pk: item for group in groups for item in group.needs}.values())
