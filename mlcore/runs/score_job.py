"""What the job of a score run has besides its images: the sets of maps that are judged, and people's maps."""

from collections import defaultdict
from typing import Any

from django.core.files.storage import default_storage

from mlcore.catalogue import METHODS, METRICS
from mlcore.models import Explanation, ExplanationSet, Run
from mlcore.runs import manifest as manifests
from mlcore.runs.explanation_sets import method_options
from mlcore.runs.job_classifier import JobImpossible, classifier_of


def judged_by(run: Run) -> dict[str, Any]:
    """{"sets": […], "people": {image UUID: [paths]}}. Raises JobImpossible for what is gone since the start."""
    metrics = [METRICS[name] for name in run.recipe["metrics"] if name in METRICS]
    missing = [name for name in run.recipe["metrics"] if name not in METRICS]
    if missing:
        raise JobImpossible(f"The metric “{missing[0]}” is not known here any more.")
    asks = any("model" in spec.needs for spec in metrics)
    images = {image for _, image, _, _ in manifests.entries_of(run.manifest)}
    sets = list(run.explanation_sets.select_related("classifier").order_by("pk"))
    if not sets:
        raise JobImpossible("The sets of maps of this run were deleted since it was started.")
    people: dict[str, list[str]] = defaultdict(list)
    if run.human_maps is not None:
        for row in run.human_maps.maps.select_related("image").order_by("image", "rater"):
            if str(row.image.uuid) in images:
                people[str(row.image.uuid)].append(row.map.path)
    return {"sets": [map_set(run, chosen, images, asks=asks) for chosen in sets], "people": people}


def map_set(run: Run, chosen: ExplanationSet, images: set[str], *, asks: bool) -> dict[str, Any]:
    """A set as its job sees it: its shards, and image → (shard, index, class explained). asks: with its classifier."""
    shards: dict[str, int] = {}
    maps: dict[str, tuple[int, int, int]] = {}
    rows = chosen.explanations.filter(payload=Explanation.Payload.MAP)
    for uuid, shard, index, target in rows.values_list("image__uuid", "shard", "index", "target").iterator():
        if str(uuid) in images:
            maps[str(uuid)] = (shards.setdefault(shard, len(shards)), index, target)
    spec = METHODS.get(chosen.method)
    return {
        "id": str(chosen.uuid),
        "name": str(chosen),
        "classifier": classifier_of(chosen.classifier, run) if asks else None,
        # Whether the class that a map explains is counted as the images' labels are.
        "comparable": list(chosen.classifier.classes) == list(run.image_set.classes),
        "class_specific": spec.class_specific if spec is not None else True,
        "transform": chosen.transform,
        "method": chosen.method,
        "options": method_options(chosen),
        "shards": [default_storage.path(name) for name in shards],
        "maps": maps,
    }
