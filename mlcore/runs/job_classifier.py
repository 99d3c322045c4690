"""The classifier of a job: how the child builds it, and in whose classes it speaks."""

from pathlib import Path
from typing import Any

from mlcore.catalogue.tuning import TRAINS, learns
from mlcore.models import Classifier, Run


class JobImpossible(ValueError):
    """What the run needs is not there any more; the message is the run's reason."""


def classes_of(run: Run) -> list[str]:
    """The names of what the classifier's outputs stand for."""
    if run.classifier is None or _learns(run):
        return list(run.image_set.classes)
    return list(run.classifier.classes)


def _learns(run: Run) -> bool:
    """Whether the run teaches the images' classes. What is explained, evaluated, tuned for a metric or given an
    attention speaks in its own."""
    return run.kind in TRAINS and learns(run.recipe)


def classifier_of(classifier: Classifier | None, run: Run) -> dict[str, Any]:
    """How the child builds a classifier. Raises JobImpossible where its weights are gone."""
    if classifier is None:
        return {
            "architecture": run.recipe["architecture"],
            "num_classes": len(classes_of(run)),
            "weights": None,
            "padding": "torch",
            "replace_head": False,
        }
    weights = Path(classifier.weights.path)
    if not weights.is_file():
        raise JobImpossible(f"The weights of “{classifier}” are not in the storage any more.")
    return {
        "architecture": classifier.architecture,
        "num_classes": len(classes_of(run)),
        "weights": str(weights),
        "padding": classifier.padding,
        "replace_head": _learns(run),
    }
