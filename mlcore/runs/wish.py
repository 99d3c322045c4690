"""A run as it is asked for, before anything is written; and how it is refused."""

from dataclasses import dataclass
from typing import Any

from mlcore.models import Box, Classifier, ExplanationSet, HumanMapSet, ImageSet, Mask, Partition, SupervisionSet
from mlcore.models.images import LABEL_SOURCE
from mlcore.runs.manifest import Manifest

Refusal = tuple[str, str]


class RunRefused(ValueError):
    """The run cannot be started; `errors` maps a field's name to a sentence for the person who can mend it."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__(" ".join(errors.values()))


@dataclass(frozen=True)
class Wish:
    """A run as asked for, its recipe already checked against the catalogue."""

    kind: str
    name: str
    seed: int
    image_set: ImageSet
    partition: Partition | None
    classifier: Classifier | None
    supervision: SupervisionSet | None
    recipe: dict[str, Any]
    manifest: Manifest
    explanation_sets: tuple[ExplanationSet, ...] = ()
    human_maps: HumanMapSet | None = None
    classifiers: tuple[Classifier, ...] = ()
    gallery: ImageSet | None = None


def with_truth(images: list[str]) -> set[str]:
    """Those of the images (UUIDs) that have a mask or a box."""
    return having(Mask, images) | having(Box, images)


def having(model: type[Mask] | type[Box], images: list[str]) -> set[str]:
    """Those of the images (UUIDs) that have an imported row of this kind."""
    found: set[str] = set()
    for start in range(0, len(images), 500):  # SQLite limits the variables of one statement
        rows = model._default_manager.filter(image__uuid__in=images[start : start + 500], source=LABEL_SOURCE)
        found.update(str(uuid) for uuid in rows.values_list("image__uuid", flat=True))
    return found
