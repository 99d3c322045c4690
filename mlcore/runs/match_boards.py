"""Boards of comparisons (mlcore.exchange.match_board): of a stored explanation, or of what a short question found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlcore.exchange import render
from mlcore.exchange.match_board import Board, Said, Seen, beside, images_of, listed, seen
from mlcore.exchange.match_marks import class_name, readable
from mlcore.models import Explanation, Image, ImageLabel, Inquiry, Prediction
from mlcore.models.images import LABEL_SOURCE
from mlcore.runs.correspond_names import same_classes
from mlcore.runs.correspond_sets import classes_said
from mlcore.runs.inquiries import picture_of

NEAREST = "knn"


def board_of(explanation: Explanation, *, most: int | None = None) -> Board:
    """The explanation, below the nearest neighbours of the same image where the same run, or the same classifier,
    left some. most: neighbours that are shown, by default all.

    Raises ValueError for a map, which has no neighbours.
    """
    if explanation.payload == Explanation.Payload.MAP:
        raise ValueError("This explanation is a map; only neighbours and matched patches are drawn so.")
    told = [one for one in (nearest_of(explanation), explanation) if one is not None]
    pictures = images_of(item["image"] for one in told for item in listed(one, most))
    image = explanation.image
    truth = right_answers(image)
    return Board(
        seen(image),
        [class_name(image.image_set.classes, index) for index in truth],
        [_said(one, pictures, truth, most) for one in told],
    )


def nearest_of(explanation: Explanation) -> Explanation | None:
    """The nearest neighbours of the same image that re-ranking began with: of the same run, else of the same classifier
    and layer; None where there are none, or the explanation is itself of nearest neighbours."""
    made = explanation.set
    if made.method == NEAREST or explanation.payload == Explanation.Payload.NEIGHBOURS:
        return None
    found = (
        Explanation.objects.filter(
            image=explanation.image_id, payload=Explanation.Payload.NEIGHBOURS, set__method=NEAREST,
            set__classifier=made.classifier_id, set__owner=made.owner_id,
        )
        .select_related("set__classifier", "set__image_set", "image__image_set")
        .order_by("-set__created", "-pk")
    )  # fmt: skip
    return found.filter(set__runs__in=made.runs.all()).first() or found.filter(set__layer=made.layer).first()


def right_answers(image: Image) -> list[int]:
    """The classes that an import gave the image, else what anybody said of it; of its image set's classes."""
    labels = list(ImageLabel.objects.filter(image=image).order_by("pk").values_list("source", "index"))
    imported = [index for source, index in labels if source == LABEL_SOURCE]
    return sorted(set(imported or [index for _, index in labels]))


def board_of_inquiry(asked: Inquiry, image: Image | None) -> Board:
    """What an answered question of the kind “match” shows. image: the one of an image set that was asked about, where
    it is known what it shows."""
    found = asked.answer
    pictures = images_of(item["image"] for way in found["ways"] for item in way["neighbours"])
    truth = right_answers(image) if image else []
    shown = image.image_set.classes if image else []
    return Board(
        seen_of(asked),
        [class_name(shown, index) for index in truth],
        [
            Said(
                method=way["method"],
                label=way["label"],
                words=readable(way["name"]),
                confidence=way["confidence"],
                neighbours=beside(way["neighbours"], pictures),
                right=_is_right(0, [way["name"]], truth, shown),
                votes=found["votes"],
                key=place,
            )
            for place, way in enumerate(found["ways"])
        ],
    )


def seen_of(asked: Inquiry) -> Seen:
    """The picture that a question is about."""
    shown = picture_of(asked)
    image = Image(file=shown.file, width=shown.width, height=shown.height, name=shown.name)
    return Seen(shown.name, (shown.width, shown.height), lambda side: render.enlarged(image, side))


def _said(explanation: Explanation, pictures: Mapping[str, Image], truth: Sequence[int], most: int | None) -> Said:
    made = explanation.set
    classes = classes_said(made)
    votes = (made.options or {}).get("votes")
    return Said(
        method=made.method,
        label=explanation.target,
        words=class_name(classes, explanation.target),
        confidence=_confidence(explanation),
        neighbours=beside(listed(explanation, most), pictures),
        right=_is_right(explanation.target, classes, truth, explanation.image.image_set.classes),
        votes=votes if isinstance(votes, int) and votes > 0 else None,
        key=explanation.pk,
    )


def _is_right(label: int | None, classes: Sequence[str], truth: Sequence[int], shown: Sequence[str]) -> bool | None:
    """Whether the class that was said is among the right answers, which are of other classes of the same names; None
    where nobody said what the picture shows."""
    if not truth:
        return None
    # Two lists of classes may number the same name differently.
    places = same_classes(shown, classes)
    return label in [places[index] for index in truth if index < len(places)]


def _confidence(explanation: Explanation) -> float | None:
    """The share of votes where the row tells it; else the prediction of the same class, which an import left."""
    told: Any = explanation.data.get("confidence")
    if told is not None:
        return float(told)
    found = Prediction.objects.filter(
        classifier=explanation.set.classifier_id, image=explanation.image_id, label=explanation.target
    )
    return found.values_list("confidence", flat=True).first()
