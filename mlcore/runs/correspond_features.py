"""Where the features of a comparison lie, how large they are, and the rows that say so."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from mlcore.catalogue.gallery_key import TRANSFORM, gallery_key, hash_of
from mlcore.catalogue.gallery_size import last_layer_of, shape_of, size_of
from mlcore.models import Classifier, FeatureGallery, ImageSet


def layer_of(classifier: Classifier, given: str) -> str:
    """The layer whose features are compared: the one given, else the last with cells. Raises ValueError."""
    return given.strip() or last_layer_of(classifier.architecture)


def key_of(classifier: Classifier, image_set: ImageSet, layer: str, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides the features of a set."""
    return gallery_key(
        weights=classifier.sha256,
        architecture=classifier.architecture,
        padding=classifier.padding,
        layer=layer,
        transform={name: recipe[name] for name in TRANSFORM},
        image_set=str(image_set.uuid),
    )


def folder_of(key: Mapping[str, Any]) -> Path:
    """Where features of this key are kept."""
    return Path(settings.GALLERIES_DIR) / hash_of(key)


def row_of(
    classifier: Classifier, image_set: ImageSet, layer: str, recipe: Mapping[str, Any], owner: Any
) -> FeatureGallery:
    """The row of these features; made where it is new, empty until a run says what there is."""
    made, _ = FeatureGallery.objects.get_or_create(
        key=hash_of(key_of(classifier, image_set, layer, recipe)),
        defaults={
            "owner": owner,
            "classifier": classifier,
            "image_set": image_set,
            "layer": layer,
            "transform": {name: recipe[name] for name in TRANSFORM},
        },
    )
    return made


@dataclass(frozen=True)
class Estimate:
    """Bytes that a run's features take on the disk, how many of them are not there yet, and how many are free."""

    bytes: int
    missing: int
    free: int

    @property
    def sentence(self) -> str:
        """In words, for a form and a run's log."""
        new = "all of it is there" if not self.missing else f"{in_bytes(self.missing)} of it new"
        return f"Features take about {in_bytes(self.bytes)} on the disk ({new}; {in_bytes(self.free)} are free)."


def estimate(
    classifier: Classifier, layer: str, recipe: Mapping[str, Any], sets: Mapping[ImageSet, int]
) -> Estimate | None:
    """Of so many images of each set by one layer; None where the layer's size is not known before it is computed."""
    shape = _listed(classifier, layer, recipe) or _known(classifier, layer, recipe)
    if shape is None:
        return None
    total = missing = 0
    for image_set, images in sets.items():
        needed = size_of(images, *shape)
        kept = FeatureGallery.objects.filter(key=hash_of(key_of(classifier, image_set, layer, recipe)))
        there = kept.values_list("bytes", flat=True).first() or 0
        total, missing = total + needed, missing + max(needed - there, 0)
    return Estimate(total, missing, free_bytes())


def _listed(classifier: Classifier, layer: str, recipe: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """As the list of the classifier's layers says, which is of its own input size."""
    own = (classifier.transform or {}).get("image_size", recipe["image_size"])
    return shape_of(classifier.layers or (), layer) if own == recipe["image_size"] else None


def _known(classifier: Classifier, layer: str, recipe: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """As another gallery of the same layer and input size found it."""
    rows = FeatureGallery.objects.filter(classifier__architecture=classifier.architecture, layer=layer, channels__gt=0)
    for row in rows[:20]:
        if row.transform.get("image_size") == recipe["image_size"]:
            return row.channels, row.height, row.width
    return None


def free_bytes() -> int:
    """Room on the disk that keeps features."""
    folder = Path(settings.GALLERIES_DIR)
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def in_bytes(size: float) -> str:
    """104857600 → “105 MB”."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit in ("bytes", "kB", "MB") else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
