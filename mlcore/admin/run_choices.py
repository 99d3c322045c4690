"""Lists to tick on the form of a run: methods of an explain run; sets of maps and metrics of a score run.

Each line says what it is, where it comes from and what it costs; one that cannot be chosen says why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Exists, OuterRef
from django.http import QueryDict

from harmony.researcher import owned
from harmony.templatetags.researcher import method_title, set_details
from mlcore.admin.run_attention import WITHOUT
from mlcore.catalogue import METHODS, METRICS, MethodSpec, MetricSpec
from mlcore.models import Box, Explanation, ExplanationSet, HumanMapSet, ImageSet, Mask
from mlcore.runs.attention import file_behind

LISTS = ("methods", "metrics", "explanation_sets", "classifiers", "matchers")
USUAL_SETS, OFFERED_SETS = 12, 200
# An option of a method that says how often the classifier is asked.
COUNTS = ("masks", "samples", "steps")


@dataclass
class Option:
    """One line. `why`: the reason that it cannot be ticked."""

    value: str
    title: str
    summary: str
    small: str
    chosen: bool
    why: str = ""


@dataclass
class Block:
    """A list under one heading; groups are (title, options)."""

    name: str
    label: str
    groups: list[tuple[str, list[Option]]]
    error: str = ""
    empty: str = ""

    @property
    def options(self) -> list[Option]:
        return [option for _, options in self.groups for option in options]

    @property
    def sections(self) -> list[tuple[str, str, list[Option]]]:
        """(title, the reason against all of it, options): what holds for every line is said once."""
        found = []
        for title, options in self.groups:
            reasons = {option.why for option in options}
            found.append((title, reasons.pop() if len(reasons) == 1 else "", options))
        return found


@dataclass
class Judged:
    """What a score run judges and compares with, and what there is to choose from."""

    sets: list[ExplanationSet] = field(default_factory=list)
    offered: list[ExplanationSet] = field(default_factory=list)
    human_maps: HumanMapSet | None = None
    people: list[HumanMapSet] = field(default_factory=list)
    masks: bool = False


def read(query: QueryDict) -> dict[str, Any]:
    """An address or a sent form as plain values; what may be ticked several times is joined by commas."""
    data = query.dict()
    for name in LISTS:
        if name in query:
            data[name] = ",".join(value for value in query.getlist(name) if value)
    return data


def ticked(data: Mapping[str, Any], name: str) -> list[str] | None:
    """What stands in a list; None where nobody was asked yet."""
    given = data.get(name)
    if given is None:
        return None
    return [value for value in (given.split(",") if isinstance(given, str) else map(str, given)) if value]


def judged(user: Any, image_set: ImageSet | None, data: Mapping[str, Any]) -> Judged:
    """The chosen sets and people's maps, among those of these images that this person may see."""
    if image_set is None:
        return Judged()
    maps = Explanation.objects.filter(set=OuterRef("pk"), payload=Explanation.Payload.MAP)
    sets = owned(ExplanationSet.objects.filter(Exists(maps), image_set=image_set), user)
    offered = list(sets.select_related("classifier")[:OFFERED_SETS])
    wanted = ticked(data, "explanation_sets")
    chosen = offered[:USUAL_SETS] if wanted is None else [one for one in offered if str(one.pk) in wanted]
    people = list(owned(HumanMapSet.objects.filter(image_set=image_set), user)[:OFFERED_SETS])
    return Judged(
        sets=chosen,
        offered=sorted(offered, key=lambda one: (one.classifier.name, one.method, one.pk)),
        human_maps=next((one for one in people if str(one.pk) == str(data.get("human_maps") or "")), None),
        people=people,
        masks=Mask.objects.filter(image__image_set=image_set).exists()
        or Box.objects.filter(image__image_set=image_set).exists(),
    )


def methods_block(data: Mapping[str, Any], chosen: Sequence[str], error: str, attended: Collection[str] = ()) -> Block:
    """Every method of the catalogue, baselines apart. attended: those for which there is a trained attention module."""
    groups: list[tuple[str, list[Option]]] = [("", []), ("Baselines", [])]
    for spec in METHODS.values():
        groups[spec.baseline][1].append(
            Option(
                spec.name, spec.title, spec.summary, " · ".join(filter(None, (spec.reference, method_cost(spec)))),
                spec.name in chosen, WITHOUT if "attention" in spec.needs and spec.name not in attended else "",
            )
        )  # fmt: skip
    return Block("methods", "Methods", groups, error)


def sets_block(found: Judged, error: str) -> Block:
    options = [
        Option(str(one.pk), method_title(one.method), "", f"{one.classifier} · {set_details(one)}", one in found.sets)
        for one in found.offered
    ]
    return Block(
        "explanation_sets", "Maps", [("", options)], error, "No maps of these images yet. Explain a classifier first."
    )


def metrics_block(found: Judged, chosen: Sequence[str], error: str) -> Block:
    """Metrics under what they need; where that is not at hand the line says so."""
    groups: dict[str, list[Option]] = {
        "Against masks or boxes": [], "Against people's maps": [], "By asking the classifier again": [],
        "The map alone": [],
    }  # fmt: skip
    for spec in METRICS.values():
        if spec.needs:
            small = " · ".join(filter(None, (spec.reference, _better(spec), metric_cost(spec))))
            option = Option(spec.name, spec.title, spec.summary, small, spec.name in chosen, _why_not(spec, found))
            groups[_heading(spec)].append(option)
    return Block("metrics", "Metrics", [(title, options) for title, options in groups.items() if options], error)


def method_cost(spec: MethodSpec) -> str:
    """How often the classifier is asked for a picture, in words."""
    if spec.baseline:
        return "asks no classifier"
    for option in spec.fields:
        if option.name in COUNTS:
            return f"about {option.default:,} passes a picture".replace(",", " ")
    if any(option.name == "chunk" for option in spec.fields):
        return "a pass for each feature map"
    return "one pass forward and back" if spec.needs_backward else "one pass"


def metric_cost(spec: MetricSpec) -> str:
    return "asks the classifier many times a picture" if spec.costly else ""


def _better(spec: MetricSpec) -> str:
    if spec.higher_is_better is None:
        return ""
    return "↑ higher is better" if spec.higher_is_better else "↓ lower is better"


def _heading(spec: MetricSpec) -> str:
    if "person" in spec.needs:
        return "Against people's maps"
    if "mask" in spec.needs or "box" in spec.needs:
        return "Against masks or boxes"
    return "By asking the classifier again" if {"model", "method"} & set(spec.needs) else "The map alone"


def _why_not(spec: MetricSpec, found: Judged) -> str:
    if ("mask" in spec.needs or "box" in spec.needs) and not found.masks:
        return "None of these images has a mask or a box."
    if "person" in spec.needs and not found.people:
        return "There are no people's maps of these images yet: publish a study in which people draw."
    if "model" in spec.needs:
        silent = [one.classifier.name for one in found.sets if not (one.classifier.weights and one.classifier.classes)]
        if silent:
            return f"“{silent[0]}” has no weights, so it cannot be asked again."
    if "method" in spec.needs:
        gone = [one for one in found.sets if one.method not in METHODS or _without_module(one)]
        if gone:
            return f"The maps of {method_title(gone[0].method)} cannot be made again."
    return ""


def _without_module(one: ExplanationSet) -> bool:
    return "attention" in METHODS[one.method].needs and not file_behind(one)


def own_groups(names: Iterable[str], registry: Mapping[str, Any], lines: Mapping[str, Any]) -> list[tuple[str, list]]:
    """(title, lines) of each chosen method or metric that has options of its own."""
    found = []
    for name in names:
        own = [line for key, line in lines.items() if key.startswith(f"{name}.")]
        if own:
            found.append((registry[name].title, own))
    return found
