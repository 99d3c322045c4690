"""Two classifiers of the tiny world, for reports over both."""

import hashlib
from pathlib import Path

import torch

from mlcore.models import Classifier
from mlcore.training.classifiers import build
from mlcore.training.weights import save_weights
from tests.mlcore.runs.world import World, make_classifier

RECIPE = {
    "methods": ["grad_cam", "lrp"], "metrics": ["pointing", "content_heat_map", "average_drop_50"], "device": "cpu",
    "pointing.tolerance": 2, "batch_size": 4,
}  # fmt: skip


def two_classifiers(world: World, folder: Path) -> list[Classifier]:
    """Untrained, each with other weights, called "first" and "second"."""
    made = []
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        path = folder / f"{name}.safetensors"
        save_weights(build("sixconv", 2), path)
        one = make_classifier(world, weights=path.read_bytes())
        one.name, one.sha256 = name, hashlib.sha256(path.read_bytes()).hexdigest()
        one.save()
        made.append(one)
    return made
