"""The form of a comparison: which images to compare with, how, its options, and what is marked on the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from harmony.inputs import Input, from_field, values
from harmony.researcher import owned
from mlcore.admin.look_form import PREFIX, QuestionForm
from mlcore.catalogue.gallery_size import last_layer_of
from mlcore.catalogue.matchers import MATCHERS, NETWORK
from mlcore.models import Classifier, FeatureGallery, Inquiry
from mlcore.runs.match_questions import DEFAULT_MATCHER, galleries_of, option_fields

OFFERED = 100
MOST_DIGITS = 12
Cell = tuple[int, int]


@dataclass
class MatchForm(QuestionForm):
    """What was chosen, and what there is to choose from."""

    gallery: str
    galleries: list[tuple[str, str]]
    matcher: str
    matchers: list[tuple[str, str, str]]
    options: list[Input]
    takes_marks: bool
    errors: Mapping[str, str] = field(default_factory=dict)
    shown = ("gallery", "matcher", "picture", "marked")


def offered(classifier: Classifier, user: Any) -> list[FeatureGallery]:
    """Galleries whose images this person may see; those of the layer that is usually compared first."""
    found = list(owned(galleries_of(classifier), user, "image_set__owner")[:OFFERED])
    usual = _usual_layer(classifier)
    return sorted(found, key=lambda one: one.layer != usual)


def build(
    classifier: Classifier, user: Any, data: Mapping[str, Any], errors: Mapping[str, str] | None = None
) -> MatchForm:
    """The form as it was sent; of nothing, the usual question."""
    there = offered(classifier, user)
    usual = _usual_layer(classifier)
    matcher = str(data.get("matcher") or DEFAULT_MATCHER)
    typed = {f"{PREFIX}{name}": value for name, value in given_options(data).items()}
    options = [from_field(each, typed, errors or {}, prefix=PREFIX) for each in option_fields(matcher)]
    for option in options:
        if option.name == f"{PREFIX}{NETWORK}":
            known = classifier.correspondence_networks.values_list("uuid", flat=True)[:OFFERED]
            option.suggestions = tuple(str(uuid) for uuid in known)
    return MatchForm(
        gallery=str(data.get("gallery") or (there[0].pk if there else "")),
        galleries=[
            (str(one.pk), f"{one.image_set} ({one.images} images{'' if one.layer == usual else f', {one.layer}'})")
            for one in there
        ],
        matcher=matcher,
        matchers=[(spec.name, spec.title, spec.summary) for spec in MATCHERS.values()],
        options=options,
        takes_marks=matcher in MATCHERS and MATCHERS[matcher].takes_marks,
        errors=errors or {},
    )


def given_options(data: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were typed for the chosen matcher; those of the one before are left behind."""
    matcher = str(data.get("matcher", ""))
    if data.get("options_of") != matcher:
        return {}
    return values(option_fields(matcher), data, PREFIX)


def given_gallery(classifier: Classifier, user: Any, data: Mapping[str, Any]) -> FeatureGallery | None:
    wanted = str(data.get("gallery", ""))
    return next((one for one in offered(classifier, user) if str(one.pk) == wanted), None)


def given_cells(data: QueryDict) -> list[Cell]:
    """The cells that are ticked, each “row-column”; anything else is passed over.

    None where the chosen matcher looks at all cells, or another gallery, whose grid may be another, was chosen since.
    """
    spec = MATCHERS.get(data.get("matcher", ""))
    if spec is None or not spec.takes_marks or data.get("cells_of") != data.get("gallery"):
        return []
    found = []
    for text in data.getlist("cell"):
        row, dash, column = text.partition("-")
        if dash and all(part.isdecimal() and len(part) <= MOST_DIGITS for part in (row, column)):
            found.append((int(row), int(column)))
    return found


def from_inquiry(asked: Inquiry) -> dict[str, Any]:
    """The form's data that asks the same again."""
    told = asked.question
    gallery = FeatureGallery.objects.filter(uuid=told["gallery"]).values_list("pk", flat=True).first()
    options = {f"{PREFIX}{name}": value for name, value in told["options"].items()}
    return {"gallery": gallery or "", "matcher": told["matcher"], "options_of": told["matcher"]} | options


def grid(size: Sequence[int], marked: Sequence[Sequence[int]] | None) -> list[list[dict[str, Any]]]:
    """Rows of cells as the page draws them, each with its name, its words and whether it is marked."""
    on = {(row, column) for row, column in marked or ()}
    return [
        [
            {"value": f"{row}-{column}", "words": f"Row {row + 1}, column {column + 1}", "on": (row, column) in on}
            for column in range(size[1])
        ]
        for row in range(size[0])
    ]


def _usual_layer(classifier: Classifier) -> str:
    try:
        return last_layer_of(classifier.architecture)
    except ValueError:
        return ""
