"""Explanation jobs with several methods: one pass, a set of shards each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlcore.attribution import METHODS
from mlcore.training.classifiers import build
from mlcore.training.jobs import CANCELLED, FAILED, SUCCEEDED, run_job
from mlcore.training.weights import save_weights
from tests.mlcore.training.test_explain_evaluate import images_of
from tests.mlcore.training.worlds import Events, make_items, make_job

CHOSEN = ["grad_cam", "layer_cam", "centre"]
Read = Callable[..., tuple[dict[str, dict[str, Any]], Events]]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return save_weights(build("sixconv", 3), tmp_path / "start.safetensors")


@pytest.fixture
def run(tmp_path: Path, weights: Path) -> Read:
    """Runs a job on five images; {method: {image: (row, map)}} and the events."""
    items = make_items(tmp_path / "images", 5)

    def perform(*, ends: int = SUCCEEDED, cancelled: Callable[[], bool] = lambda: False, **recipe: Any) -> Any:
        events = Events()
        job = make_job(
            tmp_path / "out", {"validation": items}, kind="explain", weights=weights, **{"batch_size": 2} | recipe
        )
        assert run_job(job, events, cancelled) == ends, events[-1]
        found: dict[str, dict[str, Any]] = {}
        for event in events.of("shard"):
            with np.load(tmp_path / "out" / event["path"]) as arrays:
                maps = arrays["maps"]
            for row in event["rows"]:
                assert row["image"] not in found.setdefault(event["method"], {})
                found[event["method"]][row["image"]] = (row, maps[row["index"]])
        return found, events

    perform.items = items  # type: ignore[attr-defined]
    return perform


def test_every_method_gives_the_maps_that_the_library_gives(run: Any, weights: Path) -> None:
    found, events = run(methods=CHOSEN, target="second", **{"layer_cam.layer": "features.4", "centre.width": 0.1})
    model = build("sixconv", 3, weights=weights).eval()
    images = images_of(run.items)
    with torch.no_grad():
        logits = model(images)
    second = logits.argsort(1, descending=True)[:, 1]
    options = {"layer_cam": {"layer": "features.4"}, "centre": {"width": 0.1}}
    assert list(found) == CHOSEN
    for name in CHOSEN:
        expected = METHODS[name](model, **options.get(name, {})).explain(images, second)
        for index, item in enumerate(run.items):
            row, heat = found[name][item["id"]]
            assert row["target"] == int(second[index])
            assert np.allclose(heat, expected[index], atol=1e-5), name
    (said,) = events.of("predictions")
    assert [row["label"] for row in said["rows"]] == logits.argmax(1).tolist()
    assert [row["confidence"] for row in said["rows"]] == pytest.approx(logits.softmax(1).amax(1).tolist(), abs=1e-5)
    assert events.of("started")[0]["total_steps"] == 15
    assert events.of("progress")[-1] | {"stage": "explaining", "step": 15, "total": 15} == events.of("progress")[-1]
    summary = events[-1]["summary"]
    assert (summary["maps"], summary["skipped"], summary["methods"]["centre"]["maps"]) == (15, 0, 5)


def test_each_method_passes_over_what_it_has(run: Any) -> None:
    skip = {"grad_cam": ["i000", "i003"], "centre": [f"i00{number}" for number in range(5)]}
    found, events = run(methods=CHOSEN, skip=skip)
    assert {name: sorted(rows) for name, rows in found.items()} == {
        "grad_cam": ["i001", "i002", "i004"],
        "layer_cam": [f"i00{number}" for number in range(5)],
    }
    whole, _ = run(methods=["grad_cam"])
    for name, (row, heat) in found["grad_cam"].items():
        assert row["target"] == whole["grad_cam"][name][0]["target"]
        assert np.allclose(heat, whole["grad_cam"][name][1], atol=1e-6)
    assert events[-1]["summary"]["skipped"] == 7
    assert len(events.of("predictions")[0]["rows"]) == 5


def test_a_method_that_cannot_explain_ends_the_job_before_any_map(run: Any) -> None:
    wrong = {"methods": ["centre", "layer_cam"], "layer_cam.layer": "nowhere"}
    found, events = run(ends=FAILED, **wrong)
    assert "nowhere" in events[-1]["reason"]
    assert not found
    found, events = run(ends=FAILED, methods=["centre", "tame"])
    assert "attention" in events[-1]["reason"]
    found, events = run(ends=FAILED, methods=["centre", "grad_cam"], target="given", target_class=7)
    assert "classes 0 to 2" in events[-1]["reason"]
    assert not found


def test_a_cancelled_job_keeps_what_every_method_has(run: Any) -> None:
    asked = iter([False] * 3)  # batches of two and three; the second one's second method is not reached
    found, events = run(ends=CANCELLED, cancelled=lambda: next(asked, True), methods=["grad_cam", "centre"])
    assert {name: len(rows) for name, rows in found.items()} == {"grad_cam": 5, "centre": 2}
    assert len(events.of("predictions")[0]["rows"]) == 2


def test_a_recipe_of_one_method_is_still_read(run: Any) -> None:
    old, _ = run(method="hires_cam", layer="features.4")
    new, _ = run(methods=["hires_cam"], **{"hires_cam.layer": "features.4"})
    assert list(old) == list(new) == ["hires_cam"]
    for name, (_, heat) in old["hires_cam"].items():
        assert np.array_equal(heat, new["hires_cam"][name][1])
