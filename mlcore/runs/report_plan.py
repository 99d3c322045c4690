"""Which maps a report needs: every classifier by every method, and the baselines as often as they can differ."""

from typing import Any

from mlcore.catalogue import METHODS, METRICS
from mlcore.catalogue.recipe_fields import INPUT
from mlcore.models import Classifier, Run

OWN = (0, "own", None, "")  # what stands in a report's recipe where each classifier keeps its own way


def classifiers_of(run: Run) -> list[Classifier]:
    """The report's classifiers in the order in which they were chosen."""
    rows = Run.classifiers.through.objects.filter(run=run).order_by("pk").select_related("classifier")
    return [row.classifier for row in rows]


def as_it_reads(recipe: dict[str, Any], classifier: Classifier) -> dict[str, Any]:
    """The recipe for one classifier: input size, resizing and normalisation are its own unless the recipe says more."""
    own = {field.name: (classifier.transform or {}).get(field.name, field.default) for field in INPUT}
    return recipe | {name: recipe[name] if recipe.get(name) not in OWN else value for name, value in own.items()}


def asks_classifier(recipe: dict[str, Any]) -> bool:
    """Whether one of the metrics asks the classifier again, so that a baseline's figure is of one classifier."""
    return any("model" in METRICS[name].needs for name in recipe["metrics"] if name in METRICS)


def plan(run: Run, recipe: dict[str, Any]) -> list[tuple[Classifier, dict[str, Any], str]]:
    """(classifier, its recipe, method) of every set of maps.

    A baseline looks at no classifier: where no metric asks one either, it is made once for each way of reading
    pictures, under the first classifier that reads so.
    """
    found: list[tuple[Classifier, dict[str, Any], str]] = []
    read: set[tuple[Any, ...]] = set()
    for classifier in classifiers_of(run):
        own = as_it_reads(recipe, classifier)
        way = tuple(own[field.name] for field in INPUT)
        again = way in read and not asks_classifier(recipe)
        found += [(classifier, own, name) for name in recipe["methods"] if not (again and METHODS[name].baseline)]
        read.add(way)
    return found
