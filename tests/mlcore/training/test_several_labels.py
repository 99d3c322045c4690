"""Runs on images with several labels: the drawn category, training, resuming, the choice of an epoch, maps."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mlcore.metrics.average_precision import MeanAveragePrecision
from mlcore.metrics.base import boxes_to_mask
from mlcore.metrics.content_heat_map import ContentHeatMap
from mlcore.objectives.base import Objective
from mlcore.objectives.grid import GridConsistency
from mlcore.objectives.supervised import Supervised
from mlcore.training.classifiers import build
from mlcore.training.data import Augmentation, BatchLoader, Frames, to_input
from mlcore.training.job import Item, parse
from mlcore.training.jobs import CANCELLED, FAILED
from mlcore.training.optimisation import Schedule
from mlcore.training.pictures import Geometry
from mlcore.training.stepping import cut
from mlcore.training.weights import load_weights
from tests.mlcore.training.test_stepping import gradient, network, pictures, stepper
from tests.mlcore.training.worlds import make_job, run

Parts = dict[str, list[dict[str, Any]]]
KINDS = ((0,), (1,), (2,), (0, 1), (1, 1, 2), (2, 0))  # the annotations of an image
SIDE = 32


def make_items(folder: Path, count: int, *, seed: int) -> list[dict[str, Any]]:
    """Noisy pictures with a square for each annotation, whose colour is its class; boxes of the first one's class."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    items = []
    for index in range(count):
        labels = KINDS[index % len(KINDS)]
        picture = rng.integers(60, 120, (SIDE, SIDE, 3), dtype=np.uint8)
        boxes = []
        for place, label in zip(rng.permutation(4), labels, strict=False):
            top, left = place // 2 * 16 + int(rng.integers(0, 6)), place % 2 * 16 + int(rng.integers(0, 6))
            picture[top : top + 9, left : left + 9, label] = 250
            if label == labels[0]:
                boxes.append([int(left), int(top), int(left) + 9, int(top) + 9])
        path = folder / f"{index:03d}.png"
        Image.fromarray(picture).save(path)
        items.append({"id": f"{folder.name}-{index:03d}", "path": str(path), "labels": list(labels), "boxes": boxes})
    return items


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return {name: make_items(tmp_path / name, count, seed=count) for name, count in (("train", 24), ("validation", 12))}


def several(folder: Path, parts: Parts, **options: Any) -> dict[str, Any]:
    kind = options.pop("kind", "train")
    return make_job(folder, parts, kind=kind, **{"labels": "several", "preset": "default"} | options)


def weights_of(job: dict[str, Any]) -> dict[str, torch.Tensor]:
    return load_weights(Path(job["workdir"]) / "weights.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def loader(items: list[Item], **options: Any) -> BatchLoader:
    augmentation = Augmentation(any_annotation=options.pop("any_annotation", True))
    return BatchLoader(Frames(items, Geometry(SIDE, "none")), 8, augmentation=augmentation, classes=3, **options)


def drawn(made: BatchLoader, epoch: int) -> dict[str, int]:
    return {name: label for raw in made.epoch(epoch) for name, label in zip(raw.ids, raw.labels.tolist(), strict=True)}


def test_the_category_is_that_of_a_random_annotation(tmp_path: Path, parts: Parts) -> None:
    items = parse(several(tmp_path / "a", parts)).parts["train"]
    assert [item.label for item in items] == [item.labels[0] for item in items]
    seen = Counter((item.labels, label) for epoch in range(60) for item in items[3:6]
                   for label in [drawn(loader([item], seed=1), epoch)[item.id]])  # fmt: skip
    assert set(seen) == {((0, 1), 0), ((0, 1), 1), ((1, 1, 2), 1), ((1, 1, 2), 2), ((2, 0), 2), ((2, 0), 0)}
    assert 20 <= seen[(0, 1), 0] <= 40
    assert 30 <= seen[(1, 1, 2), 1] <= 50, "two annotations of three are of class 1"


def test_it_depends_on_seed_epoch_and_image_alone(tmp_path: Path, parts: Parts) -> None:
    items = parse(several(tmp_path / "a", parts)).parts["train"]
    first = drawn(loader(items, seed=1), 3)
    assert drawn(loader(items[::-1], seed=1, shuffle=True), 3) == first
    assert drawn(loader(items[6:], seed=1), 3) == dict(list(first.items())[6:])
    assert drawn(loader(items, seed=2), 3) != first
    assert drawn(loader(items, seed=1), 4) != first
    assert drawn(loader(items, seed=1, any_annotation=False), 3) == {item.id: item.label for item in items}


def test_targets_are_every_label_once(tmp_path: Path, parts: Parts) -> None:
    items = parse(several(tmp_path / "a", parts)).parts["train"]
    batch = next(loader(items[:6]).epoch()).to_batch(torch.device("cpu"), "none")
    assert batch.targets is not None
    assert batch.targets.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]]
    plain = BatchLoader(Frames(items[:6], Geometry(SIDE, "none")), 8)
    assert next(plain.epoch()).to_batch(torch.device("cpu"), "none").targets is None


@pytest.mark.parametrize("objective", ["supervised", "grid"])
def test_it_learns_and_keeps_the_best_mean_average_precision(tmp_path: Path, parts: Parts, objective: str) -> None:
    options = {
        "objective": objective,
        "epochs": 8,
        "select": "best_accuracy",
        "learning_rate": 3e-3,
        "grid_weight": 1.0,
    }
    job = several(tmp_path / "a", parts, **options)
    events = run(job)
    assert "Images have several labels: the epoch with the best mean average precision" in events.of("log")[0]["text"]
    curve = [value for _, value in events.metric("validation", "mean_average_precision")]
    assert events.metric("validation", "accuracy") == events.metric("train", "accuracy") == []
    assert len(events.metric("train", "highest_is_a_label")) == 8
    assert max(curve) > 0.95 > curve[0]
    result = events[-1]
    assert result["selected_epoch"] == curve.index(max(curve)) + 1
    (scores,) = events.of("scores")
    rows = {row["metric"]: row for row in scores["rows"]}
    assert rows["mean_average_precision"]["value"] == max(curve)
    assert (rows["mean_average_precision"]["n"], rows["mean_average_precision"]["per_image"]) == (12, {})
    assert {"pointing", "content_heat_map", "attention_iou_50"} <= rows.keys()

    model = build("sixconv", 3, weights=Path(job["workdir"]) / "weights.safetensors").eval()
    items = parts["validation"]
    pictures = torch.stack([torch.from_numpy(np.array(Image.open(item["path"]))) for item in items])
    with torch.no_grad():
        logits = model(to_input(pictures, "none"))
    targets = torch.tensor([[float(one in item["labels"]) for one in range(3)] for item in items])
    metric = MeanAveragePrecision()
    metric.update(logits, targets, [item["id"] for item in items])
    assert metric.compute()["value"] == pytest.approx(max(curve), abs=1e-6)
    (said,) = events.of("predictions")
    for row, scores_of in zip(said["rows"], logits, strict=True):
        assert row["label"] == int(scores_of.argmax())
        assert row["confidence"] == pytest.approx(float(scores_of.max().sigmoid()), abs=1e-5)


def test_the_loss_on_validation_is_weighted_as_in_training(tmp_path: Path, parts: Parts) -> None:
    found = [
        run(several(tmp_path / name, parts, epochs=1, learning_rate=1e-8, bce_weight=weight, batch_size=24))
        for name, weight in (("a", 80.0), ("b", 1.0))
    ]
    losses = [events.metric("validation", "loss")[0][1] for events in found]
    assert losses[0] == pytest.approx(80 * losses[1], rel=1e-5)
    first = [events.metric("train", "loss")[0][1] for events in found]
    assert first[0] == pytest.approx(80 * first[1], rel=1e-5)
    assert 0.5 < losses[1] < 1.0  # about ln 2 before anything is learned


@pytest.mark.parametrize("objective", ["supervised", "grid"])
@pytest.mark.parametrize("asked_after", [4, 7])
def test_cancelled_and_resumed_equals_uninterrupted(
    tmp_path: Path, parts: Parts, objective: str, asked_after: int
) -> None:
    options = {"objective": objective, "epochs": 3, "select": "best_accuracy"}
    whole = several(tmp_path / "whole", parts, **options)
    run(whole)
    asked = iter([False] * (asked_after - 1))
    broken = run(several(tmp_path / "broken", parts, **options), lambda: next(asked, True), CANCELLED)
    torch.rand(7)  # another process would have another random state
    checkpoint = Path(broken[-1]["checkpoint"])
    resumed = several(tmp_path / "resumed", parts, resume=checkpoint.parent, **options)
    assert run(resumed).metric("train", "loss")[0][0] > 1, "it went on where it stopped"
    assert same(weights_of(whole), weights_of(resumed))
    changed = {name: [dict(item) for item in items] for name, items in parts.items()}
    changed["train"][3]["labels"] = [0, 2]
    other = several(tmp_path / "other", changed, resume=checkpoint.parent, **options)
    assert "other images" in run(other, status=FAILED)[-1]["reason"]


def test_the_drawn_category_decides_the_collages(tmp_path: Path, parts: Parts) -> None:
    """An image lies beside images that lack its drawn class; of a class that all have there is no collage."""
    events = run(several(tmp_path / "a", parts, objective="grid", epochs=1, batch_size=24))
    (counts,) = [{name: events.metric("train", name)[0][1] for name in ("images_in_collage", "images_without_collage")}]
    assert counts == {"images_in_collage": 24, "images_without_collage": 0}
    everywhere = [dict(item, labels=[0, *item["labels"]]) for item in parts["train"] if item["labels"][0] == 0]
    few = run(several(tmp_path / "b", {"train": everywhere}, objective="grid", epochs=1, batch_size=24))
    seen = parse(several(tmp_path / "c", {"train": everywhere})).parts["train"]
    labels = drawn(loader(seen, seed=5), 0)
    without = sum(label == 0 for label in labels.values())
    assert 0 < without < len(everywhere)
    assert few.metric("train", "images_without_collage")[0][1] == without


def test_evaluation_and_maps_of_the_first_annotation(tmp_path: Path, parts: Parts) -> None:
    run(several(tmp_path / "a", parts, epochs=8, learning_rate=3e-3))
    weights = tmp_path / "a" / "weights.safetensors"
    part = {"validation": parts["validation"]}
    events = run(several(tmp_path / "b", part, kind="evaluate", weights=weights))
    rows = {row["metric"]: row for row in events.of("scores")[0]["rows"]}
    assert rows["mean_average_precision"]["n"] == 12
    assert "accuracy" not in rows
    maps = run(several(tmp_path / "c", part, kind="explain", weights=weights, target="true", methods=["grad_cam"]))
    targets = [row["target"] for row in maps.of("shard")[0]["rows"]]
    assert targets == [item["labels"][0] for item in part["validation"]]
    content = ContentHeatMap()
    masks = [boxes_to_mask(item["boxes"], SIDE, SIDE) for item in part["validation"]]
    with np.load(tmp_path / "c" / maps.of("shard")[0]["path"]) as arrays:
        content.update(torch.from_numpy(arrays["maps"]), masks, [item["id"] for item in part["validation"]])
    assert rows["content_heat_map"]["n"] == len(content.per_image) > 6
    assert rows["content_heat_map"]["per_image"] == pytest.approx(content.per_image, abs=1e-5)
    confidences = [[row["confidence"] for row in said.of("predictions")[0]["rows"]] for said in (events, maps)]
    assert confidences[0] == pytest.approx(confidences[1], abs=1e-6)


def test_what_does_not_fit_is_refused_by_a_sentence(tmp_path: Path, parts: Parts) -> None:
    parts["train"][3]["labels"] = [0, 7]
    reason = run(several(tmp_path / "a", parts), status=FAILED)[-1]["reason"]
    assert reason == "The image train-003 has label 7; the labels are 0 to 2."
    parts["train"][3]["labels"] = []
    assert "has no label" in run(several(tmp_path / "b", parts), status=FAILED)[-1]["reason"]


def test_a_step_schedule_by_named_epochs() -> None:
    schedule = Schedule("step", 0.01, steps_per_epoch=5, total=180, step_epochs=30, step_at=(24, 30))
    rates = [schedule.at(epoch * 5 + step) for epoch in range(36) for step in (0, 4)]
    assert rates == pytest.approx([0.01] * 48 + [0.001] * 12 + [0.0001] * 12)
    plain = Schedule("step", 0.01, steps_per_epoch=5, total=180, step_epochs=12)
    assert [plain.at(epoch * 5) for epoch in (0, 11, 12, 24)] == pytest.approx([0.01, 0.01, 0.001, 0.0001])


def test_micro_batches_carry_their_targets(tmp_path: Path, parts: Parts) -> None:
    items = parse(several(tmp_path / "a", parts)).parts["train"]
    batch = next(loader(items[:7]).epoch()).to_batch(torch.device("cpu"), "none")
    pieces = list(cut(batch, 3))
    assert batch.targets is not None
    assert torch.equal(torch.cat([piece.targets for piece in pieces if piece.targets is not None]), batch.targets)
    assert all(len(piece.labels) == len(piece.targets) for piece in pieces if piece.targets is not None)
    logits = torch.eye(3)[[0, 0, 2, 1, 0, 1, 0]]
    assert int(batch.hits(logits)) == 4  # of 0, 1, 2, 01, 12, 20, 0
    assert sum(int(piece.hits(part)) for piece, part in zip(pieces, logits.split([2, 2, 3]), strict=True)) == 4


@pytest.mark.parametrize("objective", [Supervised(), GridConsistency(grid_weight=0.0)])
@pytest.mark.parametrize(("pieces", "count"), [(2, 8), (3, 11)])
def test_parts_have_the_gradient_of_the_whole_batch(objective: Objective, pieces: int, count: int) -> None:
    batch = pictures(count, drawn=0)
    batch.targets = torch.nn.functional.one_hot(batch.labels, 3).float()
    batch.targets[::2, 2] = 1.0
    found = []
    for number in (1, pieces):
        taken = stepper(network(), objective, number)
        numbers = taken.gradients(batch)
        found.append((gradient(taken.learning), numbers))
    (whole, told), (cut_up, told_of_parts) = found
    assert whole.abs().max() > 1e-2
    assert torch.allclose(cut_up, whole, atol=1e-5, rtol=1e-5)
    assert told_of_parts.loss == pytest.approx(told.loss, rel=1e-6)
    assert (told_of_parts.hits, told_of_parts.images) == (told.hits, told.images)
