"""Real photographs of birds with neighbours that are really computed, from colours.

Only for tests that ask for `test_data`: the pictures are research photographs and stay where they are.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from mlcore.exchange.correspondences import add_correspondences
from mlcore.exchange.images import import_folder
from mlcore.models import Classifier, ExplanationSet, Image, ImageSet

SPECIES = ("Baltimore_Oriole", "Hooded_Oriole", "Scott_Oriole", "Northern_Flicker", "Painted_Bunting", "Blue_Jay")
CELLS, PARTS, NEIGHBOURS = 7, 5, 6


@dataclass
class Birds:
    """A set of species, a classifier by nearest neighbours in colour, and its explanations in both forms."""

    image_set: ImageSet
    images: list[Image]
    classifier: Classifier
    neighbours: ExplanationSet
    matches: ExplanationSet
    right: dict[int, bool]  # image → the vote names its species


def make_birds(folder: Path, work: Path, owner: Any = None) -> Birds:
    """Imports the species from `folder` (cub832); `work` takes the table of what is imported."""
    with (folder / "labels.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["class"].split(".", 1)[1] in SPECIES]
    table = work / "birds.csv"
    with table.open("w") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "class"])
        writer.writerows((row["file"], row["class"]) for row in rows)
    image_set = import_folder(folder / "images", name="Birds", labels=table, owner=owner).image_set
    images = list(Image.objects.filter(image_set=image_set).prefetch_related("labels").order_by("pk"))
    classifier = Classifier.objects.create(name="colour neighbours", architecture="sixconv", classes=image_set.classes)
    labels = np.array([image.labels.all()[0].index for image in images])
    pixels = [_pixels(image) for image in images]
    alike = _alike(np.stack([_histogram(one) for one in pixels]))
    cells = [_cells(one) for one in pixels]
    plain, matched, right = [], [], {}
    for place, image in enumerate(images):
        nearest = np.argsort(-alike[place], kind="stable")[:NEIGHBOURS]
        votes = np.bincount(labels[nearest], minlength=len(image_set.classes))
        says = int(votes.argmax())
        right[image.pk] = says == labels[place]
        row = {"image": image, "predicted": says, "confidence": float(votes[says] / len(nearest))}
        items = [{"image": images[other], "score": float(alike[place, other])} for other in nearest]
        plain.append(row | {"neighbours": items})
        with_parts = [
            item | {"patches": _patches(cells[place], cells[other])} for item, other in zip(items, nearest, strict=True)
        ]
        matched.append(row | {"neighbours": with_parts})
    kept = {"owner": None, "options": {"bins": 6}}
    return Birds(
        image_set,
        images,
        classifier,
        add_correspondences(classifier, image_set, plain, method="colour_knn", payload="neighbours", **kept),
        add_correspondences(classifier, image_set, matched, method="colour_cells", payload="matches", **kept),
        right,
    )


def _pixels(image: Image) -> np.ndarray:
    """(70, 70, 3) in [0, 1]."""
    with image.file.open("rb") as stream, Pillow.open(stream) as opened:
        return np.asarray(opened.convert("RGB").resize((70, 70), Pillow.Resampling.BOX), dtype=np.float64) / 255


def _histogram(pixels: np.ndarray) -> np.ndarray:
    """Square roots of the shares of 6 × 6 × 6 colours in the middle half, where the bird is; unit length."""
    middle = pixels[17:53, 17:53].reshape(-1, 3)
    counts, _ = np.histogramdd(middle, bins=6, range=[(0, 1)] * 3)
    return np.sqrt(counts.ravel() / len(middle))


def _alike(features: np.ndarray) -> np.ndarray:
    """(n, n) cosine similarities; −1 to oneself, so that nobody is their own neighbour."""
    found = features @ features.T
    np.fill_diagonal(found, -1)
    return found


def _cells(pixels: np.ndarray) -> np.ndarray:
    """(49, 6): mean and spread of the colour in each of 7 × 7 cells."""
    split = pixels.reshape(CELLS, 10, CELLS, 10, 3).transpose(0, 2, 1, 3, 4).reshape(CELLS * CELLS, 100, 3)
    return np.concatenate([split.mean(axis=1), split.std(axis=1)], axis=1)


def _patches(query: np.ndarray, neighbour: np.ndarray) -> list[dict[str, Any]]:
    """The five cells of the query's middle that find the most similar cell in the neighbour, each cell once."""
    distance = np.linalg.norm(query[:, None] - neighbour[None], axis=2)
    middle = np.array([2 <= place // CELLS < 5 and 2 <= place % CELLS < 5 for place in range(CELLS * CELLS)])
    distance[~middle] = np.inf
    found = []
    for _ in range(PARTS):
        one, other = np.unravel_index(distance.argmin(), distance.shape)
        found.append({"query": _corners(one), "neighbour": _corners(other), "score": 1 - float(distance[one, other])})
        distance[one], distance[:, other] = np.inf, np.inf
    return found


def _corners(place: int) -> list[float]:
    row, column = divmod(int(place), CELLS)
    return [column / CELLS, row / CELLS, (column + 1) / CELLS, (row + 1) / CELLS]
