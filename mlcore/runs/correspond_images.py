"""Which images a classification by comparison asks about, with their right answers, and which it compares them with."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet

from mlcore.models import Image, ImageLabel, ImageSet, Partition
from mlcore.models.images import LABEL_SOURCE
from mlcore.models.partitions import Part
from mlcore.runs.correspond_names import chosen_classes

ALL = "all"
GALLERY = "gallery"  # in a manifest: what is compared with, [UUID, label, SHA-256] each

Entries = list[list[Any]]


def freeze(
    recipe: dict[str, Any], image_set: ImageSet, partition: Partition | None, gallery: ImageSet | None
) -> dict[str, Entries]:
    """Part → queries with the list of their right answers, and the gallery with one label an image.

    Queries of other classes than those chosen are not listed, nor is an image of the gallery without one label.
    Names of classes that there are not, and parts that there are not, leave the manifest without entries.
    """
    frozen = {part: _queries(images, recipe, image_set) for part, images in _parts(recipe, image_set, partition)}
    frozen = {part: entries for part, entries in frozen.items() if entries}
    frozen[GALLERY] = _compared_with(recipe, image_set, partition, gallery)
    return frozen


def members(image_set: ImageSet, partition: Partition | None, part: str) -> QuerySet[Image]:
    """The images of a part; all of the partition's, or of the set's where there is none."""
    if partition is None:
        return Image.objects.filter(image_set=image_set) if part == ALL else Image.objects.none()
    parts = Part.values if part == ALL else [part]
    return Image.objects.filter(memberships__partition=partition, memberships__part__in=parts)


def answers_of(images: QuerySet[Image], source: str) -> dict[int, list[int]]:
    """Image → the classes that the source names, in order."""
    found: dict[int, list[int]] = defaultdict(list)
    said = ImageLabel.objects.filter(image__in=images.values("pk"), source=source)
    for image, index in said.order_by("image", "index").values_list("image", "index"):
        found[image].append(index)
    return found


def _parts(
    recipe: dict[str, Any], image_set: ImageSet, partition: Partition | None
) -> Iterable[tuple[str, QuerySet[Image]]]:
    if recipe["part"] == ALL and partition is not None:
        return [(part, members(image_set, partition, part)) for part in Part.values]
    return [(recipe["part"], members(image_set, partition, recipe["part"]))]


def _queries(images: QuerySet[Image], recipe: dict[str, Any], image_set: ImageSet) -> Entries:
    answers = answers_of(images, recipe["label_source"])
    wanted: set[int] | None = None
    if recipe["classes"]:
        try:
            wanted = set(chosen_classes(image_set.classes, recipe["classes"]))
        except ValueError:
            return []
    return [
        [str(uuid), answers.get(pk) or None, sha256]
        for pk, uuid, sha256 in images.order_by("pk").values_list("pk", "uuid", "sha256")
        if wanted is None or wanted.intersection(answers.get(pk, ()))
    ]


def _compared_with(
    recipe: dict[str, Any], image_set: ImageSet, partition: Partition | None, gallery: ImageSet | None
) -> Entries:
    other = gallery is not None and gallery.pk != image_set.pk
    if other:
        assert gallery is not None, "another set is a set"
        images = members(gallery, None, ALL)
    else:
        images = members(image_set, partition, recipe["gallery_part"])
    answers = answers_of(images, LABEL_SOURCE)
    return [
        [str(uuid), answers[pk][0], sha256]
        for pk, uuid, sha256 in images.order_by("pk").values_list("pk", "uuid", "sha256")
        if len(answers.get(pk, ())) == 1
    ]
