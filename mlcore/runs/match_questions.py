"""Short questions that compare a picture with a gallery, as the answering process wants them: checked here first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.db.models import QuerySet

from mlcore.catalogue.correspond import correspond_fields
from mlcore.catalogue.fields import Field
from mlcore.catalogue.matchers import MATCHERS, NETWORK
from mlcore.models import Classifier, CorrespondenceNetwork, FeatureGallery, Image
from mlcore.models.images import LABEL_SOURCE
from mlcore.runs.correspond_images import answers_of
from mlcore.runs.correspond_networks import file_of, network_for
from mlcore.runs.galleries import folder_for, is_there
from mlcore.runs.questions import QuestionRefused, built, differing, weights_of

DEFAULT_MATCHER = "emd_corr"
_OF_A_RUN = ("candidates", "votes", "ties", "neighbours")
SETTINGS = tuple(field for field in correspond_fields() if field.name in _OF_A_RUN)
MOST_CELLS = 128 * 128
Cells = Sequence[Sequence[int]]


def option_fields(matcher: str) -> tuple[Field, ...]:
    """What a person may set: the matcher's own options, and how candidates vote."""
    spec = MATCHERS.get(matcher)
    return (*spec.fields, *SETTINGS) if spec else SETTINGS


def galleries_of(classifier: Classifier) -> QuerySet[FeatureGallery]:
    """What a picture can be compared with: image sets whose features this classifier has given, the newest first."""
    return (
        FeatureGallery.objects.filter(classifier=classifier, images__gt=1)
        .select_related("image_set")
        .order_by("-updated", "-pk")
    )


def folder_of(gallery: FeatureGallery) -> Path:
    """Where its features lie. Raises QuestionRefused where they do not any more."""
    if not is_there(gallery):
        raise QuestionRefused(
            {"gallery": f"The features of “{gallery.image_set}” are not on the disk any more: build the gallery again."}
        )
    return folder_for(gallery)


def chosen(
    classifier: Classifier,
    gallery: FeatureGallery | None,
    *,
    matcher: str,
    options: Mapping[str, Any],
    marked: Cells | None = None,
) -> dict[str, Any]:
    """What an inquiry keeps of the question: names and numbers alone. Raises QuestionRefused at the fields.

    marked: (row, column) of the cells that count, of the gallery's grid; none: all of them.
    """
    errors: dict[str, str] = {}
    kept: dict[str, Any] = {"matcher": matcher, "options": {}, "gallery": "", "marked": None}
    if gallery is None or gallery.classifier_id != classifier.pk:
        errors["gallery"] = "Choose the images to compare with."
    else:
        kept["gallery"] = str(gallery.uuid)
        kept["as_of"] = gallery.updated.isoformat()  # of other images the same question has another answer
        try:
            folder_of(gallery)
        except QuestionRefused as refused:
            errors |= refused.errors
    if matcher not in MATCHERS:
        raise QuestionRefused(errors | {"matcher": f"There is no way “{matcher}”; there are {', '.join(MATCHERS)}."})
    try:
        kept["options"] = differing(option_fields(matcher), options)
        if NETWORK in MATCHERS[matcher].needs:  # the newest one of today, also where there is a newer one tomorrow
            kept["options"][NETWORK] = str(_network(classifier, matcher, kept["options"]).uuid)
    except QuestionRefused as refused:
        errors |= refused.errors
    if marked:
        if not MATCHERS[matcher].takes_marks:
            those = " and ".join(spec.title for spec in MATCHERS.values() if spec.takes_marks)
            errors["marked"] = f"{MATCHERS[matcher].title} cannot use marked parts; {those} can."
        elif len(marked) > MOST_CELLS:
            errors["marked"] = "These are more cells than any picture has."
        kept["marked"] = sorted([int(row), int(column)] for row, column in {tuple(cell) for cell in marked})
    if errors or gallery is None:
        raise QuestionRefused(errors)
    check(classifier, gallery, kept)
    return kept


def match_question(classifier: Classifier, picture: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """The question that `chosen` kept, about the picture file. told: also the picture's "sha256", where it is known.

    Raises QuestionRefused as `check`.
    """
    gallery = FeatureGallery.objects.select_related("image_set").filter(uuid=told["gallery"]).first()
    if gallery is None:
        raise QuestionRefused({"gallery": "This gallery was deleted. Choose another one."})
    asked = check(classifier, gallery, told)
    alike = Image.objects.filter(image_set=gallery.image_set, sha256=told.get("sha256", "")).order_by("pk")
    itself = alike.values_list("uuid", flat=True).first()
    return asked | {
        "picture": picture,
        "gallery": asked["gallery"] | {"images": _voters(gallery)},
        "own": str(itself) if itself else None,
        "marked": told.get("marked"),
    }


def check(classifier: Classifier, gallery: FeatureGallery, told: Mapping[str, Any]) -> dict[str, Any]:
    """The question without picture and images. Raises QuestionRefused where features, network or weights are gone, or
    those of a second layer are not built."""
    matcher = told["matcher"]
    usual = {field.name: field.default for field in option_fields(matcher)} | dict(told["options"])
    own = {field.name: usual[field.name] for field in MATCHERS[matcher].fields if usual[field.name] not in ("", None)}
    middle: dict[str, Any] = {}
    if NETWORK in MATCHERS[matcher].needs:
        network = _network(classifier, matcher, told["options"])
        own[NETWORK] = _file_of(network)
        middle = {"middle": _second(gallery, network)}
    return {
        "kind": "match",
        "classifier": built(classifier) | {"weights": weights_of(classifier)},
        "transform": gallery.transform,
        "matcher": matcher,
        "options": own,
        "gallery": {"folder": str(folder_of(gallery)), "layer": gallery.layer},
        **{name: usual[name] for name in _OF_A_RUN},
        **middle,
    }


def _voters(gallery: FeatureGallery) -> dict[str, list[Any]]:
    """Every image of the gallery that has one label, which is its vote; and its file where its size is asked for."""
    images = Image.objects.filter(image_set=gallery.image_set)
    answers = answers_of(images, LABEL_SOURCE)
    # A picture that is squashed is seen whole, whatever its size.
    whole = gallery.transform.get("resize") == "squash"
    storage = Image._meta.get_field("file").storage  # type: ignore[union-attr]
    return {
        str(uuid): [answers[pk][0], "" if whole or not file else storage.path(file)]
        for pk, uuid, file in images.values_list("pk", "uuid", "file")
        if len(answers.get(pk, ())) == 1
    }


def _network(classifier: Classifier, matcher: str, options: Mapping[str, Any]) -> CorrespondenceNetwork:
    given = str(options.get(NETWORK) or "")
    try:
        return network_for(classifier, matcher, given)
    except ValueError as error:
        raise QuestionRefused({NETWORK if given else "matcher": str(error)}) from error


def _file_of(network: CorrespondenceNetwork) -> str:
    try:
        return str(file_of(network))
    except ValueError as error:
        raise QuestionRefused({NETWORK: str(error)}) from error


def _second(gallery: FeatureGallery, network: CorrespondenceNetwork) -> dict[str, str]:
    """The same images by the layer that the network reads."""
    same = FeatureGallery.objects.select_related("image_set").filter(
        classifier=gallery.classifier_id, image_set=gallery.image_set_id, layer=network.layer, images__gt=1
    )
    found = next((one for one in same if one.transform == gallery.transform), None)
    if found is None:
        raise QuestionRefused(
            {
                "matcher": f"“{network}” reads the layer {network.layer}, whose features of “{gallery.image_set}” are "
                "not there: start a classification by comparison with this matcher, which builds them."
            }
        )
    return {"folder": str(folder_of(found)), "layer": found.layer}
