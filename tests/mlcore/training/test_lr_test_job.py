"""A learning-rate test as a job: the loop's own steps at rising rates, on every kind of objective."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mlcore.objectives.supervised import Supervised
from mlcore.training.classifiers import build
from mlcore.training.events import Reporter
from mlcore.training.job import parse
from mlcore.training.jobs import CANCELLED, FAILED
from mlcore.training.lr_test import learning_rate_test
from mlcore.training.machine import fix_randomness
from mlcore.training.setup import loader_of, machine_of
from mlcore.training.weights import save_weights
from tests.mlcore.training.test_attention_run import OPTIONS as ATTENDED
from tests.mlcore.training.worlds import Events, make_items, make_job, run

Parts = dict[str, list[dict[str, Any]]]


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return {"train": make_items(tmp_path / "train", 24, prefix="t", seed=1)}


@pytest.fixture
def original(tmp_path: Path) -> Path:
    torch.manual_seed(4)
    return save_weights(build("sixconv", 3), tmp_path / "original.safetensors")


def trial(folder: Path, parts: Parts, **options: Any) -> dict[str, Any]:
    return make_job(folder, parts, kind="lr_test", **{"optimizer": "sgd", "momentum": 0.9} | options)


def test_it_is_the_librarys_test_on_the_runs_own_steps(tmp_path: Path, parts: Parts, original: Path) -> None:
    """Plain SGD by hand on the same batches gives the same curve and suggestion."""
    ranged: dict[str, Any] = {"low": 1e-5, "high": 1.0, "beta": 0.5, "stop_at": 3.0}
    job = trial(tmp_path / "a", parts, weights=original, steps=7, **ranged)
    events = run(job)
    parsed = parse(job)
    fix_randomness(parsed.seed)
    model, objective = build("sixconv", 3, weights=original), Supervised()
    loader = loader_of(parsed, machine_of(parsed), parsed.parts["train"], Reporter(Events()), training=True)
    batches = (raw.to_batch(torch.device("cpu"), "none") for epoch in range(3) for raw in loader.epoch(epoch))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    model.train()

    def step(rate: float) -> float:
        optimizer.param_groups[0]["lr"] = rate
        loss = objective.loss(model, next(batches)).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    curve = learning_rate_test(step, 7, **ranged)
    for name, values in (("rate", curve.rates), ("loss", curve.losses), ("smoothed", curve.smoothed)):
        points = events.metric("train", name)
        assert [step for step, _ in points] == list(range(1, len(values) + 1))
        assert [value for _, value in points] == pytest.approx(list(values), rel=1e-5)
    assert events[0]["total_steps"] == 7
    assert events[-1]["rates"]["suggestion"] == pytest.approx(curve.suggestion)
    assert f"{curve.suggestion:.3g}" in events[-1]["rates"]["sentence"]
    assert events[-1]["rates"]["sentence"] in [event["text"] for event in events.of("log")]


@pytest.mark.parametrize("objective", ["supervised", "gradia", "energy", "grid", "harmony", "tame"])
def test_every_objective_can_be_tried_and_nothing_is_kept(
    tmp_path: Path, parts: Parts, original: Path, objective: str
) -> None:
    for item in parts["train"]:
        item["w_a"] = 1.0 if objective in ("gradia", "energy") else 0.0
    own = {"gradia": {"attention_weight": 1.0}, "energy": {"attention_weight": 1.0}, "tame": ATTENDED}.get(objective)
    if objective == "harmony":
        own = {"metric": "complexity"}
    before = original.read_bytes()
    events = run(trial(tmp_path / "a", parts, weights=original, **(own or {}) | {"objective": objective}))
    assert [step for step, _ in events.metric("train", "rate")][:3] == [1, 2, 3]
    assert events.metric("train", "rate")[0][1] == pytest.approx(1e-8)
    assert (events[-1]["event"], events[-1]["weights"]) == ("result", None)
    assert original.read_bytes() == before
    assert not list((tmp_path / "a").iterdir())
    assert not events.of("checkpoint")


def test_biases_of_an_attention_learn_at_twice_the_rate(
    tmp_path: Path, parts: Parts, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlcore.training.stepping import Stepper

    seen: list[list[float]] = []
    apply = Stepper.apply
    monkeypatch.setattr(
        Stepper, "apply", lambda self: (seen.append([g["lr"] for g in self.optimizer.param_groups]), apply(self))[1]
    )
    run(trial(tmp_path / "a", parts, weights=original, **ATTENDED, low=1e-4, high=1e-2, steps=3))
    assert [rates[0] for rates in seen] == pytest.approx([1e-4, 1e-3, 1e-2])
    assert [rates[1] for rates in seen] == pytest.approx([2e-4, 2e-3, 2e-2])


def test_it_is_cancelled_between_steps_without_a_checkpoint(tmp_path: Path, parts: Parts, original: Path) -> None:
    asked = iter([False] * 3)
    events = run(trial(tmp_path / "a", parts, weights=original), lambda: next(asked, True), CANCELLED)
    assert events[-1]["checkpoint"] is None
    assert len(events.metric("train", "loss")) == 2


def test_where_the_loss_never_falls_there_is_a_sentence(tmp_path: Path, parts: Parts, original: Path) -> None:
    events = run(trial(tmp_path / "a", parts, weights=original, low=1.0, high=1e3, beta=1e-9, stop_at=1.01))
    assert events[-1]["rates"]["stopped"]
    assert "3 steps, where the loss rose too far" in events[-1]["rates"]["sentence"]
    single = run(trial(tmp_path / "b", {"train": parts["train"][:4]}, weights=original), status=FAILED)
    assert "two batches or more" in single[-1]["reason"]
    ranged = run(trial(tmp_path / "c", parts, weights=original, low=1.0, high=0.1), status=FAILED)
    assert "rise from one above 0" in ranged[-1]["reason"]
