"""A compiled classifier: the same losses, plain names, nothing else changed; and the way without."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mlcore.objectives.gradia import Gradia
from mlcore.objectives.supervised import Supervised
from mlcore.training.compiling import compiled
from mlcore.training.jobs import SUCCEEDED, run_job
from mlcore.training.machine import prepare
from mlcore.training.sixconv import SixConv
from mlcore.training.weights import load_weights
from tests.mlcore.training.worlds import Events, make_items, make_job


def network() -> nn.Module:
    """Small, with running statistics and chance."""
    torch.manual_seed(1)
    features = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*features, nn.Dropout(), nn.Linear(4, 3))


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler")
@pytest.mark.parametrize("works", [pytest.param(True, marks=pytest.mark.slow), False])
def test_trying_leaves_everything_as_it_was(works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.compiler.reset()
    if not works:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing that was compiled before
        monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
        monkeypatch.setattr("torch._inductor.config.cpp.cxx", (str(tmp_path / "no-compiler"),))
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    chance = torch.get_rng_state()
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    made, said = compiled(prepare("cpu"), model, Supervised(), images)
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    if works:
        assert said == "The classifier was compiled."
        assert torch.allclose(made.eval()(images), model.eval()(images), atol=1e-5)
    else:
        assert made is model
        assert said.startswith("Not compiled, because that failed (")
        assert "\n" not in said


def test_an_objective_that_looks_inside_is_not_compiled() -> None:
    model = SixConv(3)
    made, said = compiled(prepare("cpu"), model, Gradia(), torch.zeros(2, 3, 32, 32))
    assert made is model
    assert said.startswith("Not compiled: this objective looks into the classifier")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler")
@pytest.mark.skipif(
    not os.environ.get("HARMONY_SLOW_TESTS"), reason="minutes of compiling: HARMONY_SLOW_TESTS=1 runs it"
)
def test_a_compiled_run_has_the_curve_and_the_names_of_a_plain_one(tmp_path: Path) -> None:
    parts: dict[str, Any] = {"train": make_items(tmp_path / "train", 16, prefix="t", seed=1)}
    curves = []
    for name, choice in (("plain", "off"), ("fast", "auto")):
        events = Events()
        job = make_job(tmp_path / name, parts, learning_rate=1e-4, compile=choice)
        assert run_job(job, events) == SUCCEEDED, events[-1]
        curves.append([value for _, value in events.metric("train", "loss")])
    assert "The classifier was compiled." in [event["text"] for event in events.of("log")]
    assert curves[1] == pytest.approx(curves[0], rel=1e-3)
    names = [set(load_weights(tmp_path / name / "weights.safetensors")) for name in ("plain", "fast")]
    assert names[0] == names[1]
    state = torch.load(tmp_path / "fast" / "checkpoint.pt", weights_only=True)
    assert not [name for name in state["model"] if "_orig_mod" in name]
