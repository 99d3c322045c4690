"""Score jobs: what they report is what the library computes of the same maps, masks, pictures and people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mlcore import metrics
from mlcore.attribution import METHODS
from mlcore.catalogue import Field, MetricSpec, register, unregister
from mlcore.metrics.base import Metric
from mlcore.metrics.ceiling import ceiling, share_of_ceiling
from mlcore.training.classifiers import build
from mlcore.training.jobs import CANCELLED, FAILED, SUCCEEDED, run_job
from mlcore.training.weights import save_weights
from tests.mlcore.training.test_explain_evaluate import images_of
from tests.mlcore.training.worlds import Events, make_items, make_job

COUNT, SIZE = 7, 48  # pictures are larger than the classifier's input of 32
TOY = "kept_confidence"


class KeptConfidence(Metric):
    """Probability of the explained class, less what the method's map of it, asked again, weighs there."""

    name = TOY
    takes = ("maps", "images", "targets", "names")

    def __init__(self, model: Any, explain: Any, weight: float = 0.5) -> None:
        super().__init__()
        self.model, self.explain, self.weight = model, explain, weight

    def update(self, maps: Tensor, images: Tensor, targets: Tensor, names: list[str]) -> None:
        with torch.no_grad():
            shares = self.model(images).softmax(1).gather(1, targets[:, None])[:, 0]
        again = (self.explain(images, targets) - maps).abs().amax(dim=(1, 2))
        for name, share, change in zip(names, shares.tolist(), again.tolist(), strict=True):
            self.record(name, self.weight * share - change)


@pytest.fixture(autouse=True)
def _toy_metric() -> Iterator[None]:
    register(
        MetricSpec(
            TOY, "Kept confidence", f"{__name__}.KeptConfidence", "For tests.", needs=("map", "model", "method"),
            fields=(Field("weight", "Weight", "float", 0.5),),
        )
    )  # fmt: skip
    yield
    unregister(TOY)


class Scene:
    """Pictures of 48 px with masks, a classifier at 32 px, maps of two methods in shards, drawings of two people."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self.folder = folder
        self.items = make_items(folder / "images", COUNT, size=SIZE)
        self.weights = save_weights(build("sixconv", 3), folder / "start.safetensors")
        self.model = build("sixconv", 3, weights=self.weights).eval()
        pictures = [Image.open(item["path"]).resize((32, 32), Image.Resampling.BILINEAR) for item in self.items]
        for item, picture in zip(self.items, pictures, strict=True):
            picture.save(folder / f"{item['id']}-small.png")
        self.images = images_of([{"path": folder / f"{item['id']}-small.png"} for item in self.items])
        self.masks = [torch.from_numpy(np.asarray(Image.open(item["truth"])) > 0) for item in self.items]
        self.labels = torch.tensor([item["label"] for item in self.items])
        self.maps: dict[str, Tensor] = {}
        self.people: dict[str, list[str]] = {}

    @property
    def names(self) -> list[str]:
        return [item["id"] for item in self.items]

    def set_of(self, method: str, targets: Tensor, **changes: Any) -> dict[str, Any]:
        """A set of maps as a job brings it, its maps in two shards."""
        maps = METHODS[method](self.model).explain(self.images, targets)
        self.maps[method] = maps
        paths = [str(self.folder / f"{method}-{number}.npz") for number in (0, 1)]
        for path, part in zip(paths, (maps[:4], maps[4:]), strict=True):
            np.savez_compressed(path, maps=part.numpy())
        return {
            "id": f"set of {method}",
            "classifier": {"architecture": "sixconv", "num_classes": 3, "weights": str(self.weights)},
            "class_specific": method != "centre",
            "transform": {"image_size": 32, "resize": "squash", "normalise": "none"},
            "method": method,
            "options": {},
            "shards": paths,
            "maps": {name: (place // 4, place % 4, int(targets[place])) for place, name in enumerate(self.names)},
        } | changes

    def draw(self, image: str, rectangles: list[tuple[int, int]]) -> None:
        """One person a rectangle (left, right): important between, unimportant around, the lowest rows unknown."""
        for number, (left, right) in enumerate(rectangles):
            values = np.full((SIZE, SIZE), 2, dtype=np.uint8)
            values[:, left:right] = 1
            values[40:] = 0
            path = self.folder / f"{image}-by-{number}.png"
            Image.fromarray(values).save(path)
            self.people.setdefault(image, []).append(str(path))

    def drawn(self, image: str) -> list[Tensor]:
        codes = torch.tensor([torch.nan, 1.0, 0.0])
        return [codes[torch.from_numpy(np.asarray(Image.open(path)).astype(np.int64))] for path in self.people[image]]

    def job(self, sets: list[dict[str, Any]], names: list[str], **recipe: Any) -> dict[str, Any]:
        made = make_job(
            self.folder / "out", {"validation": self.items}, kind="score", metrics=names, **{"batch_size": 3} | recipe
        )
        return made | {"classifier": None, "sets": sets, "people": self.people}

    def score(self, sets: list[dict[str, Any]], names: list[str], *, ends: int = SUCCEEDED, **recipe: Any) -> Any:
        """{set: {metric: row}} and the events."""
        events = Events()
        assert run_job(self.job(sets, names, **recipe), events) == ends, events[-1]
        found: dict[str, dict[str, Any]] = {}
        for event in events.of("scores"):
            for row in event["rows"]:
                found.setdefault(event["set"], {})[row["metric"]] = row
        return found, events


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def same(row: dict[str, Any], expected: dict[str, Any]) -> None:
    for key in ("value", "low", "high", "n"):
        assert row[key] == pytest.approx(expected[key], abs=1e-5), key
    assert row["per_image"] == pytest.approx(expected["per_image"], abs=1e-5)
    assert row["left_out"] == expected["left_out"]


def test_values_are_the_librarys(scene: Scene) -> None:
    scene.draw("i001", [(4, 20), (8, 30)])
    scene.draw("i004", [(10, 44)])
    both = [scene.set_of("grad_cam", scene.labels), scene.set_of("centre", scene.labels)]
    asked = ["content_heat_map", "pointing", "attention_iou_50", "complexity", TOY, "spearman", "average_drop"]
    found, events = scene.score(both, asked, **{"pointing.tolerance": 3, f"{TOY}.weight": 2.0, "average_drop.keep": 40})
    names = scene.names
    small = [torch.from_numpy(np.array(Image.fromarray(m.numpy()).resize((32, 32), 0))) for m in scene.masks]
    for method in ("grad_cam", "centre"):
        rows, maps = found[f"set of {method}"], scene.maps[method]
        given = {"names": names, "masks": scene.masks}
        same(rows["content_heat_map"], metrics.score("content_heat_map", maps, **given))
        same(rows["pointing"], metrics.score("pointing", maps, classes=scene.labels, tolerance=3, **given))
        same(rows["attention_iou_50"], metrics.score("attention_iou_50", maps, names=names, masks=small))
        same(rows["complexity"], metrics.score("complexity", maps, names=names))
        asked_again = {"model": scene.model, "explain": METHODS[method](scene.model).explain, "weight": 2.0}
        pictures = {"images": scene.images, "targets": scene.labels}
        same(rows[TOY], metrics.score(TOY, maps, names=names, **pictures, **asked_again))
        shown = {"model": scene.model, "normalisation": "none", "keep": 40}
        same(rows["average_drop"], metrics.score("average_drop", maps, names=names, **pictures, **shown))
        people = {"people": [scene.drawn("i001"), scene.drawn("i004")], "names": ["i001", "i004"]}
        expected = metrics.score("spearman", maps[[1, 4]], **people)
        same(rows["spearman"], expected | {"left_out": {"no person's map": COUNT - 2}})
    assert events.of("started")[0]["total_steps"] == COUNT * 2 * len(asked)
    scoring = [event for event in events.of("progress") if event["stage"] == "scoring"]
    assert scoring[-1]["step"] == COUNT * 2 * len(asked)
    between = ceiling("spearman", {image: scene.drawn(image) for image in ("i001", "i004")})
    told = events[-1]["ceiling"]["spearman"]
    assert {key: told[key] for key in between} == between
    assert (told["n"], told["pairs"], told["left_out"]) == (1, 1, {"fewer than two people": 1})
    values = found["set of grad_cam"]["spearman"]["per_image"]
    assert told["share"]["set of grad_cam"] == share_of_ceiling(values, between)


def test_what_cannot_be_judged_is_counted_by_its_reason(scene: Scene) -> None:
    scene.items[0] |= {"truth": None, "map": None}
    scene.items[1]["difficult"] = True
    wrong = scene.labels.clone()
    wrong[2:4] = (wrong[2:4] + 1) % 3
    cam = scene.set_of("grad_cam", wrong)
    del cam["maps"]["i006"]
    maps = torch.rand(COUNT, 4, 4)
    maps[5] = torch.nan
    for path, part in zip(cam["shards"], (maps[:4], maps[4:]), strict=True):
        np.savez_compressed(path, maps=part.numpy())
    centre = scene.set_of("centre", wrong)
    found, _ = scene.score([cam, centre], ["pointing", "content_heat_map"])
    rows = found["set of grad_cam"]
    assert rows["pointing"]["left_out"] == {
        "no mask or box": 1, "only difficult objects": 1, "explained class is not the object's": 2,
        "non-finite map": 1, "no map": 1,
    }  # fmt: skip
    assert list(rows["pointing"]["per_image"]) == ["i004"]
    assert rows["content_heat_map"]["left_out"] == {"no mask or box": 1, "non-finite map": 1, "no map": 1}
    # A baseline looks at no class: where another one was asked for makes no difference.
    assert found["set of centre"]["pointing"]["left_out"] == {"no mask or box": 1, "only difficult objects": 1}
    other = scene.set_of("grad_cam", scene.labels, comparable=False)
    found, _ = scene.score([other], ["pointing"])
    assert found["set of grad_cam"]["pointing"]["left_out"]["explained class is not the object's"] == COUNT - 1
    assert found["set of grad_cam"]["pointing"]["value"] is None


def test_a_crop_is_judged_by_what_the_classifier_saw(scene: Scene) -> None:
    cam = scene.set_of("grad_cam", scene.labels)
    cam["transform"] = {"image_size": 32, "resize": "none", "normalise": "none"}
    found, _ = scene.score([cam], ["content_heat_map"])
    seen = [mask[8:40, 8:40] for mask in scene.masks]
    same(
        found["set of grad_cam"]["content_heat_map"],
        metrics.score("content_heat_map", scene.maps["grad_cam"], masks=seen, names=scene.names),
    )


def test_refusals_and_cancelling(scene: Scene) -> None:
    cam = scene.set_of("grad_cam", scene.labels)

    def reason(one: dict[str, Any], names: list[str], **recipe: Any) -> str:
        _, events = scene.score([one], names, ends=FAILED, **recipe)
        return str(events[-1]["reason"])

    assert "no metric “luck”" in reason(cam, ["luck"])
    assert "does not exist any more" in reason(cam | {"shards": ["gone.npz", "gone.npz"]}, ["complexity"])
    (scene.folder / "bad.npz").write_bytes(b"no zip")
    assert "is damaged" in reason(cam | {"shards": [str(scene.folder / "bad.npz")] * 2}, ["complexity"])
    assert "Pointing game refuses its options" in reason(cam, ["pointing"], **{"pointing.tolerance": -1})
    assert "no method “tea_leaves”" in reason(cam | {"method": "tea_leaves"}, [TOY])
    assert "is not at hand" in reason(cam | {"classifier": None}, [TOY])
    scene.draw("i000", [(1, 2)])
    Image.new("P", (5, 5)).save(scene.people["i000"][0])
    assert "person's map of i000 is 5×5" in reason(cam, ["spearman"])
    asked = iter([False] * 2)
    asking: Callable[[], bool] = lambda: next(asked, True)  # noqa: E731
    events = Events()
    assert run_job(scene.job([cam], ["complexity"]), events, asking) == CANCELLED
    assert not events.of("scores")
