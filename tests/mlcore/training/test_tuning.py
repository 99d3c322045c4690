"""Runs that tune a copy of a classifier for a metric: the loop, its choice, its end."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mlcore.attribution import METHODS
from mlcore.attribution.grad_cam import GradCAM
from mlcore.attribution.maps import upsample
from mlcore.catalogue.tuning import why_not_through
from mlcore.metrics.content_heat_map import ContentHeatMap
from mlcore.training import checkpoints
from mlcore.training.classifiers import build
from mlcore.training.jobs import CANCELLED, FAILED, SUCCEEDED, run_job
from mlcore.training.observe import Values, groups
from mlcore.training.weights import load_weights, save_weights
from tests.mlcore.training.test_launch import rest, until
from tests.mlcore.training.test_launch import start as start_process
from tests.mlcore.training.worlds import Events, make_items, make_job, run

Parts = dict[str, list[dict[str, Any]]]
OPTIONS: dict[str, Any] = {
    "objective": "harmony",
    "metric": "rma",
    "term_weight": 1.0,
    "select": "best_score",
    "batch_size": 4,
    "epochs": 2,
    "evaluate_steps": 2,
    "evaluate_batches": 2,
    "learning_rate": 2e-3,
    "agreement_guard": 0.5,
    "flip": False,
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that has learned the classes: what it says is worth keeping."""
    folder = tmp_path_factory.mktemp("original")
    job = make_job(folder, {"train": make_items(folder / "train", 24, seed=1)}, epochs=8, learning_rate=3e-3)
    assert run_job(job, Events()) == SUCCEEDED
    return folder / "weights.safetensors"


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return {
        "train": make_items(tmp_path / "train", 24, prefix="t", seed=1),
        "validation": make_items(tmp_path / "validation", 12, prefix="v", seed=2),
        "test": make_items(tmp_path / "test", 10, prefix="x", seed=3),
    }


def tuning(folder: Path, parts: Parts, original: Path, **options: Any) -> dict[str, Any]:
    return make_job(folder, parts, weights=original, **OPTIONS | options)


def weights_of(job: dict[str, Any]) -> dict[str, torch.Tensor]:
    return load_weights(Path(job["workdir"]) / "weights.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_copy_scores_better_and_says_the_same(tmp_path: Path, parts: Parts, original: Path) -> None:
    events = run(tuning(tmp_path / "a", parts, original, epochs=4, evaluate_test=True, agreement_guard=0.95))
    score, agreement = events.metric("validation", "score"), events.metric("validation", "agreement")
    assert [step for step, _ in score] == [step for step, _ in agreement] == list(range(0, 25, 2))
    assert agreement[0][1] == 1
    allowed = [value for (step, value), (_, agreed) in zip(score, agreement, strict=True) if step and agreed > 0.95]
    summary = events[-1]["summary"]
    assert dict(score)[summary["selected_step"]] == max(allowed)
    for part in ("validation", "test"):
        rows = {row["metric"]: row for event in events.of("scores") if event["part"] == part for row in event["rows"]}
        before, after, gain = (rows[name] for name in ("harmony_score_before", "harmony_score", "harmony_gain"))
        assert before["n"] == after["n"] == gain["n"] == len(parts[part])
        assert gain["value"] == pytest.approx(after["value"] - before["value"])
        assert gain["low"] < gain["value"] < gain["high"]
        name = parts[part][0]["id"]
        assert gain["per_image"][name] == after["per_image"][name] - before["per_image"][name]
        assert summary[part]["harmony_score"] == after["value"]
        assert summary[part]["harmony_agreement"] == rows["harmony_agreement"]["value"]
    assert summary["validation"]["harmony_gain"] > 0.02


def test_what_is_scored_is_the_metric_itself(tmp_path: Path, parts: Parts, original: Path) -> None:
    """The original's score before, against the plain metric on maps that are made by hand."""
    events = run(tuning(tmp_path / "a", parts, original, epochs=1))
    rows = {row["metric"]: row for row in (row for event in events.of("scores") for row in event["rows"])}
    model = build("sixconv", 3, weights=original).eval()
    metric = ContentHeatMap()
    for item in parts["validation"]:
        picture = torch.from_numpy(np.array(Image.open(item["path"]))).permute(2, 0, 1)[None].float() / 255
        mask = torch.from_numpy(np.array(Image.open(item["map"])) > 0)[None]
        with torch.no_grad():
            maps = GradCAM(model).explain(picture, model(picture).argmax(1))
        metric.update(upsample(maps.clamp(min=0), (32, 32)), mask, [item["id"]])
    assert rows["harmony_score_before"]["per_image"] == pytest.approx(metric.per_image, abs=1e-5)


def test_dropout_and_statistics_rest_while_a_copy_is_tuned(tmp_path: Path, parts: Parts) -> None:
    torch.manual_seed(0)
    start = build("mnasnet0_5", 3)
    save_weights(start, tmp_path / "start.safetensors")
    job = tuning(
        tmp_path / "a", parts, tmp_path / "start.safetensors", metric="complexity", term_weight=0.0, max_steps=2,
        agreement_guard=0.0,
    )  # fmt: skip
    job["classifier"]["architecture"] = "mnasnet0_5"
    run(job)
    after = weights_of(job)
    assert all(torch.equal(value, after[name]) for name, value in start.state_dict().items() if "running" in name)


def test_without_agreement_the_run_fails_and_keeps_nothing(tmp_path: Path, parts: Parts, original: Path) -> None:
    reckless = {"learning_rate": 10.0, "keep_weight": 0.0, "optimizer": "sgd", "max_steps": 6, "agreement_guard": 0.95}
    events = run(tuning(tmp_path / "a", parts, original, **reckless), status=FAILED)
    assert "No measurement agreed with the original on more than 95.0%" in events[-1]["reason"]
    assert not events.of("scores")
    assert not list((tmp_path / "a").glob("*.safetensors"))
    events = run(tuning(tmp_path / "b", parts, original, guard_patience=2, **reckless), status=FAILED)
    assert [step for step, _ in events.metric("validation", "score")] == [0, 2, 4]
    assert any("2 measurements one after another agreed" in event["text"] for event in events.of("log"))


def test_a_run_ends_after_its_steps_in_mid_epoch(tmp_path: Path, parts: Parts, original: Path) -> None:
    events = run(tuning(tmp_path / "a", parts, original, max_steps=9, evaluate_steps=4))
    assert events[0]["total_steps"] == 9
    assert [step for step, _ in events.metric("train", "loss")] == list(range(1, 10))
    assert [step for step, _ in events.metric("validation", "score")] == [0, 4, 8, 9]
    assert events[-1]["summary"]["steps"] == 9
    plain = make_job(tmp_path / "b", parts, max_steps=4, epochs=50)
    assert [step for step, _ in run(plain).metric("train", "loss")] == [1, 2, 3, 4]


def test_a_gradient_is_cut_to_the_given_norm(tmp_path: Path, parts: Parts, original: Path) -> None:
    """SGD without momentum: the step is the rate times the gradient, so its length says the gradient's."""
    options = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.01, "max_steps": 1, "agreement_guard": 0.0}

    def length(folder: str, **more: Any) -> float:
        job = tuning(tmp_path / folder, parts, original, **options | more)
        run(job)
        start, end = load_weights(original), weights_of(job)
        return sum(float((end[name] - start[name]).double().square().sum()) for name in start) ** 0.5 / 0.01

    assert length("a", gradient_norm=0.01) == pytest.approx(0.01, rel=1e-3)
    assert length("b", term_weight=1000.0) == pytest.approx(1, rel=1e-3)  # as published for this metric
    assert length("c", metric="complexity", term_weight=100.0) > 1.1  # without one


@pytest.mark.parametrize("asked_after", [4, 5, 7, 9])
def test_cancelled_and_resumed_equals_uninterrupted(
    tmp_path: Path, parts: Parts, original: Path, asked_after: int
) -> None:
    """While measuring before the first step, within a later measurement, and between steps."""
    whole = tuning(tmp_path / "whole", parts, original)
    events = run(whole)
    asked = iter([False] * (asked_after - 1))
    broken = tuning(tmp_path / "broken", parts, original)
    stopped = run(broken, lambda: next(asked, True), CANCELLED)
    torch.rand(7)
    resumed = tuning(tmp_path / "resumed", parts, original)
    resumed["resume"] = str(Path(stopped[-1]["checkpoint"]).parent)
    final = run(resumed)
    assert same(weights_of(whole), weights_of(resumed))
    assert same(*(checkpoints.load(tmp_path / name)["model"] for name in ("whole", "resumed")))
    told = dict(stopped.metric("validation", "score")) | dict(final.metric("validation", "score"))
    assert told == dict(events.metric("validation", "score"))
    assert final[-1]["summary"] == events[-1]["summary"]


def test_killed_and_resumed_equals_an_uninterrupted_run(tmp_path: Path, parts: Parts, original: Path) -> None:
    options = {"metric": "focus", "checkpoint_minutes": 1e-9, "evaluate_steps": 3}
    whole = tuning(tmp_path / "whole", parts, original, **options)
    run(whole)
    job = tuning(tmp_path / "killed", parts, original, **options)
    process = start_process(job, tmp_path / "job.json")
    until(process, "checkpoint", step=5)
    process.send_signal(signal.SIGKILL)
    assert "result" not in {event["event"] for event in rest(process)}
    again = start_process({**job, "resume": str(tmp_path / "killed")}, tmp_path / "again.json")
    events = rest(again)
    steps = [row["step"] for e in events if e["event"] == "metrics" for row in e["rows"] if row["name"] == "loss"]
    assert steps[0] > 5
    assert events[-1]["event"] == "result"
    assert same(weights_of(whole), weights_of(job))
    assert same(*(checkpoints.load(tmp_path / name)["model"] for name in ("whole", "killed")))


def test_without_labels_a_copy_is_tuned_all_the_same(tmp_path: Path, parts: Parts, original: Path) -> None:
    for item in (item for items in parts.values() for item in items):
        item["label"] = None
    events = run(tuning(tmp_path / "a", parts, original, max_steps=2))
    assert not events.metric("train", "accuracy")
    assert "accuracy" not in {row["metric"] for event in events.of("scores") for row in event["rows"]}


def test_any_run_can_be_measured_by_steps_on_a_few_batches(tmp_path: Path, parts: Parts) -> None:
    options = {"select": "best_accuracy", "evaluate_steps": 2, "evaluate_batches": 1, "learning_rate": 3e-3}
    job = make_job(tmp_path / "a", parts, epochs=3, **options)
    events = run(job)
    curve = events.metric("validation", "accuracy")
    assert [step for step, _ in curve] == [2, 4, 6, 8, 9]
    assert all(value * 8 == int(value * 8) for _, value in curve)
    best = max(value for _, value in curve)
    assert events[-1]["summary"]["selected_step"] == next(step for step, value in curve if value == best)
    assert len(list((tmp_path / "a").glob("epoch-*.safetensors"))) == 1
    # The last checkpoint holds the last step's weights, whichever step was kept.
    assert checkpoints.load(tmp_path / "a")["step"] == 9


def test_a_score_needs_an_objective_that_has_one(tmp_path: Path, parts: Parts) -> None:
    events = run(make_job(tmp_path / "a", parts, select="best_score"), status=FAILED)
    assert "no score to choose by" in events[-1]["reason"]


def test_an_interval_counts_what_was_scored_together_once() -> None:
    assert groups(9, 4) == ["0", "1", "0", "1", "0", "1", "0", "1", "0"]
    names = [f"{number}" for number in range(8)]
    values = Values("score")
    values.update(torch.tensor([0.2, 0.4] * 4), names, together=groups(8, 4))
    pair = Values("score")
    pair.update(torch.tensor([0.2, 0.4]), ["a", "b"])
    assert values.interval() == pytest.approx(pair.interval())
    assert values.mean() == pytest.approx(0.3)
    lacking = Values("score")
    lacking.update(torch.tensor([0.1, float("nan")]), ["0", "1"])
    assert lacking.left_out == {"no value": ["1"]}
    assert values.minus(lacking, "gain").per_image == pytest.approx({"0": 0.1})


@pytest.mark.parametrize(
    ("architecture", "method", "able"),
    [
        ("squeezenet1_1", "lrp", True),
        ("mobilenet_v3_small", "input_x_gradient", False),
        ("mobilenet_v3_small", "excitation_backprop", True),
        ("swin_t", "lrp", False),
    ],
)
def test_what_cannot_be_trained_through_is_known_before(architecture: str, method: str, able: bool) -> None:
    assert (why_not_through(method, architecture) == "") is able
    model = build(architecture, 3).eval()
    picture = torch.rand(1, 3, 64, 64)

    def gradient() -> None:
        _, maps = METHODS[method](model).forward(picture, torch.tensor([1]), create_graph=True)
        maps.sum().backward()

    if able:
        gradient()
    else:
        with pytest.raises((ValueError, RuntimeError), match=r"no rule|not implemented"):
            gradient()
