"""A small installation with both studies: real rows, files and maps, made in a second."""

import io
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import uuid4

import numpy as np
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from PIL import Image as Pillow

from annotation.people import add_annotator
from annotation.publishing import create_study, publish
from annotation.studies.trials import Group
from mlcore.exchange.correspondences import add_correspondences
from mlcore.exchange.decoy import CLASSES, decoy_scene
from mlcore.models import Classifier, Explanation, ExplanationSet, Image, ImageLabel, ImageSet

PASSWORD = "a long enough password"
WIDTH, HEIGHT = 132, 96  # not square: swapped axes would show
TITLES = {
    "reasonability": "Where does it look?",
    "map_drawing": "Show what matters",
    "preference": "Which map fits better?",
    "team": "Is the AI right?",
}
_numbers = count()


@dataclass
class World:
    """`sets`: one explanation set a classifier; a study of either kind is made on demand."""

    image_set: ImageSet
    images: list[Image]
    sets: list[ExplanationSet]
    annotator: Any

    def reasonability(self, maps: int = 1, **options: Any) -> Any:
        return self._live("reasonability", explanation_sets=self.sets[:maps], **options)

    def preference(self, **options: Any) -> Any:
        """A pair of maps a trial; needs a world of two classifiers."""
        return self._live("preference", explanation_sets=self.sets[:2], **options)

    def map_drawing(self, **options: Any) -> Any:
        return self._live("map_drawing", **options)

    def team(self, shown: str = "none", **options: Any) -> Any:
        """`shown`: none, map, neighbours or matches. The classifier says class 1, whatever there is, with 72 %."""
        one = self.sets[0]
        rows = [_compared(self.images, place, shown) for place in range(len(self.images))]
        payload = shown if shown == "matches" else "neighbours"
        compared = add_correspondences(
            one.classifier, self.image_set, rows, owner=None, method="by color", payload=payload
        )
        one.explanations.update(target=1)
        groups = [Group("bare-arm")] if shown == "none" else []
        groups.append(Group("secret-arm", (one if shown == "map" else compared,)))
        options.setdefault("conditions", "between" if len(groups) > 1 else "within")
        return self._live("team", groups=groups, **options)

    def _live(self, kind: str, *, images: int | None = None, live: bool = True, **options: Any) -> Any:
        title = options.pop("title", TITLES[kind])
        study = create_study(
            kind=kind,
            name=f"{title} {next(_numbers)}",
            title=title,
            owner=None,
            image_set=self.image_set,
            images=self.images[:images],
            **options,
        )
        return publish(study, None) if live else study


def _compared(images: list[Image], place: int, shown: str) -> dict[str, Any]:
    """A row of neighbours: every other image, and up to three patches that differ by neighbour."""
    cells = [[0.1, 0.1, 0.35, 0.4], [0.45, 0.3, 0.7, 0.6], [0.65, 0.6, 0.95, 0.95]]
    neighbours = []
    for number, image in enumerate(images[place + 1 :] + images[:place]):
        moved = [
            {"query": cell, "neighbour": cells[(index + number) % 3], "score": 0.5} for index, cell in enumerate(cells)
        ]
        patches = {"patches": moved[: 3 - number % 2]} if shown == "matches" else {}
        neighbours.append({"image": image, "score": 0.9 - number / 20} | patches)
    return {"image": images[place], "predicted": 1, "confidence": 0.72, "neighbours": neighbours}


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Pillow.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def make_world(images: int = 4, classifiers: int = 1, username: str = "ada") -> World:
    """Decoy scenes with maps that lie on the object (even images) or on the corner (odd ones)."""
    image_set = ImageSet.objects.create(name=f"Scenes {next(_numbers)}", classes=list(CLASSES))
    rows, masks = [], []
    for index in range(images):
        scene = decoy_scene(7, "train", index, size=WIDTH)
        top = (WIDTH - HEIGHT) // 2
        row = Image(image_set=image_set, name=f"{index}.png", sha256=f"{index:064x}", width=WIDTH, height=HEIGHT)
        row.file.save(row.name, ContentFile(png(scene.image[top : top + HEIGHT])), save=False)
        row.save()
        ImageLabel.objects.create(image=row, index=scene.label)
        rows.append(row)
        masks.append((scene.mask[top : top + HEIGHT], scene.label))
    sets = [_explain(image_set, rows, masks, number) for number in range(classifiers)]
    return World(image_set, rows, sets, add_annotator(username, PASSWORD))


def _explain(
    image_set: ImageSet, rows: list[Image], masks: list[tuple[np.ndarray, int]], number: int
) -> ExplanationSet:
    classifier = Classifier.objects.create(
        name=f"secret-model-{number}", architecture="sixconv", classes=image_set.classes
    )
    made = ExplanationSet.objects.create(
        classifier=classifier, image_set=image_set, method="grad_cam", code_version="1", hash=uuid4().hex * 2
    )
    maps = np.stack([_map(mask, (index + number) % 2 == 0) for index, (mask, _) in enumerate(masks)])
    stream = io.BytesIO()
    np.savez(stream, maps=maps.astype(np.float32))
    shard = default_storage.save(f"explanations/{made.uuid}/0.npz", ContentFile(stream.getvalue()))
    Explanation.objects.bulk_create(
        Explanation(
            set=made, image=row, shard=shard, index=index, height=maps.shape[1], width=maps.shape[2],
            maximum=float(maps[index].max()), target=masks[index][1],
        )
        for index, row in enumerate(rows)
    )  # fmt: skip
    return made


def _map(mask: np.ndarray, on_object: bool) -> np.ndarray:
    """(9, 12): the share of each cell that the object covers, or a spot in the corner."""
    cells = np.asarray(Pillow.fromarray((mask * 255).astype(np.uint8)).resize((12, 9), Pillow.Resampling.BOX)) / 255
    if on_object:
        return cells
    rows, columns = np.mgrid[0:9, 0:12]
    return np.exp(-((rows - 1) ** 2 + (columns - 1) ** 2) / 6)
