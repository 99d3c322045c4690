"""Explanation and evaluation jobs."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mlcore.attribution.grad_cam import GradCAM
from mlcore.training.classifiers import build
from mlcore.training.explain import SHARD_MAPS
from mlcore.training.jobs import CANCELLED, FAILED, SUCCEEDED, run_job
from mlcore.training.weights import save_weights
from tests.mlcore.training.worlds import Events, make_items, make_job


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return save_weights(build("sixconv", 3), tmp_path / "start.safetensors")


def images_of(items: list[dict[str, Any]]) -> torch.Tensor:
    pictures = np.stack([np.asarray(Image.open(item["path"])) for item in items])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def rows_and_maps(folder: Path, events: Events) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    rows, maps = {}, {}
    for event in events.of("shard"):
        with np.load(folder / event["path"]) as arrays:
            assert arrays["maps"].dtype == np.float32
            assert len(arrays["maps"]) == len(event["rows"]) <= SHARD_MAPS
            for row in event["rows"]:
                assert row["image"] not in rows
                rows[row["image"]] = row
                maps[row["image"]] = arrays["maps"][row["index"]]
    return rows, maps


@pytest.mark.parametrize("target", ["true", "predicted", "second", "given"])
def test_maps_are_those_of_grad_cam_for_the_target(tmp_path: Path, weights: Path, target: str) -> None:
    items = make_items(tmp_path / "images", 7)
    events = Events()
    job = make_job(
        tmp_path / "out", {"annotation_pool": items}, kind="explain", weights=weights,
        method="grad_cam", target=target, target_class=2, batch_size=3,
    )  # fmt: skip
    assert run_job(job, events) == SUCCEEDED
    rows, maps = rows_and_maps(tmp_path / "out", events)
    model = build("sixconv", 3, weights=weights).eval()
    images = images_of(items)
    with torch.no_grad():
        order = model(images).argsort(1, descending=True)
    labels = torch.tensor([item["label"] for item in items])
    expected = {
        "true": labels, "predicted": order[:, 0], "second": order[:, 1], "given": torch.full((7,), 2),
    }[target]  # fmt: skip
    heat = GradCAM(model).explain(images, expected)
    for index, item in enumerate(items):
        row = rows[item["id"]]
        assert row["target"] == int(expected[index])
        assert (row["height"], row["width"]) == tuple(maps[item["id"]].shape) == (4, 4)
        assert np.allclose(maps[item["id"]], heat[index], atol=1e-5)
        assert row["maximum"] == pytest.approx(float(heat[index].max()), abs=1e-5)
        assert row["status"] == ("constant" if float(heat[index].max()) == 0 else "ok")


def test_skipped_images_are_never_written_and_shards_never_overwritten(tmp_path: Path, weights: Path) -> None:
    items = make_items(tmp_path / "images", 6)

    def explain(skip: list[str]) -> dict[str, Any]:
        events = Events()
        job = make_job(
            tmp_path / "out", {"annotation_pool": items[:4], "validation": items[4:]}, kind="explain",
            weights=weights, target="predicted", skip=skip,
        )  # fmt: skip
        assert run_job(job, events) == SUCCEEDED
        assert events[-1]["summary"]["maps"] == 6 - len(skip)
        return rows_and_maps(tmp_path / "out", events)[0]

    first = explain(["i000", "i004", "i005"])
    assert sorted(first) == ["i001", "i002", "i003"]
    before = (tmp_path / "out" / "explanations-00000.npz").read_bytes()
    second = explain(list(first))
    assert sorted(second) == ["i000", "i004", "i005"]
    assert (tmp_path / "out" / "explanations-00000.npz").read_bytes() == before
    assert explain([item["id"] for item in items]) == {}
    assert len(list((tmp_path / "out").glob("explanations-*.npz"))) == 2


def test_a_cancelled_explanation_reports_what_it_has(tmp_path: Path, weights: Path) -> None:
    items = make_items(tmp_path / "images", 6)
    job = make_job(tmp_path / "out", {"train": items}, kind="explain", weights=weights, batch_size=2)
    asked = iter([False, False])
    events = Events()
    assert run_job(job, events, lambda: next(asked, True)) == CANCELLED
    rows, _ = rows_and_maps(tmp_path / "out", events)
    assert sorted(rows) == ["i000", "i001", "i002", "i003"]


def test_explanation_refusals(tmp_path: Path, weights: Path) -> None:
    items = make_items(tmp_path / "images", 2)

    def reason(**recipe: Any) -> str:
        events = Events()
        job = make_job(tmp_path / "out", {"train": items}, kind="explain", weights=weights, **recipe)
        assert run_job(job, events) == FAILED
        return str(events[-1]["reason"])

    assert "target" in reason(target="best")
    assert "no method “tea_leaves”" in reason(method="tea_leaves")
    assert "nowhere" in reason(layer="nowhere")
    assert "classes 0 to 2" in reason(target="given", target_class=9)
    items[1]["label"] = None
    assert "i001 has no label" in reason(target="true")


def test_scores_equal_a_direct_computation(tmp_path: Path, weights: Path) -> None:
    items = make_items(tmp_path / "images", 9)
    items[0] |= {"truth": None, "map": None}
    events = Events()
    job = make_job(
        tmp_path / "out", {"validation": items}, kind="evaluate", weights=weights, batch_size=4,
        pointing_tolerance=2,
    )  # fmt: skip
    assert run_job(job, events) == SUCCEEDED
    model = build("sixconv", 3, weights=weights).eval()
    images, labels = images_of(items), torch.tensor([item["label"] for item in items])
    with torch.no_grad():
        shares = model(images).softmax(1)
        features = model.features(images)
    predicted = shares.argmax(1)
    (predictions,) = events.of("predictions")
    assert [row["label"] for row in predictions["rows"]] == predicted.tolist()
    assert [row["confidence"] for row in predictions["rows"]] == pytest.approx(shares.max(1).values.tolist(), abs=1e-5)
    (scores,) = events.of("scores")
    rows = {row["metric"]: row for row in scores["rows"]}
    assert scores["part"] == "validation"
    assert rows["accuracy"]["value"] == pytest.approx(float((predicted == labels).float().mean()))

    def heat(index: int, label: int) -> np.ndarray:
        raw = torch.einsum("chw,c->hw", features[index], model.classifier.weight[label].detach()) / 16
        large = torch.nn.functional.interpolate(
            raw.clamp(min=0)[None, None], size=(32, 32), mode="bilinear", align_corners=False
        )
        return large[0, 0].numpy()

    for threshold, name in ((0.5, "attention_iou_50"), (0.75, "attention_iou_75")):
        expected = {}
        for index in range(1, 9):
            values = heat(index, int(predicted[index]))
            span = values.max() - values.min()
            if span > 0:
                bright = (values - values.min()) / span > threshold
                mask = np.asarray(Image.open(items[index]["truth"])) > 0
                expected[items[index]["id"]] = (bright & mask).sum() / (bright | mask).sum()
        assert rows[name]["per_image"] == pytest.approx(expected, abs=1e-4)
        assert rows[name]["value"] == pytest.approx(np.mean(list(expected.values())), abs=1e-4)
        assert rows[name]["left_out"]["no mask or box"] == 1
    for index in range(1, 9):
        values = heat(index, int(labels[index]))
        if values.max() > values.min():
            top = np.array(np.unravel_index(values.argmax(), values.shape))
            inside = np.argwhere(np.asarray(Image.open(items[index]["truth"])) > 0)
            near = np.linalg.norm(inside - top, axis=1).min() < 2
            assert rows["pointing"]["per_image"][items[index]["id"]] == float(near)


def test_squeezenet_recognises_published_validation_images(test_data: Path, tmp_path: Path) -> None:
    with (test_data / "imagenet_val" / "labels.csv").open() as stream:
        known = list(csv.DictReader(stream))[:100]
    items = [
        {
            "id": row["file"],
            "path": str(test_data / "imagenet_val" / "images" / row["file"]),
            "label": int(row["label"]),
        }
        for row in known
    ]
    job = make_job(
        tmp_path / "out", {"test": items}, kind="evaluate", classes=1000, architecture="squeezenet1_1",
        weights=test_data / "weights" / "squeezenet1_1_imagenet.npz", image_size=224, resize="none",
        normalise="imagenet", batch_size=25,
    )  # fmt: skip
    events = Events()
    assert run_job(job, events) == SUCCEEDED
    (scores,) = events.of("scores")
    accuracy = next(row for row in scores["rows"] if row["metric"] == "accuracy")
    assert accuracy["n"] == 100
    assert accuracy["value"] >= 0.65
