"""Does grid consistency move what a classifier looks at onto the object? (docs/grid.md)

    HARMONY_TEST_DATA=... HARMONY_VAR=... python -m bench.grid_loop butterflies|decoy|mild|unmarked
        [--seeds 1 2 3] [--part test|validation] [--set name=value ...] [--out FILE]

For each seed a classifier is taught its classes, and from its weights the same recipe goes on twice: with the objective
`supervised`, and with `grid`. Start, images, order, augmentation, steps and the epoch that is kept (the last) are the
same. Then the maps of the TRUE class are compared with the objects of images that neither trained nor chose anything.

butterflies  photographs with masks; the partition is the seed's own;
decoy        scenes with a misleading mark, a world for each seed (docs/decoy.md);
mild         the mark names the class in 85 % of the training images instead of 97 %;
unmarked     the same scenes without the mark.

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
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.decoy_loop import items_of
from bench.grid_loop_table import BASELINES, MAPS, OBJECTIVES, ON_MAPS, ON_OTHERS, ROWS, Runs, Values, tables, verdict
from mlcore.attribution import METHODS
from mlcore.exchange.decoy import render_decoy
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

WEIGHTS = "weights.safetensors"
GRID_ALONE = ("grid_weight", "detach_target", "preset", "layer")


@dataclass(frozen=True)
class Experiment:
    """An image set with its classifier. `first`: what teaches it beforehand; `recipe` is of both runs that are
    compared, `grid` of the second alone.
    """

    architecture: str
    classes: int
    first: dict[str, Any]
    recipe: dict[str, Any]
    grid: dict[str, Any]
    weights: str | None = None
    per_class: tuple[int, int] | None = None  # images of a class that train and that validate


PLAIN = {"optimizer": "adam", "batch_size": 16, "schedule": "cosine", "flip": True, "learning_rate": 1e-4}
# Fewer scenes than in docs/decoy.md, so that a run takes a minute or two.
WORLD = {**DEMO["world"], "per_part": {"train": 600, "validation": 200, "test": 600}}
SCENES_OF = {"decoy": True, "mild": True, "unmarked": False}  # whether they have the mark
MARK_SHARES = {"mild": 0.85}  # of training images that the mark tells the truth of; else the world's own
SCENES = {key: value for key, value in DEMO["phase_1"].items() if key not in ("architecture", "objective", "select")}
EXPERIMENTS = {
    "butterflies": Experiment(
        "squeezenet1_1",
        10,
        {**PLAIN, "image_size": 116, "epochs": 8},
        {**PLAIN, "image_size": 116, "epochs": 4},
        {"grid_weight": 200.0},
        "squeezenet1_1_imagenet.npz",
        (20, 10),
    ),
    "decoy": Experiment("sixconv", 4, SCENES, {**SCENES, "epochs": 4}, {"grid_weight": 30.0}),
    "mild": Experiment("sixconv", 4, SCENES, {**SCENES, "epochs": 4}, {"grid_weight": 30.0}),
    "unmarked": Experiment("sixconv", 4, SCENES, {**SCENES, "epochs": 4}, {"grid_weight": 30.0}),
}


def world_of(name: str) -> dict[str, Any]:
    """How the scenes of an experiment are made."""
    return WORLD | ({"mark_share": MARK_SHARES[name]} if name in MARK_SHARES else {})


def parts_of(name: str, seed: int, folder: Path, data: Path) -> dict[str, Items]:
    """train, validation and test of a seed."""
    if name in SCENES_OF:
        world = folder / f"world-{seed}"
        if not (world / "labels.csv").exists():  # written last
            render_decoy(world, seed=seed, mark=SCENES_OF[name], **world_of(name))
        parts = items_of(world)
        return {part: parts.get(part, []) for part in ("train", "validation", "test")}
    found = butterflies(data)
    rng = np.random.default_rng(seed)
    per_class = EXPERIMENTS[name].per_class
    assert per_class is not None
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


def trained(folder: Path, name: str, seed: int, recipe: dict[str, Any], start: Path | None, items: Items) -> Path:
    """The folder of a run whose last epoch's weights are kept there; it is made where it is not there yet."""
    one = EXPERIMENTS[name]
    world = world_of(name) if name in SCENES_OF else None
    said = json.dumps([recipe, one.architecture, one.per_class, world, start and start.parent.name], sort_keys=True)
    place = folder / f"{seed}-{recipe['objective']}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
    if (place / WEIGHTS).exists():
        return place
    print(f"{name}, seed {seed}: {recipe['objective']}, {recipe['epochs']} epochs", file=sys.stderr, flush=True)
    job = {
        "version": 1,
        "kind": "train",
        "run": place.name,
        "attempt": "1",
        "workdir": str(place),
        "seed": seed,
        "device": "cpu",
        "recipe": recipe,
        "classes": [str(label) for label in range(one.classes)],
        "classifier": {
            "architecture": one.architecture,
            "num_classes": one.classes,
            "weights": str(start) if start else None,
            "replace_head": True,
        },
        "parts": {"train": items},
    }
    last: dict[str, dict[str, Any]] = {}

    def emit(event: dict[str, Any]) -> None:
        last[event["event"]] = event

    if run_job(job, emit) != 0:
        sys.exit(f"{place.name}: {last.get('failed', {}).get('reason', 'failed')}")
    return place


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
    """`look` at one run. What is not there yet is made: first the classifier that both runs start from."""
    one = EXPERIMENTS[name]
    parts = parts_of(name, seed, folder, data)
    start = data / "weights" / one.weights if one.weights else None
    taught = one.first | {"objective": "supervised", "select": "last"}
    start = trained(folder, name, seed, taught, start, parts["train"]) / WEIGHTS
    recipe = one.recipe | {"objective": objective, "select": "last"}
    recipe |= {key: value for key, value in changes.items() if key not in GRID_ALONE}
    if objective == "grid":
        recipe |= one.grid | {key: value for key, value in changes.items() if key in GRID_ALONE}
    place = trained(folder, name, seed, recipe, start, parts["train"])
    record = place / f"{part}.json"
    if not record.exists():
        fresh = record.with_suffix(".part")
        fresh.write_text(json.dumps(look(one, place / WEIGHTS, parts[part])))
        fresh.replace(record)
    return json.loads(record.read_text())


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
    parser.add_argument("--set", type=setting, nargs="*", default=[], metavar="N=VALUE", help="options of the recipes")
    parser.add_argument("--out", type=Path, help="a file for the tables")
    options = parser.parse_args(arguments)
    data = Path(os.environ.get("HARMONY_TEST_DATA", ""))
    if EXPERIMENTS[options.images].weights and not (data / "weights").is_dir():
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
