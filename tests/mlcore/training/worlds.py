"""Small synthetic image sets and the jobs on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mlcore.training.jobs import SUCCEEDED, run_job

RECIPE: dict[str, Any] = {
    "objective": "supervised",
    "epochs": 2,
    "batch_size": 8,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "schedule": "none",
    "image_size": 32,
    "resize": "none",
    "normalise": "none",
    "flip": True,
    "random_crop": False,
    "select": "last",
    "checkpoint_minutes": 0,
    "data_workers": 0,
}


def make_items(
    folder: Path, count: int, *, classes: int = 3, size: int = 32, prefix: str = "i", seed: int = 0, mask: bool = True
) -> list[dict[str, Any]]:
    """`count` noisy pictures with a square whose colour is the class; a plain 0/255 mask of it each."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    items: list[dict[str, Any]] = []
    for index in range(count):
        label = index % classes
        picture = rng.integers(60, 120, (size, size, 3), dtype=np.uint8)
        side = size // 3
        top, left = rng.integers(0, size - side, 2)
        picture[top : top + side, left : left + side, label] = 250
        drawn = np.zeros((size, size), dtype=np.uint8)
        drawn[top : top + side, left : left + side] = 255
        name = f"{prefix}{index:03d}"
        Image.fromarray(picture).save(folder / f"{name}.png")
        Image.fromarray(drawn).save(folder / f"{name}-mask.png")
        items.append(
            {
                "id": name,
                "path": str(folder / f"{name}.png"),
                "label": label,
                "map": str(folder / f"{name}-mask.png") if mask else None,
                "boxes": None,
                "w_p": 1.0,
                "w_a": 0.0,
                "truth": str(folder / f"{name}-mask.png") if mask else None,
            }
        )
    return items


def make_job(
    workdir: Path,
    parts: dict[str, list[dict[str, Any]]],
    *,
    kind: str = "train",
    classes: int = 3,
    architecture: str = "sixconv",
    weights: Path | None = None,
    resume: Path | None = None,
    seed: int = 5,
    skip: list[str] | None = None,
    **recipe: Any,
) -> dict[str, Any]:
    """A JOB.json as a dictionary."""
    job: dict[str, Any] = {
        "version": 1,
        "kind": kind,
        "run": "run",
        "attempt": "attempt",
        "workdir": str(workdir),
        "resume": str(resume) if resume else None,
        "seed": seed,
        "device": "cpu",
        "recipe": {**RECIPE, **recipe},
        "classes": [f"class {number}" for number in range(classes)],
        "classifier": {
            "architecture": architecture,
            "num_classes": classes,
            "weights": str(weights) if weights else None,
            "padding": "torch",
            "replace_head": False,
        },
        "parts": parts,
    }
    if skip is not None:
        job["skip"] = skip
    return job


class Events(list[dict[str, Any]]):
    """An `emit` that remembers."""

    def __call__(self, event: dict[str, Any]) -> None:
        self.append(event)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Events of a kind, in order."""
        return [event for event in self if event["event"] == kind]

    def metric(self, part: str, name: str) -> list[tuple[int, float]]:
        """(step, value) of a curve."""
        return [
            (row["step"], row["value"])
            for event in self.of("metrics")
            for row in event["rows"]
            if (row["part"], row["name"]) == (part, name)
        ]


def run(job: dict[str, Any], cancelled: Callable[[], bool] = lambda: False, status: int = SUCCEEDED) -> Events:
    """What the job's process tells, in order; it ends as expected."""
    events = Events()
    assert run_job(job, events, cancelled) == status, events[-1]
    return events
