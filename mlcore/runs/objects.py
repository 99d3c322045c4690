"""Where the object of an image is: its mask, its boxes, or what people drew (the objective's `object_source`)."""

from collections import defaultdict
from typing import Any

from mlcore.models import Box, Image, Mask, SupervisionItem, SupervisionSet
from mlcore.models.images import LABEL_SOURCE
from mlcore.models.partitions import Part

CHUNK = 500  # SQLite limits the variables of one statement

Labels = dict[int, int | None]


def masks_of(labels: Labels) -> dict[int, str]:
    """Image → path of the mask of its class, or of the mask without a class."""
    chosen: dict[int, str] = {}
    rows = Mask.objects.filter(image__in=labels, source=LABEL_SOURCE).order_by("image", "category")
    for mask in rows:
        exact = mask.category is not None and mask.category == labels[mask.image_id]
        if exact or (mask.category is None and mask.image_id not in chosen):
            chosen[mask.image_id] = mask.file.path
    return chosen


def boxes_of(labels: Labels) -> dict[int, list[list[float]]]:
    """Image → boxes of its class, and those without a class."""
    boxes: dict[int, list[list[float]]] = defaultdict(list)
    for box in Box.objects.filter(image__in=labels, source=LABEL_SOURCE).order_by("pk"):
        if box.category is None or box.category == labels[box.image_id]:
            boxes[box.image_id].append([box.x0, box.y0, box.x1, box.y1])
    return dict(boxes)


def objects_of(labels: Labels, part: str, source: str, supervision: SupervisionSet | None) -> dict[int, dict[str, Any]]:
    """Image → {"map": path} or {"boxes": […]}, for the images that have what the source asks for.

    People draw on images that train; where their maps are the source, every other part has its masks or boxes.
    """
    if source == "maps" and part in (Part.TRAIN, Part.POOL):
        if supervision is None:
            return {}
        drawn = SupervisionItem.objects.filter(supervision=supervision, image__in=labels).exclude(map="")
        return {item.image_id: {"map": item.map.path} for item in drawn}
    found: dict[int, dict[str, Any]] = {}
    if source in ("boxes", "maps"):
        found = {image: {"boxes": boxes} for image, boxes in boxes_of(labels).items()}
    if source in ("masks", "maps"):
        # A mask says more than a box.
        found |= {image: {"map": path, "boxes": None} for image, path in masks_of(labels).items()}
    return found


def with_objects(
    entries: list[list[Any]], part: str, source: str, supervision: SupervisionSet | None
) -> list[list[Any]]:
    """Those of a manifest's entries whose image has what the source asks for."""
    known: set[str] = set()
    for start in range(0, len(entries), CHUNK):
        labels = {entry[0]: entry[1] for entry in entries[start : start + CHUNK]}
        rows = dict(Image.objects.filter(uuid__in=labels).values_list("pk", "uuid"))
        said = {pk: labels[str(uuid)] for pk, uuid in rows.items()}
        known.update(str(rows[pk]) for pk in objects_of(said, part, source, supervision))
    return [entry for entry in entries if entry[0] in known]
