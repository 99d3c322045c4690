"""Our numbers beside other people's libraries, in an environment that has them (`make oracles`).

Where it does not stand, these tests are not collected: the ordinary passes run without them.
"""

import csv
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

# torchcam and pytorch_grad_cam import torchvision by themselves, so ours comes first.
import mlcore.training.vision  # noqa: F401
from mlcore.metrics.inputs import IMAGENET
from mlcore.training.classifiers import build

LIBRARIES = ("quantus", "torchcam", "pytorch_grad_cam", "zennit", "ot", "webdataset")
DATA = os.environ.get("HARMONY_TEST_DATA", "")

if any(importlib.util.find_spec(name) is None for name in LIBRARIES):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session", params=["squeezenet1_1", "mobilenet_v2"])
def classifier(request: pytest.FixtureRequest) -> nn.Module:
    """A classifier trained on ImageNet."""
    return trained(request.param)


@pytest.fixture(scope="session")
def squeezenet() -> nn.Module:
    return trained("squeezenet1_1")


@pytest.fixture(scope="session")
def mobilenet() -> nn.Module:
    return trained("mobilenet_v2")


@pytest.fixture(scope="session")
def photographs() -> tuple[Tensor, Tensor]:
    """Two photographs (2, 3, 224, 224) as a classifier reads them, and their classes (2,)."""
    folder = data() / "imagenet_val"
    with (folder / "labels.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))[:2]
    pictures = []
    for row in rows:
        with Image.open(folder / "images" / row["file"]) as picture:
            pictures.append(np.asarray(picture.convert("RGB"), dtype=np.float32)[1:225, 1:225] / 255)
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return IMAGENET.from_unit(pixels), torch.tensor([int(row["label"]) for row in rows])


def data() -> Path:
    if not DATA or not Path(DATA).is_dir():
        pytest.skip("HARMONY_TEST_DATA does not name a folder with the test data (photographs and trained weights)")
    return Path(DATA)


def trained(architecture: str) -> nn.Module:
    return build(architecture, 1000, weights=data() / "weights" / f"{architecture}_imagenet.npz").eval()
