"""The pointing game on real photographs with a real classifier: figures measured elsewhere."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mlcore.attribution.grad_cam import GradCAM
from mlcore.metrics.accuracy import Accuracy
from mlcore.metrics.base import boxes_to_mask
from mlcore.metrics.pointing import PointingGame
from mlcore.training.classifiers import build

DATA = os.environ.get("HARMONY_TEST_DATA", "")
MEAN, DEVIATION = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def cropped(path: Path) -> Tensor:
    """224 pixels from (1, 1) of the 227, normalised."""
    with Image.open(path) as picture:
        pixels = torch.from_numpy(np.asarray(picture.convert("RGB"), dtype=np.float32) / 255)
    return ((pixels[1:225, 1:225] - MEAN) / DEVIATION).permute(2, 0, 1)


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="HARMONY_TEST_DATA is not set: the test data (400 photographs) are not here")
def test_squeezenet_points_at_objects_as_often_as_measured_elsewhere() -> None:
    folder = Path(DATA) / "imagenet_val"
    model = build("squeezenet1_1", 1000, weights=Path(DATA) / "weights" / "squeezenet1_1_imagenet.npz").eval()
    boxes: dict[str, list[list[float]]] = {}
    for row in rows(folder / "boxes.csv"):
        boxes.setdefault(row["file"], []).append([float(row[key]) - 1 for key in ("x0", "y0", "x1", "y1")])
    labels = {row["file"]: int(row["label"]) for row in rows(folder / "labels.csv")}
    accuracy, pointing, centre = Accuracy(), PointingGame(), PointingGame()
    middle = torch.zeros(1, 225, 225)
    middle[0, 112, 112] = 1
    names = sorted(labels)
    method = GradCAM(model, relu=False)
    for start in range(0, len(names), 50):
        part = names[start : start + 50]
        target = torch.tensor([labels[name] for name in part])
        images = torch.stack([cropped(folder / "images" / name) for name in part])
        with torch.no_grad():
            logits, maps = method.forward(images, target, create_graph=False)
        masks = [boxes_to_mask(boxes[name], 224, 224) for name in part]
        accuracy.update(logits, target, part)
        pointing.update(maps, masks, part)
        centre.update(middle.expand(len(part), -1, -1), masks, part)
    assert len(pointing.per_image) + sum(map(len, pointing.left_out.values())) == 400
    assert accuracy.compute()["value"] == pytest.approx(0.692, abs=0.006)
    assert pointing.compute()["value"] == pytest.approx(0.900, abs=0.01)
    assert centre.compute()["value"] == pytest.approx(0.855, abs=0.01)
