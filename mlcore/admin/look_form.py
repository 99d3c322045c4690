"""The form of a short question: which class, which method, its options, and a picture of an image set to pick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.paginator import Page, Paginator
from django.http import QueryDict

from harmony.inputs import Input, from_field, values
from harmony.researcher import owned
from mlcore.catalogue import METHODS
from mlcore.catalogue.quick import quick_methods
from mlcore.models import Classifier, Image, ImageSet, Inquiry
from mlcore.runs.questions import DEFAULT_METHOD, option_fields

PER_PAGE = 12
OFFERED_SETS = 200
OFFERED_CLASSES = 3000  # more names than that make a page heavy; a class can still be typed
PREFIX = "option."


class QuestionForm:
    """A form about one picture: what a person chose, and the options of the way that was chosen."""

    options: list[Input]
    errors: Mapping[str, str]
    shown: tuple[str, ...]  # fields that show a sentence of their own

    @property
    def changed(self) -> int:
        """How many options differ from their defaults."""
        return sum(option.changed for option in self.options)

    @property
    def has_option_errors(self) -> bool:
        return any(option.error for option in self.options)

    @property
    def general_error(self) -> str:
        """The sentence that belongs to no field of the form."""
        known = {*self.shown, *(option.name.removeprefix(PREFIX) for option in self.options)}
        return " ".join(sentence for name, sentence in self.errors.items() if name not in known)


@dataclass
class LookForm(QuestionForm):
    """What was chosen, and what there is to choose from: methods are groups of (value, title)."""

    label: str
    method: str
    methods: list[tuple[str, list[tuple[str, str]]]]
    options: list[Input]
    classes: list[str]
    errors: Mapping[str, str] = field(default_factory=dict)
    shown = ("label", "method", "picture")


@dataclass
class Picker:
    """Pictures of one image set, a page at a time."""

    sets: list[ImageSet]
    chosen: ImageSet | None
    find: str
    page: Page | None


def given_options(data: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were typed for the chosen method; those of the method before are left behind."""
    method = str(data.get("method", ""))
    if data.get("options_of") != method:
        return {}
    return values(option_fields(method), data, PREFIX)


def build(classifier: Classifier, data: Mapping[str, Any], errors: Mapping[str, str] | None = None) -> LookForm:
    """The form as it was sent; of nothing, the usual question."""
    typed = {f"{PREFIX}{name}": value for name, value in given_options(data).items()}
    groups = _methods(classifier)
    offered = [value for _, group in groups for value, _ in group]
    # As `default_method` chooses, without asking the database again.
    method = str(data.get("method") or next((value for value in offered if value.startswith("tame:")), DEFAULT_METHOD))
    if method not in offered:  # "tame" is the newest of the modules
        method = next((value for value in offered if value.partition(":")[0] == method), method)
    options = [from_field(each, typed, errors or {}, prefix=PREFIX) for each in option_fields(method)]
    for option in options:
        if option.name == f"{PREFIX}layer":
            option.suggestions = tuple(_layer_names(classifier))
    return LookForm(
        label=str(data.get("label", "")),
        method=method,
        methods=groups,
        options=options,
        classes=list(classifier.classes[:OFFERED_CLASSES]),
        errors=errors or {},
    )


def from_inquiry(inquiry: Inquiry) -> dict[str, Any]:
    """The form's data that asks the same again."""
    asked = inquiry.question
    label = asked["label"]
    names = inquiry.classifier.classes
    named = "" if label is None else names[label] if names.count(names[label]) == 1 else str(label)
    options = {f"{PREFIX}{name}": value for name, value in asked["options"].items()}
    return {"method": asked["method"], "options_of": asked["method"], "label": named} | options


def picker(user: Any, usual: ImageSet | None, query: QueryDict) -> Picker:
    """Pictures to choose one from: those of the set in the address, else of the usual one."""
    sets = list(owned(ImageSet.objects.all(), user)[:OFFERED_SETS])
    wanted = query.get("image_set", str(usual.pk) if usual else "")
    chosen = next((one for one in sets if str(one.pk) == wanted), sets[0] if sets else None)
    find = query.get("find", "").strip()
    if chosen is None:
        return Picker(sets, None, find, None)
    images = Image.objects.filter(image_set=chosen).exclude(file="").order_by("pk")
    if find:
        images = images.filter(name__icontains=find)
    return Picker(sets, chosen, find, Paginator(images, PER_PAGE).get_page(query.get("page")))


def _methods(classifier: Classifier) -> list[tuple[str, list[tuple[str, str]]]]:
    plain = [(name, spec) for name, spec in quick_methods().items() if "attention" not in spec.needs]
    modules = [
        (f"{one.kind}:{one.uuid}", f"{METHODS[one.kind].title}: {one.name}")
        for one in classifier.attention_modules.order_by("-created", "-pk")
        if one.kind in METHODS
    ]
    groups = [
        ("Trained attention", modules),
        ("Methods", [(name, spec.title) for name, spec in plain if not spec.baseline]),
        ("Baselines", [(name, spec.title) for name, spec in plain if spec.baseline]),
    ]
    return [group for group in groups if group[1]]


def _layer_names(classifier: Classifier) -> list[str]:
    return [str(row.get("name", "")) for row in classifier.layers or []]
