"""The settings of the decoy demonstration: the world, the people who look at it, and both phases' recipes.

Chosen on worlds 0 to 2; `bench/decoy_loop.py` reports worlds 101 to 105 (docs/decoy.md).
"""

from __future__ import annotations

from typing import Any

from mlcore.exchange.scripted import ErrorRates

WORLD: dict[str, Any] = {
    "per_part": {"train": 1000, "annotation_pool": 200, "validation": 200, "test": 600},
    "size": 96,
    "mark_share": 0.97,
}

RATES = ErrorRates(boundary=0.02, missed=0.05, wrong_rating=0.10)

_COMMON: dict[str, Any] = {
    "architecture": "sixconv",
    "batch_size": 16,
    "optimizer": "adam",
    "schedule": "cosine",
    "image_size": 64,
    "resize": "squash",
    "normalise": "imagenet",
    "flip": True,
}

PHASE_1: dict[str, Any] = {
    **_COMMON,
    "objective": "supervised",
    "epochs": 15,
    "learning_rate": 1e-3,
    "select": "best_accuracy",
}

PHASE_2: dict[str, Any] = {
    **_COMMON,
    "objective": "gradia",
    "epochs": 10,
    "learning_rate": 2e-3,
    "attention_weight": 3.0,
    "stop_gradient_weights": False,
    "select": "best_attention_iou",
}

DEMO: dict[str, Any] = {"seed": 101, "world": WORLD, "rates": RATES, "phase_1": PHASE_1, "phase_2": PHASE_2}
