"""Images with several labels each (definitions §3): which objectives learn them, and the published settings."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlcore.catalogue.fields import Field
from mlcore.catalogue.objectives import OBJECTIVES

LEARNED_BY = ("supervised", "grid")
# Grid consistency as published for COCO, from an ImageNet checkpoint; SGD with momentum 0.9 as for ImageNet.
PUBLISHED: dict[str, Any] = {
    "epochs": 36,
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "weight_decay": 5e-4,
    "schedule": "step",
    "schedule_at": "24,30",
    "grid_weight": 1.0,
}
# The usual start is a SqueezeNet, which cannot learn several labels.
START: dict[str, Any] = {"architecture": "resnet18"}
BEST_BY_PRECISION = {
    "best_accuracy": "the best mean average precision",
    "best_attention_iou": "the best attention IoU near the best mean average precision",
}


def by_precision(field: Field) -> Field:
    """A field as it reads where images have several labels: what chooses the epoch is the mean average precision."""
    if field.name == "select":
        words = tuple((name, BEST_BY_PRECISION.get(name, words)) for name, words in field.choices)
        return replace(field, choices=words)
    if field.name == "select_tolerance":
        return replace(field, label="Near the best precision means", help="Mean average precision, 0.01 = 1 point.")
    return field


def several(recipe: Mapping[str, Any]) -> bool:
    """Whether a run takes every label of an image."""
    return recipe.get("labels") == "several"


def published_for_several(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Options whose defaults are others because images have several labels."""
    if not several(recipe):
        return {}
    return START | (PUBLISHED if recipe.get("objective") == "grid" else {})


def why_not_several(recipe: Mapping[str, Any]) -> str:
    """Why a training run cannot take several labels an image: one sentence, or nothing."""
    objective = str(recipe.get("objective") or "supervised")
    if not several(recipe) or objective in LEARNED_BY or objective not in OBJECTIVES:
        return ""
    known = " or ".join(OBJECTIVES[name].title for name in LEARNED_BY)
    return f"{OBJECTIVES[objective].title} learns from one label an image; several are learned by {known}."


def why_not_by(architecture: str) -> str:
    """Why a classifier cannot learn several labels an image: one sentence, or nothing."""
    if not architecture.startswith("squeezenet"):
        return ""
    return f"{architecture} ends in a ReLU: no class score is below 0, so none can say that its class is absent."
