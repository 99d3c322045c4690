"""The frozen list of images that a run sees: part → [image UUID, label, SHA-256 of the file], and its hash.

Where a run takes several labels an image, a list stands in the label's place: the class of each annotation.

What is frozen stays what it was when labels or partitions are added later; a resumed, repeated or control run
reads the same list.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import QuerySet

from mlcore.catalogue.several import several
from mlcore.catalogue.tuning import TRAINS, needs_objects
from mlcore.models import Box, Explanation, ExplanationSet, Image, ImageLabel, ImageSet, Partition, SupervisionSet
from mlcore.models.images import LABEL_SOURCE
from mlcore.models.partitions import Part
from mlcore.runs import correspond_images
from mlcore.runs.correspond_images import ALL, GALLERY
from mlcore.runs.objects import with_objects

# Tar shards that are trained on instead of the part train: [path, bytes, SHA-256 of the index, images] each.
SHARDS = "shards"

Manifest = dict[str, list[list[Any]]]
Told = int | list[int] | None


def freeze(
    *, kind: str, recipe: dict[str, Any], image_set: ImageSet, partition: Partition | None,
    supervision: SupervisionSet | None, explanation_sets: Sequence[ExplanationSet] = (),
    gallery: ImageSet | None = None,
) -> Manifest:  # fmt: skip
    """The images of a run, in the order of their rows.

    train: train, the supervised images of the annotation pool, validation; test only for a final look. A run that has
    to know where the object is sees those that have one; in the test part the others are counted as left out.
    lr_test: as train, what is trained on alone. Shards are trained on instead of the part train; they join later.
    explain, evaluate, report: the recipe's part; explain and report know "all", with or without a partition.
    score: those of the part, or of all images, that have a map in one of the sets.
    correspond: the part's images of the chosen classes, and those that they are compared with.
    """
    if kind == "correspond":
        return correspond_images.freeze(recipe, image_set, partition, gallery)
    if kind == "score":
        return _with_maps(recipe["part"], image_set, partition, explanation_sets)
    entries = _annotated if several(recipe) else _entries
    if partition is None:
        return {ALL: entries(Image.objects.filter(image_set=image_set))} if recipe.get("part") == ALL else {}
    if kind not in TRAINS:
        parts = Part.values if recipe["part"] == ALL else [recipe["part"]]
        frozen = {part: entries(_members(partition, part)) for part in parts}
        return {part: found for part, found in frozen.items() if found or recipe["part"] != ALL}
    manifest: Manifest = {}
    if not recipe["shards"]:
        manifest[Part.TRAIN.value] = entries(_members(partition, Part.TRAIN))
    if supervision is not None:
        chosen = supervision.items.values("image")
        manifest[Part.POOL.value] = entries(_members(partition, Part.POOL).filter(pk__in=chosen))
    if kind == "train":
        manifest[Part.VALIDATION.value] = entries(_members(partition, Part.VALIDATION))
    if needs_objects(recipe):
        source = recipe["object_source"]
        manifest = {part: with_objects(found, part, source, supervision) for part, found in manifest.items()}
    if kind == "train" and recipe["evaluate_test"]:
        manifest[Part.TEST.value] = entries(_members(partition, Part.TEST))
    return manifest


def _with_maps(part: str, image_set: ImageSet, partition: Partition | None, sets: Sequence[ExplanationSet]) -> Manifest:
    images = Image.objects.filter(image_set=image_set)
    if part != ALL:
        if partition is None:
            return {}
        images = _members(partition, part)
    mapped = Explanation.objects.filter(set__in=sets, payload=Explanation.Payload.MAP)
    # A classifier that learned several labels is explained for the first annotation's class.
    taught = any(several(one.classifier.transform or {}) for one in sets)
    entries = _annotated if taught else _entries
    return {part: entries(images.filter(pk__in=mapped.values("image")))}


def digest(manifest: Manifest) -> str:
    """SHA-256 of the canonical JSON: equal for equal contents, on every machine."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def entries_of(manifest: Manifest) -> Iterable[tuple[str, str, Told, str]]:
    """(part, image UUID, label or labels, SHA-256) of every image."""
    for part, entries in images_of(manifest):
        for image, label, sha256 in entries:
            yield part, image, label, sha256


def images_of(manifest: Manifest) -> Iterable[tuple[str, list[list[Any]]]]:
    """(part, entries) of all that the run is about; shards are listed as files, a gallery is what is compared with."""
    return ((part, entries) for part, entries in manifest.items() if part not in (SHARDS, GALLERY))


def labels_of(told: Told) -> list[int]:
    """What an entry says of its image's classes: none, one, or one an annotation, the first before the others."""
    return told if isinstance(told, list) else [] if told is None else [told]


def _members(partition: Partition, part: str) -> QuerySet[Image]:
    return Image.objects.filter(memberships__partition=partition, memberships__part=part)


def _entries(images: QuerySet[Image]) -> list[list[Any]]:
    labels = _labels(images)
    # Two labels are no answer to "which class": such an image counts as unlabelled here.
    return [
        [str(uuid), labels[pk][0] if len(labels[pk]) == 1 else None, sha256]
        for pk, uuid, sha256 in images.order_by("pk").values_list("pk", "uuid", "sha256")
    ]


def _annotated(images: QuerySet[Image]) -> list[list[Any]]:
    """Each box is an annotation, and each label without one; a box without a class has its image's, if that is one."""
    labels = _labels(images)
    boxes: dict[int, list[int]] = defaultdict(list)
    rows = Box.objects.filter(image__in=images.values("pk"), source=LABEL_SOURCE)
    for image, category in rows.order_by("image", "pk").values_list("image", "category"):
        own = labels[image]
        if category is not None or len(own) == 1:
            boxes[image].append(own[0] if category is None else category)
    return [
        [str(uuid), [*boxes[pk], *(label for label in labels[pk] if label not in boxes[pk])] or None, sha256]
        for pk, uuid, sha256 in images.order_by("pk").values_list("pk", "uuid", "sha256")
    ]


def _labels(images: QuerySet[Image]) -> dict[int, list[int]]:
    labels: dict[int, list[int]] = defaultdict(list)
    said = ImageLabel.objects.filter(image__in=images.values("pk"), source=LABEL_SOURCE)
    for image, index in said.order_by("image", "index").values_list("image", "index"):
        labels[image].append(index)
    return labels
