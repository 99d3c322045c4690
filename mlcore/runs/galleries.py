"""Galleries as a researcher handles them: what one would take, which there are, and how one goes."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from mlcore.catalogue.fields import clean_fields
from mlcore.catalogue.gallery_lock import GalleryBusy, held
from mlcore.catalogue.recipe_fields import INPUT
from mlcore.models import AuditEntry, Classifier, FeatureGallery, Image, ImageSet
from mlcore.runs.correspond_features import estimate, folder_of, free_bytes, in_bytes, key_of, layer_of, row_of

VERSION = 1


class GalleryRefused(ValueError):
    """It cannot be made, or not be deleted now; the text is the sentence for the person."""


@dataclass(frozen=True)
class Plan:
    """A gallery before it is computed: what decides it, and the images that it would hold.

    bytes: what it takes on the disk, missing: how many of these are not there, free: how many the disk has; None where
    the layer's size is not known before.
    """

    classifier: Classifier
    image_set: ImageSet
    layer: str
    transform: dict[str, Any]
    images: int
    bytes: int | None
    missing: int | None
    free: int

    @property
    def key(self) -> dict[str, Any]:
        return key_of(self.classifier, self.image_set, self.layer, self.transform)

    @property
    def sentence(self) -> str:
        """In words, before the run."""
        head = f"{self.images} images by the layer “{self.layer}” of “{self.classifier}”"
        if self.bytes is None or self.missing is None:
            return f"{head}: the size is known once the classifier's layers are listed."
        new = f"{in_bytes(self.missing)} of it new" if self.missing else "all of it is there"
        return f"{head}: about {in_bytes(self.bytes)} on the disk ({new}; {in_bytes(self.free)} are free)."


def plan(
    classifier: Classifier, image_set: ImageSet, *, layer: str = "", transform: Mapping[str, Any] | None = None
) -> Plan:
    """What the features of a set would be. layer: empty, the last with cells. transform: what differs from the
    classifier's own. Raises GalleryRefused."""
    if not classifier.sha256 or not classifier.weights:
        raise GalleryRefused(f"“{classifier}” has no weights.")
    try:
        chosen = layer_of(classifier, layer)
        read = clean_fields(INPUT, dict(classifier.transform or {}) | dict(transform or {}))
    except ValueError as error:  # also RecipeError
        raise GalleryRefused(str(error)) from error
    images = Image.objects.filter(image_set=image_set).exclude(file="").count()
    if not images:
        raise GalleryRefused(f"“{image_set}” has no pictures.")
    size = estimate(classifier, chosen, read, {image_set: images})
    return Plan(
        classifier,
        image_set,
        chosen,
        read,
        images,
        None if size is None else size.bytes,
        None if size is None else size.missing,
        free_bytes(),
    )


def job_of(wanted: Plan, *, device: str, batch_size: int, workdir: Path) -> dict[str, Any]:
    """What `mlcore.training.galleries.fill` is told. Raises GalleryRefused where the weights are gone."""
    weights = Path(wanted.classifier.weights.path)
    if not weights.is_file():
        raise GalleryRefused(f"The weights of “{wanted.classifier}” are not in the storage any more.")
    return {
        "version": VERSION,
        "kind": "correspond",
        "workdir": str(workdir),
        "device": device,
        "recipe": wanted.transform | {"batch_size": batch_size},
        "classifier": {
            "architecture": wanted.classifier.architecture,
            "num_classes": len(wanted.classifier.classes),
            "weights": str(weights),
            "padding": wanted.classifier.padding,
            "replace_head": False,
        },
        "parts": {"annotation_pool": list(_pictures(wanted.image_set))},
        "layer": wanted.layer,
        "folder": str(folder_of(wanted.key)),
        "key": wanted.key,
    }


def row_for(wanted: Plan, owner: Any) -> FeatureGallery:
    """The row of a plan's features, made where it is new."""
    return row_of(wanted.classifier, wanted.image_set, wanted.layer, wanted.transform, owner)


def note(gallery: FeatureGallery, *, shape: tuple[int, int, int], images: int, nbytes: int) -> None:
    """Write down what the files hold."""
    gallery.channels, gallery.height, gallery.width = shape
    gallery.images, gallery.bytes = images, nbytes
    gallery.save(update_fields=["channels", "height", "width", "images", "bytes", "updated"])


def folder_for(gallery: FeatureGallery) -> Path:
    """Where its files lie."""
    return Path(settings.GALLERIES_DIR) / gallery.key


def is_there(gallery: FeatureGallery) -> bool:
    """Whether there are files; a cache may be emptied by hand."""
    return (folder_for(gallery) / "manifest.json").is_file()


def delete_gallery(gallery: FeatureGallery, actor: Any) -> int:
    """Delete row and files; how many bytes are free again. Raises GalleryRefused while a process writes them."""
    before = {"images": gallery.images, "bytes": gallery.bytes}
    with transaction.atomic():
        AuditEntry.write(actor, "gallery.delete", gallery, before=before)
        freed = _delete_folder(folder_for(gallery))
        gallery.delete()
    return freed


def orphans() -> list[Path]:
    """Folders of features without a row: of a classifier or a set of images that was deleted."""
    folder = Path(settings.GALLERIES_DIR)
    if not folder.is_dir():
        return []
    # Only names that are hashes: nothing that somebody else may have put there.
    there = {path.name: path for path in folder.iterdir() if path.is_dir() and len(path.name) == 64}
    known = set(FeatureGallery.objects.values_list("key", flat=True))
    return [path for name, path in sorted(there.items()) if name not in known]


def delete_orphans() -> int:
    """Delete them; how many bytes are free again. One that is being written stays."""
    freed = 0
    for folder in orphans():
        try:
            freed += _delete_folder(folder)
        except GalleryRefused:
            continue
    return freed


def _delete_folder(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    try:
        with held(folder, goes_on=lambda: False):
            freed = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
            shutil.rmtree(folder)
    except GalleryBusy:
        raise GalleryRefused("The gallery is being written. Cancel the run, or wait for its end.") from None
    return freed


def _pictures(image_set: ImageSet) -> Iterator[dict[str, Any]]:
    for image in Image.objects.filter(image_set=image_set).exclude(file="").order_by("pk").iterator():
        yield {"id": str(image.uuid), "key": image.sha256, "path": image.file.path, "label": None}
