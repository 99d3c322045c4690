"""Which images and explanations a study shows, under which conditions, and who is given what: from what was typed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from django.db.models import Count, QuerySet

from annotation.admin import builder_team as teams
from annotation.admin.builder_names import NO, YES, Values, cleaned, put_rows, rows
from annotation.lists import ListPlan
from annotation.models import Study
from annotation.models.studies import Phase
from annotation.sample_size import Design
from annotation.studies import KINDS, Kind
from annotation.studies.trials import Group
from annotation.trial_tables import TableInvalid, lists_of
from harmony.researcher import owned
from mlcore.catalogue.fields import Field
from mlcore.models import Explanation, ExplanationSet, Image, ImageSet, Partition
from mlcore.models.partitions import Part

ALL, SAME = "all", "same"
NONE = teams.NONE  # the condition without an explanation
MOST_GROUPS, MOST_OFFERED = 12, 60
BLOCKS = (("none", "no blocks"), ("class", "by class"), ("condition", "by condition"))
MODES = {
    "k": "so many people a trial",
    "everyone": "everyone, every trial",
    "lists": "fixed lists of trials",
}
DESIGN = (
    Field("image_once", "Nobody meets an image in a second condition", "bool", True),
    Field("k", "Answers for each trial", "text", "3", "Exactly so many people answer each one."),
    Field("trials_per_person", "Trials for each person", "text", "", "Main trials; empty: as many as there are."),
    Field("lists_how", "Lists", "choice", "make", choices=(("make", "make them"), ("table", "from a table"))),
    Field("lists_size", "Trials in a list", "text", "20", "About so many: the last ones of a round share the rest."),
    Field("lists_times", "Lists that a trial is in", "text", "1"),
    Field(
        "lists_table", "Table of lists (CSV)", "long", "",
        "Columns list, image, and if needed condition and position; images by their names in the set.",
    ),
    Field("block_by", "Blocks", "choice", "none", "Trials of one block stay together.", choices=BLOCKS),
    Field("rotate_blocks", "Each person begins with the next block", "bool", False),
    Field("seed", "Seed", "int", 0, "The same seed gives the same order.", 0, 2_147_483_647),
)  # fmt: skip
FRESH: dict[str, Values] = {"groups": {"name": "", "sets.0": "", "sets.1": ""}}


@dataclass(frozen=True)
class Choice:
    """Images that a study may be about: all that are explained, or those in one part of a partition."""

    value: str
    label: str
    n: int


@dataclass(frozen=True)
class GroupRow:
    """A condition as the form shows it: its name, and a set of maps (or none, or nothing chosen) for each place."""

    number: int
    name: str
    chosen: list[str]
    error: str = ""


@dataclass
class Structure:
    """What the first half of the builder shows and what `create_study` takes from it."""

    kind: Kind
    image_set: ImageSet
    offered: list[ExplanationSet]
    conditions: str
    groups: list[GroupRow]
    sets: list[ExplanationSet]
    choices: list[Choice]
    which: str
    most: str
    mode: str
    values: Mapping[str, str]
    errors: dict[str, str] = field(default_factory=dict)
    study: Study | None = None

    @property
    def together(self) -> bool:
        return self.conditions == Study.Conditions.TOGETHER

    @property
    def places(self) -> range:
        """Places for a set of maps in each group of the form."""
        fewest = max(self.kind.maps_at_least, 1)
        return range(self.kind.maps_at_most if self.together or fewest > 1 else min(fewest, self.kind.maps_at_most))

    @cached_property
    def options(self) -> list[teams.Option]:
        """What a condition can be beside a set of maps."""
        return teams.options(self.offered) if self.kind.alone_condition else []

    @cached_property
    def balanced(self) -> teams.Chosen | None:
        """The images that are chosen so that the AI is as often right as wrong; None where nothing is balanced."""
        if not self.kind.alone_condition:
            return None
        groups = self.chosen_groups()
        candidates = list(self.candidates().select_related("image_set"))
        return teams.chosen_images(groups, candidates, self.values, self.most, self.study is None)

    @property
    def n_images(self) -> int:
        if self.balanced is not None:
            return min(len(mine) for mine in self.balanced.parts[str(Phase.MAIN)])
        found = next((choice.n for choice in self.choices if choice.value == self.which), 0)
        return min(found, int(self.most)) if self.most.isdigit() and int(self.most) else found

    @property
    def design(self) -> Design:
        """What the sample-size helper needs."""
        k, each = self.values.get("k", "3").strip(), self.values.get("trials_per_person", "").strip()
        if self.mode == Study.Mode.LISTS:
            size, times = self.values.get("lists_size", "20"), self.values.get("lists_times", "1")
            k, each = (times, size) if self.values.get("lists_how", "make") == "make" else ("1", "")
        return Design(
            images=self.n_images,
            groups=max(len(self.chosen_groups()), 1),
            conditions=self.conditions,
            answers_per_trial=int(k) if k.isdigit() and self.mode != Study.Mode.EVERYONE else 1,
            trials_per_person=int(each) if each.isdigit() and int(each) else None,
            image_once=self.conditions == Study.Conditions.WITHIN and self.values.get("image_once", YES) == YES,
        )

    def chosen_groups(self) -> list[Group]:
        """The groups that something was chosen for, in order; together there is one without a name."""
        by_pk = {str(row.pk): row for row in self.offered}
        found = []
        for row in self.groups:
            if not any(row.chosen):
                continue
            group = teams.group_of("", row.chosen, by_pk)
            name = "" if self.together else row.name.strip() or _default_name(group)
            found.append(replace(group, name=name))
        return found

    def candidates(self) -> QuerySet[Image]:
        """The images that may be shown, in the order of their rows."""
        images = _explained(self.image_set, self.sets)
        if self.which == SAME and self.study is not None:
            images = images.filter(pk__in=self.study.trials.filter(phase=Phase.MAIN).values("image"))
        elif self.which != ALL:
            partition, part = self.which.split(":", 1)
            images = images.filter(memberships__partition=int(partition), memberships__part=part)
        if self.kind.alone_condition and self.study is not None:
            # Training and validation show images of their own.
            images = images.exclude(pk__in=self.study.trials.exclude(phase=Phase.MAIN).values("image"))
        return images.order_by("pk")

    def images(self) -> QuerySet[Image] | list[Image]:
        """The chosen images in the order of their rows; fewer than all are drawn evenly over that order."""
        images = self.candidates()
        most = int(self.most) if self.most.isdigit() else 0
        if not most:
            return images
        found = list(images)
        if most >= len(found):
            return found
        # Rows come class by class, so the first ones alone would show one class only.
        return [found[place * len(found) // most] for place in range(most)]

    def arguments(self) -> dict[str, Any]:
        """What `create_study` is called with; what is wrong goes into `errors` under the control's name."""
        typed = cleaned(DESIGN, self.values, self.errors)
        if self.most and not self.most.isdigit():
            self.errors["most"] = "A whole number from 1, or empty for all of them."
        groups = self._checked_groups()
        images, groups = self._balance(groups)
        arguments: dict[str, Any] = {
            "kind": self.kind.name,
            "image_set": self.image_set,
            "images": images,
            "conditions": self.conditions,
            "mode": self.mode,
            "answers_per_trial": None,
            "trials_per_person": _count(typed["trials_per_person"], "trials_per_person", self.errors, empty=True),
            "block_by": typed["block_by"],
            "rotate_blocks": typed["rotate_blocks"],
            "seed": typed["seed"],
        }
        if self.together:
            arguments["explanation_sets"] = list(groups[0].sets) if groups else []
        else:
            arguments["groups"] = groups
        if self.conditions == Study.Conditions.WITHIN:
            arguments["image_once"] = typed["image_once"]
        if self.mode == Study.Mode.K:
            arguments["answers_per_trial"] = _count(typed["k"], "k", self.errors)
        if self.mode == Study.Mode.LISTS:
            arguments["trials_per_person"] = None
            arguments["lists"] = self._lists(list(images), typed)
        return arguments

    def _balance(self, groups: list[Group]) -> tuple[QuerySet[Image] | list[Image], list[Group]]:
        """The images of all, and the conditions with their own where they cannot show the same."""
        if self.kind.alone_condition:
            cleaned(teams.DESIGN, self.values, self.errors)
        if self.balanced is None or "groups" in self.errors:
            return self.images(), groups
        lists = self.balanced.parts[str(Phase.MAIN)]
        if not all(lists):
            self.errors["balance"] = (
                "These images cannot be balanced: the AI of a condition gets none of them right, or none wrong. "
                "Choose others, or take them as they come."
            )
        found = Image.objects.select_related("image_set").in_bulk({pk for mine in lists for pk in mine})
        if len({frozenset(mine) for mine in lists}) == 1:
            about = {"balanced": True}
            return [found[pk] for pk in sorted(lists[0])], [replace(group, about=about) for group in groups]
        return [], [
            replace(group, images=tuple(found[pk] for pk in sorted(mine)), about={"balanced": True})
            for group, mine in zip(groups, lists, strict=True)
        ]

    def _lists(self, images: list[Image], typed: Mapping[str, Any]) -> ListPlan | None:
        if typed["lists_how"] == "table":
            try:
                return ListPlan(given=lists_of(typed["lists_table"], images))
            except TableInvalid as refused:
                self.errors["lists_table"] = refused.sentence
                return None
        length = _count(typed["lists_size"], "lists_size", self.errors)
        repeats = _count(typed["lists_times"], "lists_times", self.errors)
        return ListPlan(length=length, repeats=repeats) if length and repeats else None

    def _checked_groups(self) -> list[Group]:
        groups = self.chosen_groups()
        names = [group.name for group in groups]
        if not self.together and not groups:
            self.errors["groups"] = "Choose maps for at least one condition."
        elif self.conditions == Study.Conditions.BETWEEN and len(groups) < 2:
            self.errors["groups"] = "Between people there are at least two conditions; choose maps for another one."
        for row in self.groups:
            name = row.name.strip()
            if name and names.count(name) > 1:
                self.errors[f"groups.{row.number}.name"] = f"Two groups are called “{name}”."
            if len(name) > 80:
                self.errors[f"groups.{row.number}.name"] = "At most 80 characters."
        return groups


def build(
    user: Any, values: Values, explanations: Sequence[str], errors: dict[str, str], study: Study | None = None
) -> Structure | None:
    """The form's first half for these values; None where no image set that this person may see was chosen."""
    seen = owned(ExplanationSet.objects.select_related("classifier", "image_set"), user)
    wanted = _wanted(values, explanations)
    found = seen.in_bulk(wanted)
    image_set = next((found[pk].image_set for pk in wanted if pk in found), None) if study is None else study.image_set
    if image_set is None and values.get("image_set", "").isdigit():
        image_set = owned(ImageSet.objects.all(), user).filter(pk=int(values["image_set"])).first()
    if image_set is None:
        return None
    by_default = "reasonability" if found else "map_drawing"
    kind = KINDS.get(values.get("kind", ""), KINDS[by_default])
    offered = [found[pk] for pk in dict.fromkeys(wanted) if pk in found and found[pk].image_set_id == image_set.pk]
    others = seen.filter(image_set=image_set).exclude(pk__in=[row.pk for row in offered])[:MOST_OFFERED]
    offered += list(others)
    conditions = values.get("conditions", "")
    if conditions not in kind.condition_modes:
        conditions = kind.condition_modes[0]
    mode = values.get("mode", "")
    if mode not in MODES:
        mode = "everyone" if "k" in values and not values["k"].strip() else "k"
    made = Structure(
        kind=kind, image_set=image_set, offered=offered, conditions=conditions, groups=[], sets=[], choices=[],
        which="", most=values.get("most", "").strip(), mode=mode, values=values, errors=errors,
        study=study,
    )  # fmt: skip
    made.groups = _group_rows(made, values, explanations, errors)
    chosen = [set_ for group in made.chosen_groups() for set_ in group.needs]
    made.sets = list({row.pk: row for row in chosen}.values())
    made.choices = _choices(image_set, made.sets)
    if study is not None:
        made.choices.insert(0, Choice(SAME, "The images that it has now", _images_now(study)))
    which = values.get("which", "")
    if which not in {choice.value for choice in made.choices}:
        pool = [choice.value for choice in made.choices if choice.value.endswith(f":{Part.POOL}") and choice.n]
        which = pool[0] if pool else ALL
    made.which = which
    return made


def _images_now(study: Study) -> int:
    return study.trials.filter(phase=Phase.MAIN).values("image").distinct().count()


def regroup(values: Values, explanations: list[str]) -> list[str]:
    """After another kind or other conditions were chosen: the same sets, dealt anew over the groups of the form."""
    chosen = [row.get(f"sets.{place}", "") for row in rows(values, "groups") for place in range(8)]
    flat = [pk for pk in dict.fromkeys([*explanations, *chosen]) if pk.isdigit()]
    put_rows(values, "groups", [])
    return flat


def _wanted(values: Mapping[str, str], explanations: Sequence[str]) -> list[int]:
    typed = [value for key, value in values.items() if key.startswith("groups.") and ".sets." in key]
    bare = [value.rpartition(":")[2] for value in typed]
    return [int(pk) for pk in [*explanations, *bare] if pk.isdigit() and len(pk) < 12][:100]


def _group_rows(
    made: Structure, values: Values, explanations: Sequence[str], errors: Mapping[str, str]
) -> list[GroupRow]:
    """The groups as typed; where none were, the chosen sets are dealt over as many groups as they fill."""
    places = len(made.places)
    known = {str(row.pk) for row in made.offered} | ({NONE} if made.kind.none_condition else set())
    known |= {option.value for option in made.options}
    kept = rows(values, "groups")[:MOST_GROUPS]
    found = []
    if made.together:
        flat = [pk for pk in explanations if pk in known] or [
            value for row in kept for key, value in sorted(row.items()) if key.startswith("sets.") and value in known
        ]
        return [GroupRow(0, "", list(dict.fromkeys(flat))[:places] if places else [])]
    for number, row in enumerate(kept):
        chosen = [row.get(f"sets.{place}", "") for place in range(places)]
        error = errors.get(f"groups.{number}.name", "")
        found.append(GroupRow(number, row.get("name", ""), [pk if pk in known else "" for pk in chosen], error))
    if not found and places:
        flat = [pk for pk in dict.fromkeys(explanations) if pk in known]
        dealt = [flat[start : start + places] for start in range(0, len(flat), places)]
        if made.kind.none_condition:
            dealt = [[NONE], *dealt]
        while len(dealt) < 2:
            dealt.append([])
        found = [GroupRow(n, "", part + [""] * (places - len(part))) for n, part in enumerate(dealt[:MOST_GROUPS])]
    return found


def _default_name(group: Group) -> str:
    if not group.sets:
        return teams.default_name(group)
    titles = dict.fromkeys(f"{row.classifier.name}, {teams.method_title(row)}" for row in group.sets)
    return " and ".join(titles)[:80]


def _count(text: str, name: str, errors: dict[str, str], *, empty: bool = False) -> int | None:
    text = text.strip()
    if empty and not text:
        return None
    if not text.isdigit() or not 1 <= int(text) <= 100_000:
        errors[name] = f"Choose a whole number from 1{', or leave it empty' if empty else ''}."
        return None
    return int(text)


def _explained(image_set: ImageSet, sets: Iterable[ExplanationSet]) -> QuerySet[Image]:
    """Images that every chosen set explains."""
    images = Image.objects.filter(image_set=image_set)
    for row in sets:
        images = images.filter(pk__in=Explanation.objects.filter(set=row).values("image"))
    return images


def _choices(image_set: ImageSet, sets: list[ExplanationSet]) -> list[Choice]:
    explained = _explained(image_set, sets)
    names = dict(Partition.objects.filter(image_set=image_set).values_list("pk", "name"))
    counts = (
        explained.filter(memberships__partition__in=names)
        .values_list("memberships__partition", "memberships__part")
        .annotate(n=Count("pk"))
        .order_by("-memberships__partition", "memberships__part")
    )
    titles = dict(Part.choices)
    return [Choice(ALL, "All images that have maps" if sets else "All images", explained.count())] + [
        Choice(f"{partition}:{part}", f"{titles[part].capitalize()} of “{names[partition]}”", n)
        for partition, part, n in counts
    ]


__all__ = ["DESIGN", "FRESH", "MODES", "NO", "Choice", "GroupRow", "Structure", "build", "regroup"]
