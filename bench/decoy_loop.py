"""Does the loop undo what a spurious mark taught? The decoy scenes' experiment (docs/decoy.md).

    python -m bench.decoy_loop [--seeds 101 102 103 104 105] [--rows gradia shuffled ...] [--folder DIR]

For each seed a new world is rendered and phase 1 is trained on it. Scripted annotators rate the maps of the
annotation pool (at most 200 images) and draw the true objects, with the error rates that the table states;
the reasonability matrix gives w_p and w_a. Then, from the same phase 1 weights, seed, images, steps and rule:

control    w_a = 0: what more training and w_p do without maps;
gradia     the demonstration's phase 2;
energy     the same drawings with the energy objective (only where asked for);
shuffled   each drawing belongs to another image: maps without their meaning;
no mark    a world without the sticker: phase 1, control and gradia.

Prints accuracy and attention IoU@0.5 (map of the predicted class) on the test part, where the mark tells nothing:
each seed, the median, and whether the bars hold. Every figure is of simulated annotators. Finished rows are kept in
FOLDER/results.jsonl, so that an interrupted experiment goes on where it stopped.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mlcore.attribution.maps import evaluation_map
from mlcore.exchange.decoy import CLASSES, render_decoy
from mlcore.exchange.decoy_settings import DEMO
from mlcore.exchange.scripted import ScriptedAnnotator
from mlcore.training.jobs import run_job

# (reasonable, accurate) → (w_p, w_a): the reasonability matrix of definitions §2.
MATRIX = {(False, False): (1.0, 1.0), (False, True): (0.4, 1.6), (True, False): (0.8, 0.2), (True, True): (1.0, 0.0)}

ROWS = ("control", "gradia", "energy", "shuffled", "no mark")
ENERGY = {"objective": "energy", "attention_weight": 1.0}

Items = list[dict[str, Any]]


def items_of(folder: Path) -> dict[str, Items]:
    """The rendered world as the parts of a job, with the true masks as references."""
    parts: dict[str, Items] = {}
    with (folder / "labels.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            parts.setdefault(row["split"], []).append(
                {
                    "id": row["file"],
                    "path": str(folder / "images" / row["file"]),
                    "label": int(row["label"]),
                    "truth": str(folder / "masks" / row["file"]),
                }
            )
    return parts


def run(
    kind: str, workdir: Path, seed: int, recipe: dict[str, Any], parts: dict[str, Items], weights: Path | None = None
) -> dict[str, Any]:
    """Run one job in this process; its events by name, the last of each kind (shards: all). Exits on failure."""
    events: dict[str, Any] = {"shards": []}

    def emit(event: dict[str, Any]) -> None:
        if event["event"] == "shard":
            events["shards"].append(event)
        events[event["event"]] = event

    architecture = DEMO["phase_1"]["architecture"]
    job = {
        "version": 1,
        "kind": kind,
        "run": workdir.name,
        "attempt": "1",
        "workdir": str(workdir),
        "seed": seed,
        "device": "cpu",
        "recipe": recipe,
        "classes": list(CLASSES),
        "classifier": {
            "architecture": architecture,
            "num_classes": len(CLASSES),
            "weights": str(weights) if weights else None,
        },
        "parts": parts,
    }
    if run_job(job, emit) != 0:
        sys.exit(f"{workdir.name}: {events.get('failed', {}).get('reason', 'failed')}")
    return events


def train(
    workdir: Path, seed: int, recipe: dict[str, Any], parts: dict[str, Items], weights: Path | None = None
) -> tuple[Path, dict[str, float]]:
    """Train and look at the test part once: the chosen weights, and accuracy (%), IoU@0.5 and seconds."""
    began = time.monotonic()
    result = run("train", workdir, seed, {**recipe, "evaluate_test": True}, parts, weights)["result"]
    test = result["summary"]["test"]
    figures = {
        "accuracy": 100 * test["accuracy"],
        "iou": test["attention_iou_50"],
        "seconds": time.monotonic() - began,
        "epoch": result["selected_epoch"],
    }
    return workdir / result["weights"], figures


def supervision(folder: Path, seed: int, pool: Items, weights: Path) -> tuple[Items, dict[str, int]]:
    """What a scripted annotator makes of phase 1's maps: the pool's items with map, w_p and w_a; and counts."""
    view = {key: DEMO["phase_1"][key] for key in ("image_size", "resize", "normalise")}
    recipe = {**view, "method": "grad_cam", "target": "predicted"}
    events = run("explain", folder / "explain", seed, recipe, {"annotation_pool": pool}, weights)
    seen: dict[str, tuple[np.ndarray, int]] = {}
    for shard in events["shards"]:
        maps = np.load(folder / "explain" / shard["path"])["maps"]
        for row in shard["rows"]:
            seen[row["image"]] = (maps[row["index"]], row["target"])
    person = ScriptedAnnotator(seed, DEMO["rates"])
    drawings = folder / "drawings"
    drawings.mkdir(parents=True, exist_ok=True)
    supervised, counts = [], {"reasonable": 0, "accurate": 0, "drawn": 0}
    for item in pool:
        truth = np.asarray(Image.open(item["truth"]).convert("L")) > 0
        raw, predicted = seen[item["id"]]
        attention = evaluation_map(torch.from_numpy(raw)[None], truth.shape)[0].numpy()
        reasonable = person.rate(attention, truth, item["id"]).reasonable
        accurate = predicted == item["label"]
        drawn = person.draw(truth, item["id"])
        w_p, w_a = MATRIX[reasonable, accurate] if drawn is not None else (1.0, 0.0)
        entry = {**item, "w_p": w_p, "w_a": w_a}
        if drawn is not None:
            path = drawings / item["id"]
            Image.fromarray(drawn.astype(np.uint8) * 255).save(path)
            entry["map"] = str(path)
        supervised.append(entry)
        counts["reasonable"] += reasonable
        counts["accurate"] += accurate
        counts["drawn"] += w_a > 0
    return supervised, counts


def without_maps(items: Items) -> Items:
    """The control's items: the same images and w_p, nothing about attention."""
    return [{**item, "map": None, "w_a": 0.0} for item in items]


def with_shuffled_maps(items: Items, seed: int) -> Items:
    """Every drawing goes to another image; weights stay where they are."""
    drawn = [index for index, item in enumerate(items) if item.get("map")]
    order = np.random.default_rng(seed).permutation(drawn).tolist()
    shuffled = [dict(item) for item in items]
    for here, there in zip(order, [*order[1:], order[0]], strict=True):
        shuffled[here]["map"] = items[there]["map"]
    return shuffled


def one_world(folder: Path, seed: int, rows: Iterable[str], *, mark: bool) -> Iterable[tuple[str, dict[str, Any]]]:
    """Phase 1 and the asked phase 2 rows of one world, as they finish."""
    render_decoy(folder / "world", seed=seed, mark=mark, **DEMO["world"])
    parts = items_of(folder / "world")
    held_out = {name: parts[name] for name in ("validation", "test")}
    weights, figures = train(folder / "phase-1", seed, DEMO["phase_1"], {"train": parts["train"], **held_out})
    pool, counts = supervision(folder, seed, parts["annotation_pool"], weights)
    yield "phase 1", figures | counts
    recipes = {"energy": {**DEMO["phase_2"], **ENERGY}}
    pools = {"control": without_maps(pool), "shuffled": with_shuffled_maps(pool, seed)}
    for row in rows:
        joined = {"train": parts["train"], "annotation_pool": pools.get(row, pool), **held_out}
        yield row, train(folder / row, seed, recipes.get(row, DEMO["phase_2"]), joined, weights)[1]


def experiment(folder: Path, seeds: list[int], rows: list[str]) -> dict[tuple[int, str], dict[str, Any]]:
    """Every row of every seed, read from `folder`/results.jsonl where it is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "results.jsonl"
    results: dict[tuple[int, str], dict[str, Any]] = {}
    if record.exists():
        for line in record.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            results[entry.pop("seed"), entry.pop("row")] = entry
    marked = [row for row in rows if row != "no mark"]
    worlds = [(True, "", marked)] + ([(False, "no mark: ", ["control", "gradia"])] if "no mark" in rows else [])
    for seed in seeds:
        for mark, prefix, wanted in worlds:
            if all((seed, prefix + row) in results for row in ["phase 1", *wanted]):
                continue
            place = folder / f"{seed}-{'mark' if mark else 'plain'}"
            shutil.rmtree(place, ignore_errors=True)
            for row, figures in one_world(place, seed, wanted, mark=mark):
                results[seed, prefix + row] = figures
                with record.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps({"seed": seed, "row": prefix + row, **figures}) + "\n")
                print(f"{seed} {prefix}{row}: {_cell(figures)} in {figures['seconds']:.0f} s", file=sys.stderr)
            shutil.rmtree(place, ignore_errors=True)
    return results


def _cell(figures: dict[str, Any]) -> str:
    return f"{figures['accuracy']:.1f} % / {figures['iou']:.3f}"


def table(results: dict[tuple[int, str], dict[str, Any]], seeds: list[int]) -> str:
    """The figures as a Markdown table: accuracy / IoU@0.5 on the test part, each seed and the median."""
    names = list(dict.fromkeys(row for seed, row in results if seed in seeds))
    lines = [
        "| accuracy / IoU@0.5 | " + " | ".join(f"seed {seed}" for seed in seeds) + " | median |",
        "|---" * (len(seeds) + 2) + "|",
    ]
    for name in names:
        found = [results[seed, name] for seed in seeds if (seed, name) in results]
        middle = {key: statistics.median(entry[key] for entry in found) for key in ("accuracy", "iou")}
        cells = [_cell(results[seed, name]) if (seed, name) in results else "" for seed in seeds]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | **{_cell(middle)}** |")
    return "\n".join(lines)


def bars(results: dict[tuple[int, str], dict[str, Any]], seeds: list[int]) -> list[tuple[str, list[float], float]]:
    """What phase 2 must reach: each bar's name, its value for every seed, and the least value."""

    def difference(row: str, other: str) -> list[float]:
        return [results[seed, row]["accuracy"] - results[seed, other]["accuracy"] for seed in seeds]

    ratio = [results[seed, "gradia"]["iou"] / max(results[seed, "phase 1"]["iou"], 1e-9) for seed in seeds]
    return [
        ("accuracy, points above phase 1", difference("gradia", "phase 1"), 15.0),
        ("accuracy, points above the control", difference("gradia", "control"), 10.0),
        ("attention IoU ÷ phase 1's", ratio, 1.5),
    ]


def main() -> int:
    """Run, print the table and the bars; exit status 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103, 104, 105])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=[row for row in ROWS if row != "energy"])
    parser.add_argument("--folder", type=Path, help="where worlds and finished rows are kept; a new one if absent")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="decoy-loop-"))
    results = experiment(folder, options.seeds, options.rows)
    print(table(results, options.seeds))
    print()
    print(DEMO["rates"].sentence())
    missed = False
    if {"control", "gradia"} <= set(options.rows):
        for name, values, least in bars(results, options.seeds):
            over = sum(value >= least for value in values)
            holds = statistics.median(values) >= least and over >= 0.8 * len(values)
            missed |= not holds
            print(
                f"{name}: median {statistics.median(values):.2f}, {over} of {len(values)} seeds ≥ {least:g}"
                f" {'(holds)' if holds else '(MISSED)'}"
            )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
