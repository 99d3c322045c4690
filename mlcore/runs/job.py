"""JOB.json: what the process that trains is told. Paths and numbers only; it knows nothing of the database."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from mlcore.catalogue import OBJECTIVES, upgrade
from mlcore.catalogue.tuning import TRAINS, learns, needs_objects
from mlcore.models import Box, Explanation, Image, Run, SupervisionItem
from mlcore.models.images import LABEL_SOURCE
from mlcore.models.partitions import Part
from mlcore.runs import manifest as manifests
from mlcore.runs.attention import with_files
from mlcore.runs.correspond_job import compared_by
from mlcore.runs.devices import CPU, CUDA
from mlcore.runs.job_classifier import JobImpossible, classes_of, classifier_of
from mlcore.runs.manifest import ALL, labels_of
from mlcore.runs.objects import CHUNK, boxes_of, masks_of, objects_of
from mlcore.runs.report_job import reported_by
from mlcore.runs.score_job import judged_by
from mlcore.runs.sharded import shards_of
from mlcore.runs.state import Claim

VERSION = 1
SEVERAL_CLASSIFIERS = (Run.Kind.SCORE, Run.Kind.REPORT)  # each set of maps, each entry of a report names its own


def folder_of(run: Run) -> Path:
    """Where the attempts of a run keep their files."""
    return Path(settings.RUNS_DIR) / str(run.uuid)


def workdir_of(run: Run, claim: Claim) -> Path:
    """An attempt's own folder: a process of an older attempt that still lives cannot write into it."""
    return folder_of(run) / f"{claim.number:02d}-{claim.token.hex[:8]}"


def build(run: Run, claim: Claim) -> dict[str, Any]:
    """The job of this attempt. Raises JobImpossible where an image or the weights are gone."""
    if manifests.digest(run.manifest) != run.manifest_hash:
        raise JobImpossible("The run's list of images was changed after it was frozen.")
    job: dict[str, Any] = {
        "version": VERSION,
        "kind": run.kind,
        "run": str(run.uuid),
        "attempt": str(claim.token),
        "workdir": str(workdir_of(run, claim)),
        "resume": _resume(run),
        "seed": run.seed,
        "device": _device(run, claim),
        "recipe": _recipe(run),
        "classes": classes_of(run),
        "classifier": None if run.kind in SEVERAL_CLASSIFIERS else classifier_of(run.classifier, run),
        "parts": _parts(run),
    }
    if manifests.SHARDS in run.manifest:
        job["shards"] = shards_of(run, run.manifest[manifests.SHARDS])
    if run.kind == Run.Kind.SCORE:
        job |= judged_by(run)
    if run.kind == Run.Kind.REPORT:
        job["reports"] = reported_by(run)
    if run.kind == Run.Kind.CORRESPOND:
        job |= compared_by(run)
    if run.kind == Run.Kind.EXPLAIN:
        images = [image for _, image, _, _ in manifests.entries_of(run.manifest)]
        sets = run.explanation_sets.values_list("method", "pk")
        job["skip"] = {method: sorted(_explained(pk, images)) for method, pk in sets}
    return job


def _recipe(run: Run) -> dict[str, Any]:
    """In today's words; attention modules by their files. Raises JobImpossible where one is gone."""
    recipe = upgrade(run.kind, run.recipe)
    if run.kind != Run.Kind.EXPLAIN:
        return recipe
    try:
        return with_files(recipe, run.classifier)
    except ValueError as error:
        raise JobImpossible(str(error)) from error


def _device(run: Run, claim: Claim) -> str:
    """The recipe's device; "auto" is the GPU that the claim holds (the process sees no other), else what there is.

    Raises JobImpossible where the recipe wants a GPU and the claim holds none.
    """
    wanted = str(run.recipe.get("device") or "auto")
    kind = claim.slot.partition("/")[2].partition(":")[0]
    if wanted == CUDA and kind == CPU:
        raise JobImpossible(
            f"This run asks for a GPU, and {claim.worker} computes on {claim.slot}; choose the device “auto” or “cpu”."
        )
    return CUDA if wanted == "auto" and kind == CUDA else wanted


def _resume(run: Run) -> str | None:
    if run.kind != Run.Kind.TRAIN or not run.checkpoint or not Path(run.checkpoint).exists():
        return None
    return run.checkpoint


def _parts(run: Run) -> dict[str, list[dict[str, Any]]]:
    supervision = _supervision(run)
    trains = run.kind in TRAINS
    # What a comparison asks about has its right answers in the gallery's classes, which it is told apart.
    comparable = run.kind != Run.Kind.CORRESPOND and (
        (trains and learns(run.recipe)) or classes_of(run) == list(run.image_set.classes)
    )
    located = trains and needs_objects(run.recipe)
    parts: dict[str, list[dict[str, Any]]] = {}
    for part, entries in manifests.images_of(run.manifest):
        trained = trains and part in (Part.TRAIN, Part.POOL)
        judged = not trained and run.kind not in (Run.Kind.EXPLAIN, Run.Kind.CORRESPOND)
        items: list[dict[str, Any]] = []
        for chunk in _chunks(entries):
            images = _images(chunk)
            labels = {images[entry[0]].pk: next(iter(labels_of(entry[1])), None) for entry in chunk}
            truth = masks_of(labels) if judged else {}
            boxes = boxes_of(labels) if judged or (trained and supervision.by_boxes) else {}
            objects = objects_of(labels, part, run.recipe["object_source"], run.supervision) if located else {}
            difficult = _difficult(labels) if run.kind in SEVERAL_CLASSIFIERS else set()
            for uuid, told, sha256 in chunk:
                image = images[uuid]
                item = {
                    "id": uuid,
                    "key": sha256,
                    "path": image.file.path,
                    "label": labels[image.pk] if comparable else None,
                }
                if comparable and isinstance(told, list):
                    item["labels"] = told
                if judged:
                    # A mask says more than a box; where both are known the mask is the reference.
                    item["truth"] = truth.get(image.pk)
                    item["boxes"] = None if image.pk in truth else boxes.get(image.pk)
                    item["difficult"] = image.pk in difficult and image.pk not in truth
                elif trained:
                    item |= supervision.of(image.pk, boxes.get(image.pk))
                item |= objects.get(image.pk, {})
                items.append(item)
        # "All images of the set" is no part of a partition; for the explaining process one name is as good as another.
        parts[Part.POOL.value if part == ALL else part] = items
    return parts


class Supervision:
    """What people (or boxes) say about training images, as a run's objective wants it."""

    def __init__(self, *, by_boxes: bool, by_maps: bool, items: dict[int, SupervisionItem], given: bool) -> None:
        self.by_boxes, self.by_maps, self.items, self.given = by_boxes, by_maps, items, given

    def of(self, image: int, boxes: list[list[float]] | None) -> dict[str, Any]:
        """Keys of an item: w_p, w_a, map, boxes. An objective without attention gets w_p alone (a control)."""
        item = self.items.get(image)
        fields: dict[str, Any] = {"w_p": item.w_p if item else 1.0, "w_a": 0.0}
        if self.by_maps and item is not None and item.w_a > 0:
            fields |= {"w_a": item.w_a, "map": item.map.path}
        elif self.by_boxes and boxes:
            # Without a supervision every box counts fully, as a drawn map that nobody rated does (definitions §2).
            w_a = (item.w_a if item else 0.0) if self.given else 1.0
            fields |= {"w_a": w_a, "boxes": boxes}
        return fields


def _supervision(run: Run) -> Supervision:
    objective = run.recipe.get("objective", "supervised")
    attends = run.kind in TRAINS and "map" in OBJECTIVES[objective].needs
    source = run.recipe.get("supervision_source", "maps")
    items = {item.image_id: item for item in run.supervision.items.all()} if run.supervision is not None else {}
    return Supervision(
        by_boxes=attends and source == "boxes",
        by_maps=attends and source == "maps",
        items=items,
        given=run.supervision is not None,
    )


def _images(entries: list[list[Any]]) -> dict[str, Image]:
    found = {str(image.uuid): image for image in Image.objects.filter(uuid__in=[entry[0] for entry in entries])}
    for uuid, _, sha256 in entries:
        if uuid not in found:
            raise JobImpossible(f"An image of this run ({uuid}) was deleted since it was started.")
        if found[uuid].sha256 != sha256:
            raise JobImpossible(f"The image {found[uuid].name} was replaced since this run was started.")
    return found


def _difficult(labels: dict[int, int | None]) -> set[int]:
    """Images whose boxes of their class are all difficult."""
    easy: dict[int, bool] = {}
    for box in Box.objects.filter(image__in=labels, source=LABEL_SOURCE):
        if box.category is None or box.category == labels[box.image_id]:
            easy[box.image_id] = easy.get(box.image_id, False) or not box.difficult
    return {image for image, one in easy.items() if not one}


def _explained(explanation_set: int, images: list[str]) -> Iterable[str]:
    for chunk in _chunks(images):
        rows = Explanation.objects.filter(set=explanation_set, image__uuid__in=chunk)
        yield from (str(uuid) for uuid in rows.values_list("image__uuid", flat=True))


def _chunks(entries: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(entries), CHUNK):
        yield entries[start : start + CHUNK]
