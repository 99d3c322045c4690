"""The figures of a score run as one document: what `manage.py score --json` prints."""

from typing import Any

from mlcore.catalogue import METRICS
from mlcore.models import ExplanationSet, Run


def document(run: Run) -> dict[str, Any]:
    """Sets × metrics with value, 95 % interval, number of images and what was left out; and people's agreement."""
    names = list(run.recipe.get("metrics") or ())
    scores: dict[int, dict[str, dict[str, Any]]] = {}
    for row in run.scores.defer("per_image").exclude(explanation_set=None):
        scores.setdefault(row.explanation_set_id or 0, {})[row.metric] = {
            "value": row.value,
            "low": row.low,
            "high": row.high,
            "n": row.n,
            "left_out": row.left_out,
        }
    ceiling = run.result.get("ceiling") or {}
    sets = run.explanation_sets.select_related("classifier").order_by("pk")
    return {
        "run": str(run.uuid),
        "name": run.name,
        "state": run.state,
        "image_set": run.image_set.name,
        "partition": run.partition.name if run.partition is not None else None,
        "part": run.recipe.get("part"),
        "images": sum(len(entries) for entries in run.manifest.values()),
        "human_maps": str(run.human_maps.uuid) if run.human_maps is not None else None,
        "metrics": [_metric(name, run.recipe) for name in names],
        "sets": [_set(one) | {"scores": {name: scores.get(one.pk, {}).get(name) for name in names}} for one in sets],
        "ceiling": {
            name: {key: value for key, value in told.items() if key != "per_image"} for name, told in ceiling.items()
        },
    }


def _metric(name: str, recipe: dict[str, Any]) -> dict[str, Any]:
    spec = METRICS.get(name)
    prefix = f"{name}."
    return {
        "metric": name,
        "title": spec.title if spec else name,
        "higher_is_better": spec.higher_is_better if spec else None,
        "unit": spec.unit if spec else "",
        "options": {key.removeprefix(prefix): value for key, value in recipe.items() if key.startswith(prefix)},
    }


def _set(one: ExplanationSet) -> dict[str, Any]:
    return {
        "set": str(one.uuid),
        "classifier": str(one.classifier.uuid),
        "classifier_name": one.classifier.name,
        "method": one.method,
        "layer": one.layer,
        "preset": one.preset,
        "options": one.options,
        "target": one.target,
        "target_class": one.target_class,
    }
