"""Runs that train grid consistency: decoy scenes through the one loop, resumed to the same weights."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from mlcore.attribution.head import closed_form_head
from mlcore.catalogue.recipes import RecipeError, clean
from mlcore.exchange.decoy import render_decoy
from mlcore.training import checkpoints
from mlcore.training.classifiers import build
from mlcore.training.jobs import CANCELLED
from mlcore.training.weights import load_weights
from tests.mlcore.training.worlds import make_items, make_job, run

Parts = dict[str, list[dict[str, Any]]]


@pytest.fixture
def scenes(tmp_path: Path) -> Parts:
    """Decoy scenes of four classes."""
    labels = render_decoy(tmp_path / "scenes", seed=3, per_part={"train": 24, "validation": 8}, size=48)
    parts: Parts = {"train": [], "validation": []}
    for row in csv.DictReader(labels.open(encoding="utf-8")):
        picture, mask = (str(labels.parent / folder / row["file"]) for folder in ("images", "masks"))
        parts[row["split"]].append(
            {"id": row["file"], "path": picture, "label": int(row["label"]), "map": None, "boxes": None,
             "w_p": 1.0, "w_a": 0.0, "truth": mask}
        )  # fmt: skip
    return parts


def grid(folder: Path, parts: Parts, **options: Any) -> dict[str, Any]:
    return make_job(folder, parts, classes=4, objective="grid", **{"image_size": 48, "preset": "default"} | options)


def weights_of(job: dict[str, Any]) -> dict[str, torch.Tensor]:
    return load_weights(Path(job["workdir"]) / "weights.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_decoy_scenes_become_more_consistent(tmp_path: Path, scenes: Parts) -> None:
    """Beside the same run with λ = 0, which is plain training with the consistency in its log."""
    options: dict[str, Any] = {"epochs": 12, "select": "best_accuracy", "flip": False}
    trained = run(grid(tmp_path / "a", scenes, grid_weight=100.0, **options))
    plain = run(grid(tmp_path / "b", scenes, grid_weight=0.0, **options))
    assert [value for _, value in trained.metric("train", "images_in_collage")] == [8.0] * 36
    assert [value for _, value in trained.metric("train", "images_without_collage")] == [0.0] * 36
    ends = [[value for _, value in events.metric("train", "consistency")][-12:] for events in (trained, plain)]
    assert sum(ends[0]) < 0.95 * sum(ends[1])
    assert trained.metric("validation", "accuracy")


def test_two_equal_runs_give_equal_weights_and_another_weight_does_not(tmp_path: Path, scenes: Parts) -> None:
    weights = {"a": 25.0, "b": 25.0, "c": 0.0}
    runs = [grid(tmp_path / name, scenes, epochs=1, grid_weight=weight) for name, weight in weights.items()]
    for job in runs:
        run(job)
    first, second, without = (weights_of(job) for job in runs)
    assert same(first, second)
    assert not same(first, without)


@pytest.mark.parametrize("asked_after", [4, 7])
def test_cancelled_and_resumed_equals_uninterrupted(tmp_path: Path, scenes: Parts, asked_after: int) -> None:
    options: dict[str, Any] = {"epochs": 3, "random_crop": True, "image_size": 40, "resize": "squash"}
    whole = grid(tmp_path / "whole", scenes, **options)
    run(whole)
    asked = iter([False] * (asked_after - 1))
    broken = run(grid(tmp_path / "broken", scenes, **options), lambda: next(asked, True), CANCELLED)
    checkpoint = Path(broken[-1]["checkpoint"])
    torch.rand(7)  # another process would have another random state
    resumed = grid(tmp_path / "resumed", scenes, resume=checkpoint.parent, **options)
    later = run(resumed)
    assert later.metric("train", "loss")[0][0] > 1, "it went on where it stopped"
    assert same(weights_of(whole), weights_of(resumed))
    assert int(checkpoints.load(tmp_path / "resumed")["objective"]["steps"]) == 9


def test_a_global_max_pool_is_trained_and_kept(tmp_path: Path, scenes: Parts) -> None:
    """Its maps come by a second backward pass; its weights are those of a ResNet, so the name has to tell the pool."""
    parts = {"train": scenes["train"][:4]}
    run(grid(tmp_path / "a", parts, architecture="resnet18_max_pool", epochs=1, batch_size=4))
    later = grid(
        tmp_path / "b", parts, architecture="resnet18_max_pool", weights=tmp_path / "a" / "weights.safetensors",
        epochs=1, batch_size=4,
    )  # fmt: skip
    events = run(later)
    assert [value for _, value in events.metric("train", "images_in_collage")] == [4.0]
    assert not same(weights_of(later), load_weights(tmp_path / "a" / "weights.safetensors"))
    spec = load_weights(tmp_path / "a" / "weights.safetensors")
    model = build("resnet18_max_pool", 4, weights=tmp_path / "a" / "weights.safetensors")
    assert same(model.state_dict(), spec)
    assert closed_form_head(model, "layer4") is None


def test_one_class_alone_has_no_collages(tmp_path: Path) -> None:
    parts = {"train": make_items(tmp_path / "train", 8, classes=1)}
    events = run(make_job(tmp_path / "a", parts, objective="grid", preset="default", epochs=1))
    assert [value for _, value in events.metric("train", "images_without_collage")] == [8.0]
    assert [value for _, value in events.metric("train", "consistency")] == [0.0]


def test_the_recipe_brings_its_own_fields() -> None:
    recipe = clean("train", {"objective": "grid"})
    assert (recipe["grid_weight"], recipe["detach_target"], recipe["preset"], recipe["layer"]) == (
        25.0, False, "default", "",
    )  # fmt: skip
    with pytest.raises(RecipeError):
        clean("train", {"objective": "grid", "grid_weight": -1})
    with pytest.raises(RecipeError):
        clean("train", {"objective": "grid", "preset": "gradia"})
