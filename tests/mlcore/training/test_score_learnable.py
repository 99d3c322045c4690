"""Score jobs judge maps by learnable metrics too: what they report is what `evaluate` says of the same maps."""

from pathlib import Path

import pytest
import torch

from mlcore.attribution.maps import upsample
from mlcore.metrics.learnable.registry import make
from tests.mlcore.training.test_score import Scene


def test_combined_in_a_score_job(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    targets = scene.model(scene.images).argmax(1)
    found, _ = scene.score(
        [scene.set_of("grad_cam", targets)], ["combined"], **{"combined.parts": "rma=2,complexity=0.5", "batch_size": 3}
    )
    row = found["set of grad_cam"]["combined"]
    maps = upsample(scene.maps["grad_cam"].clamp(min=0), (32, 32))
    # The classifier's input of the 48 px mask: every pixel by its centre.
    places = ((torch.arange(32) + 0.5) * 48 / 32).long()
    masks = torch.stack([mask[places][:, places] for mask in scene.masks])
    expected = make("combined", "parts=rma=2,complexity=0.5").evaluate(
        scene.model, scene.images, targets, lambda *_: maps, masks=masks
    )
    known = {name: value for name, value in zip(scene.names, expected.tolist(), strict=True) if value == value}
    assert len(known) > 3
    assert row["per_image"] == pytest.approx(known, abs=1e-5)
    assert row["n"] == len(known)
