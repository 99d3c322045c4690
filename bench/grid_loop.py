"""Does grid consistency move what a classifier looks at onto the object? (docs/grid.md)

    HARMONY_TEST_DATA=... HARMONY_VAR=... python -m bench.grid_loop butterflies|imagenet|decoy [--seeds 1 2 3]
        [--part test|validation] [--set name=value ...] [--out FILE]

For each seed the same recipe trains twice: with the objective `supervised`, and with `grid`. Start, images, order,
augmentation, steps and the epoch that is kept (the last) are the same. Then the maps of the TRUE class are compared
with the objects of images that neither trained nor chose anything.

butterflies  photographs with masks; the partition is the seed's own;
imagenet     400 validation photographs with boxes; the seed says which train (the classifier knows the classes);
decoy        scenes with a misleading mark, a world for each seed (docs/decoy.md).

Beside the maps stand their own baselines: each image's map laid on another image, a blob in the middle, and noise.
Intervals are 95 % over images; differences are taken image by image. Finished runs are kept below HARMONY_VAR (or
./var): an interrupted experiment goes on where it was. Settings were chosen by `--seeds 0 --part validation --set ...`.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.decoy_loop import items_of
from mlcore.attribution import METHODS
from mlcore.exchange.decoy import CLASSES, render_decoy
from mlcore.exchange.decoy_settings import DEMO
from mlcore.metrics import make
from mlcore.metrics.accuracy import Accuracy
from mlcore.metrics.base import Metric, feed
from mlcore.training.classifiers import build
from mlcore.training.data import BatchLoader, Frames
from mlcore.training.job import Item
from mlcore.training.jobs import run_job
from mlcore.training.pictures import Geometry, reference_in_window

Items = list[dict[str, Any]]
Values = dict[str, dict[str, float | str]]  # metric → image → value, or why it has none

OBJECTIVES = ("supervised", "grid")
MAPS = ("grad_cam", "hires_cam")
ON_OTHERS = "grad_cam on another image"
BASELINES = ("centre", "random")
ROWS = {
    "grad_cam": "Grad-CAM",
    "hires_cam": "HiResCAM",
    ON_OTHERS: "Grad-CAM of another image",
    "centre": "image centre",
    "random": "noise",
}
COLUMNS = {
    "accuracy": "top-1, %",
    "pointing": "pointing game, %",
    "stochastic_pointing": "stochastic pointing, %",
    "content_heat_map": "content heat map, %",
}
ON_MAPS = tuple(COLUMNS)[1:]
MUST_RISE = ("stochastic_pointing", "content_heat_map")
POINTS_LOST = 2.0  # of top-1, at most
GRID_ALONE = ("grid_weight", "detach_target", "preset", "layer")


@dataclass(frozen=True)
class Experiment:
    """An image set with its classifier; `recipe` is of both runs, `grid` of the second alone."""

    architecture: str
    classes: int
    recipe: dict[str, Any]
    grid: dict[str, Any]
    weights: str | None = None
    per_class: tuple[int, int] | None = None  # images of a class that train and that validate


EXPERIMENTS = {
    "butterflies": Experiment(
        "squeezenet1_1",
        10,
        {"image_size": 132, "epochs": 10, "batch_size": 16, "optimizer": "adam", "learning_rate": 1e-4,
         "schedule": "cosine", "flip": True},
        {"grid_weight": 25.0},
        "squeezenet1_1_imagenet.npz",
        (20, 10),
    ),
    "imagenet": Experiment(
        "squeezenet1_1",
        1000,
        {"image_size": 196, "epochs": 3, "batch_size": 16, "optimizer": "adam", "learning_rate": 1e-5,
         "schedule": "cosine", "flip": True},
        {"grid_weight": 25.0},
        "squeezenet1_1_imagenet.npz",
    ),
    "decoy": Experiment(
        "sixconv",
        4,
        {key: value for key, value in DEMO["phase_1"].items() if key not in ("architecture", "objective", "select")},
        {"grid_weight": 25.0},
    ),
}  # fmt: skip


def parts_of(name: str, seed: int, folder: Path, data: Path) -> dict[str, Items]:
    """train, validation and test of a seed."""
    if name == "decoy":
        world = folder / f"world-{seed}"
        if not (world / "labels.csv").exists():  # written last
            render_decoy(world, seed=seed, **DEMO["world"])
        parts = items_of(world)
        return {part: parts[part] for part in ("train", "validation", "test")}
    found = butterflies(data) if name == "butterflies" else photographs(data)
    rng = np.random.default_rng(seed)
    per_class = EXPERIMENTS[name].per_class
    if per_class is None:  # a class has hardly more than one image
        order = rng.permutation(len(found))
        return {
            part: [found[index] for index in sorted(order[cut])]
            for part, cut in (("train", slice(160)), ("validation", slice(160, 200)), ("test", slice(200, None)))
        }
    train, validation = per_class
    parts = {"train": [], "validation": [], "test": []}
    for label in sorted({item["label"] for item in found}):
        mine = [item for item in found if item["label"] == label]
        for place, index in enumerate(rng.permutation(len(mine))):
            part = "train" if place < train else "validation" if place < train + validation else "test"
            parts[part].append(mine[index])
    return {part: sorted(items, key=lambda item: item["id"]) for part, items in parts.items()}


def butterflies(data: Path) -> Items:
    """All photographs with their masks."""
    folder = data / "butterflies"
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        return [
            {
                "id": row["file"],
                "path": str(folder / "images" / row["file"]),
                "label": int(row["label"]),
                "truth": str(folder / "masks" / f"{Path(row['file']).stem}.png"),
            }
            for row in csv.DictReader(stream)
        ]


def photographs(data: Path) -> Items:
    """ImageNet's, with the boxes of their class."""
    folder = data / "imagenet_val"
    boxes: dict[str, list[list[float]]] = {}
    with (folder / "boxes.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            boxes.setdefault(row["file"], []).append([float(row[key]) for key in ("x0", "y0", "x1", "y1")])
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        return [
            {
                "id": row["file"],
                "path": str(folder / "images" / row["file"]),
                "label": int(row["label"]),
                "boxes": boxes[row["file"]],
            }
            for row in csv.DictReader(stream)
        ]


def train(place: Path, job: dict[str, Any]) -> Path:
    """Run one training job in this process; the kept weights. Exits on failure."""
    last: dict[str, dict[str, Any]] = {}

    def emit(event: dict[str, Any]) -> None:
        last[event["event"]] = event

    if run_job(job, emit) != 0:
        sys.exit(f"{place.name}: {last.get('failed', {}).get('reason', 'failed')}")
    return place / str(last["result"]["weights"])


def look(one: Experiment, weights: Path, items: Items) -> dict[str, Values]:
    """Row → metric → image → value: the classifier's answers and maps, and the maps' baselines."""
    model = build(one.architecture, one.classes, weights=weights).eval()
    given = [Item(**item) for item in items]
    geometry = Geometry(one.recipe["image_size"], one.recipe.get("resize", "squash"))
    maps: dict[str, list[torch.Tensor]] = {}
    right = Accuracy()
    for raw in BatchLoader(Frames(given, geometry, cache=False), 32).epoch():
        batch = raw.to_batch(torch.device("cpu"), one.recipe.get("normalise", "imagenet"))
        with torch.inference_mode():
            feed(right, {"logits": model(batch.images), "labels": raw.labels, "names": raw.ids})
        for method in (*MAPS, *BASELINES):
            maps.setdefault(method, []).append(METHODS[method](model).explain(batch.images, batch.labels))
    masks = [torch.from_numpy(np.ascontiguousarray(reference_in_window(item, geometry))) for item in given]
    found = {"": {"accuracy": values_of(right)}}
    for row in ROWS:
        heat = torch.cat(maps["grad_cam" if row == ON_OTHERS else row])
        if row == ON_OTHERS:
            heat = heat.roll(len(heat) // 2, dims=0)
        found[row] = {}
        for name in ON_MAPS:
            metric = make(name)
            names, classes = [item.id for item in given], [item.label for item in given]
            feed(metric, {"maps": heat, "masks": masks, "names": names, "classes": classes})
            found[row][name] = values_of(metric)
    return found


def values_of(metric: Metric) -> dict[str, float | str]:
    """Image → value, or the reason why it has none."""
    return metric.per_image | {image: why for why, images in metric.left_out.items() for image in images}


def figures(
    name: str, objective: str, seed: int, part: str, changes: Mapping[str, Any], folder: Path, data: Path
) -> dict[str, Values]:
    """`look` at one run, which is made where it is not there yet."""
    one = EXPERIMENTS[name]
    recipe = one.recipe | {"objective": objective, "select": "last"}
    recipe |= {key: value for key, value in changes.items() if key not in GRID_ALONE}
    if objective == "grid":
        recipe |= one.grid | {key: value for key, value in changes.items() if key in GRID_ALONE}
    said = json.dumps([name, seed, recipe, one.architecture, one.per_class, DEMO["world"]], sort_keys=True)
    place = folder / f"{seed}-{objective}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
    record = place / f"{part}.json"
    if record.exists():
        return json.loads(record.read_text())
    parts = parts_of(name, seed, folder, data)
    weights = place / "weights.safetensors"
    if not weights.exists():
        print(f"{name}, seed {seed}: training {objective}", file=sys.stderr, flush=True)
        classifier = {"architecture": one.architecture, "num_classes": one.classes, "replace_head": True}
        if one.weights:
            classifier["weights"] = str(data / "weights" / one.weights)
        job = {
            "version": 1,
            "kind": "train",
            "run": place.name,
            "attempt": "1",
            "workdir": str(place),
            "seed": seed,
            "device": "cpu",
            "recipe": recipe,
            "classes": list(CLASSES) if name == "decoy" else [],
            "classifier": classifier,
            "parts": {key: parts[key] for key in ("train", "validation")},
        }
        train(place, job)
    found = look(one, weights, parts[part])
    fresh = record.with_suffix(".part")
    fresh.write_text(json.dumps(found))
    fresh.replace(record)
    return found


def metric_of(name: str, values: Mapping[str, float | str], labels: Mapping[str, int]) -> Metric:
    """The metric as if it had just found these values; it knows its mean and its interval."""
    metric: Metric = Accuracy() if name == "accuracy" else make(name)
    for image, value in values.items():
        metric.note(image, value)
        if name == "pointing":
            metric.classes[image] = labels[image]  # type: ignore[attr-defined]
    return metric


def difference(after: Mapping[str, float | str], before: Mapping[str, float | str]) -> dict[str, float | str]:
    """Image by image, after − before, of the images that have both values."""
    return {
        image: value - before[image]
        for image, value in after.items()
        if not isinstance(value, str) and not isinstance(before.get(image, ""), str)
    }


def cell(metric: Metric, *, signed: bool = False) -> str:
    """Value in percent with its interval."""
    value, interval = metric.mean(), metric.interval()
    if value is None or interval is None:
        return "–"
    sign = "+" if signed else ""
    low, high = (100 * end for end in interval)
    return f"{100 * value:{sign}.1f} ({low:{sign}.1f} – {high:{sign}.1f})"


Runs = dict[tuple[int, str], dict[str, Values]]  # (seed, objective) → `look`


def tables(runs: Runs, labels: Mapping[int, Mapping[str, int]]) -> list[str]:
    """Markdown: the maps with and without grid consistency, then the maps' own baselines, then what was left out."""
    head = "| " + " | ".join(["seed", "map", "training", *COLUMNS.values()]) + " |"
    rule = "|---" * (3 + len(COLUMNS)) + "|"
    lines = [head, rule]
    for row in MAPS:
        for seed in labels:
            without, with_grid = (by_column(runs[seed, objective], row) for objective in OBJECTIVES)
            moved = {name: difference(with_grid[name], without[name]) for name in COLUMNS}
            for title, values in (("supervised", without), ("grid", with_grid), ("**difference**", moved)):
                signed = values is moved
                cells = [cell(metric_of(name, values[name], labels[seed]), signed=signed) for name in COLUMNS]
                lines.append(f"| {seed} | {ROWS[row]} | {title} | " + " | ".join(cells) + " |")
        cells = [spread(differences(runs, labels, row, name)) for name in COLUMNS]
        lines.append(f"| mean ± sd | {ROWS[row]} | **difference** | " + " | ".join(cells) + " |")
    lines += ["", "| " + " | ".join(["seed", "map", "training", *(COLUMNS[name] for name in ON_MAPS)]) + " |"]
    lines.append("|---" * (3 + len(ON_MAPS)) + "|")
    for seed in labels:
        for row in (ON_OTHERS, *BASELINES):
            for objective in OBJECTIVES if row == ON_OTHERS else OBJECTIVES[:1]:
                found = runs[seed, objective][row]
                cells = [cell(metric_of(name, found[name], labels[seed])) for name in ON_MAPS]
                trained = objective if row == ON_OTHERS else "any"
                lines.append(f"| {seed} | {ROWS[row]} | {trained} | " + " | ".join(cells) + " |")
    return [*lines, "", *left_out(runs)]


def by_column(found: dict[str, Values], row: str) -> Values:
    """A map's values, and the accuracy, which is of no map."""
    return found[""] | found[row]


def differences(runs: Runs, labels: Mapping[int, Mapping[str, int]], row: str, name: str) -> list[float]:
    """Of each seed, grid − supervised in percent."""
    found = []
    for seed in labels:
        without, with_grid = (by_column(runs[seed, objective], row)[name] for objective in OBJECTIVES)
        mean = metric_of(name, difference(with_grid, without), labels[seed]).mean()
        found.append(float("nan") if mean is None else 100 * mean)
    return found


def spread(values: list[float]) -> str:
    """Mean ± standard deviation over seeds."""
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):+.1f}{deviation}"


def left_out(runs: Runs) -> list[str]:
    """Images that a metric could not judge, by run, map and reason."""
    lines = []
    for (seed, objective), found in runs.items():
        for row in MAPS:
            reasons: dict[str, list[str]] = {}
            for metric in ON_MAPS:
                why = [value for value in found[row][metric].values() if isinstance(value, str)]
                for reason in sorted(set(why)):
                    reasons.setdefault(f"{why.count(reason)} × {reason}", []).append(metric)
            lines += [f"- seed {seed}, {objective}, {ROWS[row]}: {said} ({', '.join(on)})" for said, on in reasons.items()]
    return lines and ["Left out of the means:", "", *lines]


def verdict(runs: Runs, labels: Mapping[int, Mapping[str, int]]) -> list[tuple[str, bool]]:
    """What must hold on every seed, as sentences."""
    found = []
    for row in MAPS:
        for name in MUST_RISE:
            values = differences(runs, labels, row, name)
            up = sum(value > 0 for value in values)
            found.append((f"{ROWS[row]}, {COLUMNS[name].removesuffix(', %')} rises: {up} of {len(values)} seeds",
                          up == len(values)))  # fmt: skip
    lost = [-value for value in differences(runs, labels, MAPS[0], "accuracy")]
    kept = sum(value <= POINTS_LOST for value in lost)
    found.append((f"top-1 loses at most {POINTS_LOST:g} points: {kept} of {len(lost)} seeds", kept == len(lost)))
    return found


def setting(said: str) -> tuple[str, Any]:
    """An option of the command line, name=value; the value as JSON where it is that."""
    name, _, value = said.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, print the tables; exit status 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", choices=EXPERIMENTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--part", choices=("test", "validation"), default="test", help="whose images are looked at")
    parser.add_argument("--set", type=setting, nargs="*", default=[], metavar="NAME=VALUE", help="options of the recipes")
    parser.add_argument("--out", type=Path, help="a file for the tables")
    options = parser.parse_args(arguments)
    data = Path(os.environ.get("HARMONY_TEST_DATA", ""))
    if options.images != "decoy" and not (data / "weights").is_dir():
        print("HARMONY_TEST_DATA must name a folder with the photographs and weights.", file=sys.stderr)
        return 2
    folder = Path(os.environ.get("HARMONY_VAR", "var")) / "grid-loop" / options.images
    folder.mkdir(parents=True, exist_ok=True)
    runs: Runs = {}
    labels: dict[int, dict[str, int]] = {}
    for seed in options.seeds:
        for objective in OBJECTIVES:
            runs[seed, objective] = figures(
                options.images, objective, seed, options.part, dict(options.set), folder, data
            )
        items = parts_of(options.images, seed, folder, data)[options.part]
        labels[seed] = {item["id"]: item["label"] for item in items}
    bars = verdict(runs, labels)
    said = [f"- {sentence} {'(holds)' if holds else '(MISSED)'}" for sentence, holds in bars]
    text = "\n".join([*tables(runs, labels), *said]) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    print(text, end="")
    return int(not all(holds for _, holds in bars))


if __name__ == "__main__":
    sys.exit(main())
