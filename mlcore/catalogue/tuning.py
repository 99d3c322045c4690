"""What follows from a training recipe's objective: what it makes, the published settings, which are its defaults, and
what a run needs that tunes a copy of a classifier for a metric (definitions §5)."""

from collections.abc import Mapping
from typing import Any

from mlcore.catalogue import learnable
from mlcore.catalogue.architectures import FAMILIES
from mlcore.catalogue.learnable import LEARNABLE
from mlcore.catalogue.methods import METHODS
from mlcore.catalogue.objectives import OBJECTIVES, TUNED
from mlcore.catalogue.several import published_for_several
from mlcore.catalogue.spec import ObjectiveSpec

OBJECTIVE = "harmony"
# Kinds of run that take training steps: a test of learning rates takes a training run's, and keeps nothing.
TRAINS = ("train", "lr_test")

# Of HARMONY, by a metric whose term needs to know where the object is.
PUBLISHED_WITH_MASKS = TUNED | {
    "learning_rate": 3e-6,
    "max_steps": 0,
    "epochs": 100,
    "evaluate_steps": 20,
    "evaluate_batches": 6,
}


def tunes(recipe: Mapping[str, Any]) -> bool:
    """Whether a training recipe tunes a copy for a metric, with the same outputs as the original's."""
    return recipe.get("objective") == OBJECTIVE


def objective_of(recipe: Mapping[str, Any]) -> ObjectiveSpec | None:
    """The objective of a training recipe; None where there is none of its name."""
    return OBJECTIVES.get(str(recipe.get("objective") or "supervised"))


def learns(recipe: Mapping[str, Any]) -> bool:
    """Whether a training recipe teaches the classifier the images' classes; otherwise it keeps its own."""
    spec = objective_of(recipe)
    return spec is None or spec.learns_labels


def makes_attention(recipe: Mapping[str, Any]) -> bool:
    """Whether a training recipe makes an attention module, beside a classifier that stays as it is."""
    spec = objective_of(recipe)
    return spec is not None and spec.makes == "attention"


def makes_network(recipe: Mapping[str, Any]) -> bool:
    """Whether a training recipe makes a correspondence network, beside a classifier that stays as it is."""
    spec = objective_of(recipe)
    return spec is not None and spec.makes == "network"


def makes_beside(recipe: Mapping[str, Any]) -> bool:
    """Whether what a training recipe makes is no classifier, but needs one."""
    return makes_attention(recipe) or makes_network(recipe)


def rules(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """Ways to choose the epoch that a training recipe's objective knows."""
    if tunes(recipe):
        return ("best_score",)
    return ("last", "best_score") if makes_beside(recipe) else ("last", "best_accuracy", "best_attention_iou")


def metric_of(recipe: Mapping[str, Any]) -> str:
    """The learnable metric that a recipe tunes for."""
    own = next(field for field in OBJECTIVES[OBJECTIVE].fields if field.name == "metric")
    return str(recipe.get("metric") or own.default)


def needs_objects(recipe: Mapping[str, Any]) -> bool:
    """Whether it must be known where the object is: in training, and to score."""
    name = metric_of(recipe)
    if not tunes(recipe) or name not in LEARNABLE:
        return False
    try:
        return learnable.needs_objects(name, str(recipe.get("metric_options") or ""))
    except ValueError:  # options that `clean` refuses
        return learnable.needs_objects(name)


def gradient_norm(recipe: Mapping[str, Any]) -> float:
    """The largest total norm of the gradient; 0: none. A tuning run that names none has its metric's published one."""
    given = float(recipe.get("gradient_norm") or 0.0)
    spec = LEARNABLE.get(metric_of(recipe)) if tunes(recipe) else None
    return given or (spec.gradient_norm if spec is not None else 0.0)


def published(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Options whose defaults are others for this recipe's objective."""
    if needs_objects(recipe):
        return PUBLISHED_WITH_MASKS
    spec = objective_of(recipe)
    return dict(spec.published if spec is not None else {}) | published_for_several(recipe)


# Found out by differentiating through every method on one classifier of each family; a test does so again for some.
ATTENTION = ("MaxViT", "Swin", "ViT")
BY_RULES = ("excitation_backprop", "lrp")
BY_PIXELS = ("guided_backprop", "input_x_gradient")


def why_not_through(method: str, architecture: str) -> str:
    """Why a classifier cannot be tuned through this method: one sentence, or nothing."""
    family = next((title for title, names in FAMILIES.items() if architecture in names), "")
    title = METHODS[method].title if method in METHODS else method
    if method in BY_RULES and family in ATTENTION:
        return f"{title} has rules for convolutions only, and {architecture} has attention in it: choose Grad-CAM."
    if method in BY_PIXELS and (family == "ViT" or architecture.startswith("mobilenet_v3")):
        return f"{architecture} has a layer whose gradient has no gradient, which {title} needs: choose Grad-CAM."
    return ""
