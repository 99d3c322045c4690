"""What every kind of job makes from its recipe: the classifier, the frames, the way of viewing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from mlcore.catalogue.objectives import OBJECTIVES
from mlcore.catalogue.several import several
from mlcore.catalogue.tuning import needs_objects
from mlcore.objectives.base import Objective
from mlcore.objectives.batch import Batch
from mlcore.training.classifiers import build
from mlcore.training.data import Augmentation, BatchLoader, Frames, RawBatch
from mlcore.training.errors import Cancelled, JobError
from mlcore.training.events import Reporter
from mlcore.training.job import Item, Job
from mlcore.training.machine import Machine, prepare
from mlcore.training.measure import Viewing
from mlcore.training.pictures import Geometry


def machine_of(job: Job) -> Machine:
    """The device and precision that the job, or else its recipe, asks for."""
    device = job.device if job.device != "auto" else str(job.option("device", "auto"))
    return prepare(device, str(job.option("mixed_precision", "no")))


def model_of(job: Job, machine: Machine) -> nn.Module:
    """The classifier on the device. Raises JobError where it is unknown or its weights do not fit."""
    spec = job.classifier
    try:
        model = build(
            spec.architecture,
            spec.num_classes,
            weights=spec.weights,
            padding=spec.padding,
            replace_head=spec.replace_head,
        )
    except ValueError as error:
        raise JobError(str(error)) from error
    layout = torch.channels_last if job.option("channels_last", False) else torch.contiguous_format
    return model.to(machine.device, memory_format=layout)  # type: ignore[call-overload]


def objective_of(job: Job) -> Objective:
    """The recipe's objective with its own options. Raises JobError where it is unknown or refuses them."""
    name = str(job.option("objective", "supervised"))
    if name not in OBJECTIVES:
        raise JobError(f"There is no objective “{name}”; there are {', '.join(OBJECTIVES)}.")
    made = resolve(OBJECTIVES[name].path)
    try:
        return made.from_recipe(job.recipe)
    except (TypeError, ValueError) as error:
        raise JobError(f"The objective “{name}” refuses its options: {error}") from error


def resolve(path: str) -> Any:
    """The object at a dotted path."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def wants_maps(job: Job) -> bool:
    """Whether the job's objective looks at people's maps."""
    spec = OBJECTIVES.get(str(job.option("objective", "supervised")))
    return spec is not None and "map" in spec.needs


def geometry_of(job: Job, *, random_crop: bool = False) -> Geometry:
    """The fixed geometry; larger where a random cut follows."""
    return Geometry(int(job.option("image_size", 224)), str(job.option("resize", "squash")), random_crop)


def augmentation_of(job: Job) -> Augmentation:
    """What chance does to training pictures; preset "gradia" leaves the map behind at a flip, as released."""
    return Augmentation(
        flip=bool(job.option("flip", False)),
        random_crop=bool(job.option("random_crop", False)),
        flip_moves_maps=job.option("preset", "default") != "gradia",
        any_annotation=several(job.recipe),
    )


def loader_of(
    job: Job,
    machine: Machine,
    items: Sequence[Item],
    reporter: Reporter,
    *,
    training: bool = False,
    reference: bool = False,
    objects: bool = False,
    keep: bool = True,
    cancelled: Callable[[], bool] = lambda: False,
) -> BatchLoader:
    """Batches of items as the recipe says; pictures are read into memory first where they fit and `keep`.

    In training, batches are shuffled, augmented and shared by the processes; otherwise they come in order. `objects`:
    batches tell where the object is, where the objective asks for that (in training they always do).
    Raises Cancelled while reading ahead.
    """

    def read(done: int, total: int) -> None:
        reporter.progress("reading pictures", done, total)
        # Of several processes one would leave the others waiting; they stop together after their first step.
        if machine.processes == 1 and cancelled():
            raise Cancelled

    augmentation = augmentation_of(job) if training else Augmentation()
    workers = int(job.option("data_workers", 0))
    supervision = str(job.option("supervision_source", "maps")) if training and wants_maps(job) else "none"
    if needs_objects(job.recipe) and (training or objects):
        supervision = "objects"
    frames = Frames(
        items,
        geometry_of(job, random_crop=augmentation.random_crop),
        supervision=supervision,
        reference=reference,
        cache=keep and bool(job.option("cache_images", True)),
    )
    kept = frames.keep(threads=max(workers, 2), progress=read)
    batch_size = int(job.option("batch_size", 32))
    return BatchLoader(
        frames,
        batch_size,
        seed=job.seed,
        augmentation=augmentation,
        shuffle=training,
        # What lies in memory is faster here than through another process.
        workers=0 if kept == len(items) else workers,
        pin_memory=machine.device.type == "cuda",
        rank=machine.rank if training else 0,
        processes=machine.processes if training else 1,
        classes=job.classifier.num_classes if several(job.recipe) else 0,
    )


def batch_of(job: Job, machine: Machine, raw: RawBatch) -> Batch:
    """What the loader gave, on the device, normalised and laid out in memory as the recipe says."""
    return raw.to_batch(
        machine.device,
        str(job.option("normalise", "imagenet")),
        channels_last=bool(job.option("channels_last", False)),
    )


def viewing_of(job: Job, **changes: Any) -> Viewing:
    """How the job's recipe looks at pictures and maps."""
    options: dict[str, Any] = {
        "normalise": str(job.option("normalise", "imagenet")),
        "channels_last": bool(job.option("channels_last", False)),
        "layer": job.option("layer"),
        "relu": bool(job.option("evaluation_relu", True)),
        "bce_weight": float(job.option("bce_weight", 80.0)) if several(job.recipe) else None,
    }
    return Viewing(**options | changes)
