"""The frozen list of images that a run sees: part → [image UUID, label, SHA-256 of the file], and its hash.

What is frozen stays what it was when labels or partitions are added later; a resumed, repeated or control run
reads the same list.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import QuerySet

from mlcore.catalogue.tuning import TRAINS, needs_objects
from mlcore.models import Explanation, ExplanationSet, Image, ImageLabel, ImageSet, Partition, SupervisionSet
from mlcore.models.partitions import Part
from mlcore.runs.objects import LABEL_SOURCE, with_objects

ALL = "all"

Manifest = dict[str, list[list[Any]]]


def freeze(
    *, kind: str, recipe: dict[str, Any], image_set: ImageSet, partition: Partition | None,
    supervision: SupervisionSet | None, explanation_sets: Sequence[ExplanationSet] = (),
) -> Manifest:  # fmt: skip
    """The images of a run, in the order of their rows.

    train: train, the supervised images of the annotation pool, validation; test only for a final look. A run that has
    to know where the object is sees those that have one; in the test part the others are counted as left out.
    lr_test: as train, what is trained on alone.
    explain, evaluate, report: the recipe's part; explain and report know "all", with or without a partition.
    score: those of the part, or of all images, that have a map in one of the sets.
    """
    if kind == "score":
        return _with_maps(recipe["part"], image_set, partition, explanation_sets)
    if partition is None:
        return {ALL: _entries(Image.objects.filter(image_set=image_set))} if recipe.get("part") == ALL else {}
    if kind not in TRAINS:
        parts = Part.values if recipe["part"] == ALL else [recipe["part"]]
        frozen = {part: _entries(_members(partition, part)) for part in parts}
        return {part: entries for part, entries in frozen.items() if entries or recipe["part"] != ALL}
    manifest = {Part.TRAIN.value: _entries(_members(partition, Part.TRAIN))}
    if supervision is not None:
        chosen = supervision.items.values("image")
        manifest[Part.POOL.value] = _entries(_members(partition, Part.POOL).filter(pk__in=chosen))
    if kind == "train":
        manifest[Part.VALIDATION.value] = _entries(_members(partition, Part.VALIDATION))
    if needs_objects(recipe):
        source = recipe["object_source"]
        manifest = {part: with_objects(entries, part, source, supervision) for part, entries in manifest.items()}
    if kind == "train" and recipe["evaluate_test"]:
        manifest[Part.TEST.value] = _entries(_members(partition, Part.TEST))
    return manifest


def _with_maps(part: str, image_set: ImageSet, partition: Partition | None, sets: Sequence[ExplanationSet]) -> Manifest:
    images = Image.objects.filter(image_set=image_set)
    if part != ALL:
        if partition is None:
            return {}
        images = _members(partition, part)
    mapped = Explanation.objects.filter(set__in=sets, payload=Explanation.Payload.MAP)
    return {part: _entries(images.filter(pk__in=mapped.values("image")))}


def digest(manifest: Manifest) -> str:
    """SHA-256 of the canonical JSON: equal for equal contents, on every machine."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def entries_of(manifest: Manifest) -> Iterable[tuple[str, str, int | None, str]]:
    """(part, image UUID, label, SHA-256) of every image."""
    for part, entries in manifest.items():
        for image, label, sha256 in entries:
            yield part, image, label, sha256


def _members(partition: Partition, part: str) -> QuerySet[Image]:
    return Image.objects.filter(memberships__partition=partition, memberships__part=part)


def _entries(images: QuerySet[Image]) -> list[list[Any]]:
    labels: dict[int, list[int]] = defaultdict(list)
    said = ImageLabel.objects.filter(image__in=images.values("pk"), source=LABEL_SOURCE)
    for image, index in said.order_by("image", "index").values_list("image", "index"):
        labels[image].append(index)
    rows = images.order_by("pk").values_list("pk", "uuid", "sha256")
    # Two labels are no answer to "which class": such an image counts as unlabelled here.
    return [[str(uuid), labels[pk][0] if len(labels[pk]) == 1 else None, sha256] for pk, uuid, sha256 in rows]
