"""Explanations by comparison: the pictures that a query looks like, and which parts of both match.

What `Explanation.data` holds, by payload:

    neighbours  {"neighbours": [{"image": "<uuid>", "label": int, "score": float}, …]}
    matches     the same, and each neighbour has
                "patches": [{"query": [x0, y0, x1, y1], "neighbour": [x0, y0, x1, y1], "score": float}, …]

1 to 20 neighbours, nearest first; a greater score means more alike, so scores never rise. `label` is an index into
the classes of the image set that the neighbour's picture belongs to. At most 9 patches a neighbour; corners are
shares of the picture's width and height, 0…1 from the top left; patch i has one colour on both pictures.

A row as it comes in (a line of the JSON Lines file of `import_correspondences`) names pictures as people do:

    {"image": name or UUID, "predicted": class index or name, "confidence": 0…1 (optional),
     "neighbours": [{"image": name or UUID, "score": …, "label": index or name (optional), "patches": […]}, …]}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from mlcore.exchange.report import ImportRefused, Problem, Progress
from mlcore.models import AuditEntry, Classifier, Explanation, ExplanationSet, Image, ImageLabel, ImageSet, Prediction

FORMAT = "correspondences/1"
MOST_NEIGHBOURS, MOST_PATCHES = 20, 9
PAYLOADS = (Explanation.Payload.NEIGHBOURS.value, Explanation.Payload.MATCHES.value)
BATCH = 200
MOST_PROBLEMS = 20
MOST_SCORE = 1e12


class BadRow(ValueError):
    """One row says something that cannot be kept; the text is a sentence."""


@dataclass(frozen=True)
class _Known:
    """A picture of the set or the gallery, with the first label that an import gave it."""

    pk: int
    uuid: UUID
    label: int | None


@dataclass(frozen=True)
class _Row:
    image: int
    uuid: UUID
    target: int
    confidence: float | None
    data: dict[str, Any]


def add_correspondences(
    classifier: Classifier,
    image_set: ImageSet,
    rows: Iterable[Mapping[str, Any]],
    *,
    owner: Any,
    method: str,
    payload: str,
    options: Mapping[str, Any] | None = None,
    gallery: ImageSet | None = None,
    progress: Progress | None = None,
) -> ExplanationSet:
    """A set of neighbours or matches, one row a query image, and the predictions that the rows tell.

    gallery: the image set that the neighbours lie in, of the same owner; by default `image_set` itself.
    All rows come in or none. The same rows again give the set that is there already and write nothing.
    A row with a confidence becomes the classifier's prediction for its image; the newest replaces.

    Raises ImportRefused; its problems name the rows, counted from 1.
    """
    gallery = gallery or image_set
    _check_whole(image_set, gallery, method, payload)
    listed = list(rows)
    classes = classifier.classes or image_set.classes
    kept: list[_Row] = []
    problems: list[Problem] = []
    seen: set[int] = set()
    for start in range(0, len(listed), BATCH):
        batch = listed[start : start + BATCH]
        queries = _known(image_set, (_said(row, "image") for row in batch))
        others = _known(gallery, (_said(item, "image") for row in batch for item in _items(row)))
        for number, row in enumerate(batch, start + 1):
            try:
                kept.append(_clean(row, queries, others, classes, gallery, payload, seen))
            except BadRow as error:
                problems.append(Problem(str(error), row=number))
        if len(problems) >= MOST_PROBLEMS:
            break
        if progress:
            progress(min(start + BATCH, len(listed)), len(listed))
    if problems:
        raise ImportRefused(f"Nothing was imported: {problems[0]}", problems)
    if not kept:
        raise ImportRefused("There are no rows to import.")
    told = {"method": method.strip(), "options": dict(options or {}), "code_version": FORMAT}
    return _write(classifier, image_set, kept, owner, payload, told)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file, one a line. Raises ImportRefused naming the line."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ImportRefused(f"{Path(path).name} cannot be read as UTF-8 text ({error}).") from error
    found = []
    for number, line in enumerate(text.rstrip().split("\n"), 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise ImportRefused(f"{Path(path).name}, row {number}: the line is not a JSON object.")
        found.append(row)
    return found


def payload_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """“matches” where the first row's neighbours have patches, else “neighbours”."""
    with_patches = any(isinstance(item, Mapping) and item.get("patches") for row in rows[:1] for item in _items(row))
    return PAYLOADS[1] if with_patches else PAYLOADS[0]


# --- the set as a whole ---------------------------------------------------------------------------------------


def _check_whole(image_set: ImageSet, gallery: ImageSet, method: str, payload: str) -> None:
    if payload not in PAYLOADS:
        raise ImportRefused(f"The payload is one of {', '.join(PAYLOADS)}, not “{payload}”.")
    if not 0 < len(method.strip()) <= 60:
        raise ImportRefused("The method's name has 1 to 60 characters.")
    if gallery.owner_id != image_set.owner_id:
        raise ImportRefused(f"“{gallery}” belongs to someone else than “{image_set}”, so its pictures stay there.")


@transaction.atomic
def _write(
    classifier: Classifier, image_set: ImageSet, rows: list[_Row], owner: Any, payload: str, told: dict[str, Any]
) -> ExplanationSet:
    made, new = ExplanationSet.objects.get_or_create(
        hash=_digest(classifier, image_set, rows, payload, told),
        defaults=told
        | {
            "classifier": classifier,
            "image_set": image_set,
            "owner": owner if getattr(owner, "pk", None) else None,
            "target": ExplanationSet.Target.PREDICTED,
        },
    )
    if not new:
        return made
    Explanation.objects.bulk_create(
        (Explanation(set=made, image_id=row.image, payload=payload, data=row.data, target=row.target) for row in rows),
        batch_size=500,
    )
    Prediction.objects.bulk_create(
        (
            Prediction(classifier=classifier, image_id=row.image, label=row.target, confidence=row.confidence)
            for row in rows
            if row.confidence is not None
        ),
        batch_size=500,
        update_conflicts=True,
        unique_fields=["classifier", "image"],
        update_fields=["label", "confidence"],
    )
    AuditEntry.write(
        owner, "import_correspondences", made, after={"rows": len(rows), "payload": payload, "method": made.method}
    )
    return made


def _digest(
    classifier: Classifier, image_set: ImageSet, rows: list[_Row], payload: str, told: Mapping[str, Any]
) -> str:
    digest = hashlib.sha256()
    whole = {"classifier": str(classifier.uuid), "image_set": str(image_set.uuid), "payload": payload, **told}
    digest.update(json.dumps(whole, sort_keys=True).encode())
    for row in sorted(rows, key=lambda one: one.uuid):
        said = [str(row.uuid), row.target, row.confidence, row.data]
        digest.update(json.dumps(said, sort_keys=True).encode())
    return digest.hexdigest()


# --- one row --------------------------------------------------------------------------------------------------


def _items(row: Any) -> Iterator[Any]:
    found = row.get("neighbours") if isinstance(row, Mapping) else None
    return iter(found) if isinstance(found, list | tuple) else iter(())


def _said(row: Any, key: str) -> str:
    """What a row calls a picture, as text; empty where it says nothing."""
    value = row.get(key) if isinstance(row, Mapping) else None
    if isinstance(value, Image):
        return str(value.uuid)
    return str(value).strip() if isinstance(value, str | UUID) else ""


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _known(image_set: ImageSet, said: Iterable[str]) -> dict[str, _Known]:
    """The pictures of the set that are called so, by name and by UUID."""
    names = {text for text in said if text}
    uuids = {uuid for text in names if (uuid := _uuid(text))}
    rows = list(
        Image.objects.filter(Q(name__in=names) | Q(uuid__in=uuids), image_set=image_set).values_list(
            "pk", "uuid", "name"
        )
    )
    labels = ImageLabel.objects.filter(image__in=[pk for pk, _, _ in rows], source="import")
    first = dict(labels.order_by("-index").values_list("image", "index"))
    found: dict[str, _Known] = {}
    for pk, uuid, name in rows:
        found[name] = found[str(uuid)] = _Known(pk, uuid, first.get(pk))
    return found


def _find(known: Mapping[str, _Known], text: str) -> _Known | None:
    uuid = _uuid(text)
    return known.get(text) or (known.get(str(uuid)) if uuid else None)


def _clean(
    row: Any,
    queries: Mapping[str, _Known],
    others: Mapping[str, _Known],
    classes: Sequence[str],
    gallery: ImageSet,
    payload: str,
    seen: set[int],
) -> _Row:
    if not isinstance(row, Mapping):
        raise BadRow("A row is an object with image, predicted and neighbours.")
    name = _said(row, "image")
    query = _find(queries, name)
    if query is None:
        raise BadRow(f"There is no picture “{name}” in the image set." if name else "The row names no image.")
    if query.pk in seen:
        raise BadRow(f"The picture “{name}” has a row already.")
    seen.add(query.pk)
    target = _class(row.get("predicted"), classes, "predicted")
    confidence = row.get("confidence")
    if confidence is not None:
        confidence = _number(confidence, "The confidence")
        if not 0 <= confidence <= 1:
            raise BadRow(f"The confidence lies between 0 and 1, not {confidence:g}.")
    items = row.get("neighbours")
    if not isinstance(items, list | tuple) or not 1 <= len(items) <= MOST_NEIGHBOURS:
        raise BadRow(f"A row has 1 to {MOST_NEIGHBOURS} neighbours.")
    neighbours = [
        _neighbour(item, place, others, query, gallery.classes, payload) for place, item in enumerate(items, 1)
    ]
    if len({item["image"] for item in neighbours}) < len(neighbours):
        raise BadRow("The same neighbour stands there twice.")
    if any(after["score"] > before["score"] for before, after in pairwise(neighbours)):
        raise BadRow("Neighbours stand in order, the most alike first: their scores never rise.")
    return _Row(query.pk, query.uuid, target, confidence, {"neighbours": neighbours})


def _neighbour(
    item: Any, place: int, known: Mapping[str, _Known], query: _Known, classes: Sequence[str], payload: str
) -> dict[str, Any]:
    name = _said(item, "image")
    found = _find(known, name)
    if found is None:
        raise BadRow(f"Neighbour {place}: there is no picture “{name}”." if name else f"Neighbour {place}: no image.")
    if found.uuid == query.uuid:
        raise BadRow(f"Neighbour {place}: a picture is no neighbour of itself.")
    label = item.get("label")
    if label is None and found.label is None:
        raise BadRow(f"Neighbour {place}: nobody said what “{name}” shows. Give its label.")
    kept: dict[str, Any] = {
        "image": str(found.uuid),
        "label": found.label if label is None else _class(label, classes, f"label of neighbour {place}"),
        "score": _number(item.get("score"), f"Neighbour {place}: the score"),
    }
    patches = item.get("patches")
    if payload == PAYLOADS[1]:
        if not isinstance(patches, list | tuple) or not 1 <= len(patches) <= MOST_PATCHES:
            raise BadRow(f"Neighbour {place}: matches have 1 to {MOST_PATCHES} patches.")
        kept["patches"] = [_patch(patch, f"Neighbour {place}, patch {i}") for i, patch in enumerate(patches, 1)]
    elif patches:
        raise BadRow(f"Neighbour {place} has patches; such rows are imported as matches.")
    return kept


def _patch(patch: Any, where: str) -> dict[str, Any]:
    if not isinstance(patch, Mapping):
        raise BadRow(f"{where}: a patch has query, neighbour and score.")
    return {
        "query": _corners(patch.get("query"), f"{where}, query"),
        "neighbour": _corners(patch.get("neighbour"), f"{where}, neighbour"),
        "score": _number(patch.get("score"), f"{where}: the score"),
    }


def _corners(value: Any, where: str) -> list[float]:
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise BadRow(f"{where}: four numbers, x0, y0, x1, y1.")
    x0, y0, x1, y1 = (_number(number, where) for number in value)
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise BadRow(f"{where}: corners are shares of width and height, 0 ≤ x0 < x1 ≤ 1 and 0 ≤ y0 < y1 ≤ 1.")
    return [x0, y0, x1, y1]


def _class(value: Any, classes: Sequence[str], what: str) -> int:
    if isinstance(value, str):
        places = [index for index, name in enumerate(classes) if name == value.strip()]
        if len(places) != 1:
            count = "more than one class is" if places else "no class is"
            raise BadRow(f"“{value}” ({what}): {count} called so.")
        return places[0]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < len(classes):
        raise BadRow(f"{what}: a class's name, or its index from 0 to {len(classes) - 1}.")
    return value


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -MOST_SCORE <= value <= MOST_SCORE:
        raise BadRow(f"{what} is a finite number.")
    return round(float(value), 6)
