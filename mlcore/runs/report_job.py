"""What the job of a report has besides its images: each classifier with what is still to be made and measured."""

from collections import defaultdict
from typing import Any

from mlcore.catalogue import METRICS, upgrade
from mlcore.models import Classifier, ExplanationSet, Run
from mlcore.runs import manifest as manifests
from mlcore.runs.attention import OPTION, with_files
from mlcore.runs.job_classifier import JobImpossible, classifier_of
from mlcore.runs.report_plan import as_it_reads, classifiers_of
from mlcore.runs.score_job import map_set
from mlcore.runs.start import TRANSFORM


def reported_by(run: Run) -> list[dict[str, Any]]:
    """One entry a classifier: {"id", "name", "classifier", "transform", "attention", "accuracy", "sets"}.

    What lies in rows is not asked for again: "accuracy" says whether it is to be measured, each set brings the maps
    that it has and names the metrics that are missing. Raises JobImpossible for what is gone since the start.
    """
    recipe = upgrade(run.kind, run.recipe)
    unknown = [name for name in recipe["metrics"] if name not in METRICS]
    if unknown:
        raise JobImpossible(f"The metric “{unknown[0]}” is not known here any more.")
    images = {image for _, image, _, _ in manifests.entries_of(run.manifest)}
    scores = run.scores.order_by().values_list("explanation_set", "classifier", "metric")
    of_sets: dict[int, set[str]] = defaultdict(set)
    counted: set[int] = set()
    for one, of, metric in scores:
        if one is not None:
            of_sets[one].add(metric)
        elif metric == "accuracy":
            counted.add(of)
    sets: dict[int, list[ExplanationSet]] = defaultdict(list)
    for made in run.explanation_sets.select_related("classifier").order_by("pk"):
        sets[made.classifier_id].append(made)
    found = []
    for classifier in classifiers_of(run):
        read = as_it_reads(recipe, classifier)
        judged = sorted(sets[classifier.pk], key=lambda made: _place(made, recipe["methods"]))
        found.append(
            {
                "id": str(classifier.uuid),
                "name": classifier.name,
                "classifier": classifier_of(classifier, run),
                "transform": {name: read[name] for name in TRANSFORM},
                "attention": _modules(read, classifier),
                "accuracy": bool(recipe["accuracy"]) and classifier.pk not in counted,
                "sets": [
                    map_set(run, made, images, asks=True)
                    | {"metrics": [name for name in recipe["metrics"] if name not in of_sets[made.pk]]}
                    for made in judged
                ],
            }
        )
    if not found:
        raise JobImpossible("The classifiers of this report were deleted since it was started.")
    return found


def _modules(recipe: dict[str, Any], classifier: Classifier) -> dict[str, str]:
    """The files of this classifier's own attention modules, under the options that name them."""
    try:
        found = with_files(recipe, classifier)
    except ValueError as error:
        raise JobImpossible(str(error)) from error
    return {name: value for name, value in found.items() if name.endswith(f".{OPTION}")}


def _place(made: ExplanationSet, methods: list[str]) -> int:
    return methods.index(made.method) if made.method in methods else len(methods)
