"""Attribution pairs of small real files: pictures, maps that can be told apart, predictions, scores."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from django.utils import timezone

from mlcore.exchange.pairs import Cell, make_pairs
from mlcore.models import ExplanationSet, Image, PairSet, Partition, PartitionMember, Run, Score
from tests.annotation import factories as make


@dataclass
class Cells:
    owner: Any
    images: list[Image]
    partition: Partition
    original: ExplanationSet
    tuned: list[ExplanationSet]
    pair_sets: list[PairSet]


def true_maps(images: list[Image], maps: np.ndarray, **values: Any) -> ExplanationSet:
    """Maps of the true class, with predictions that are right."""
    made = make.explain(images, maps=maps, target=1, **values)
    ExplanationSet.objects.filter(pk=made.pk).update(target="true")
    made.refresh_from_db()
    return made


def tuning_run(image_set: Any, owner: Any, metric: str) -> Run:
    return Run.objects.create(
        name=f"tuned for {metric}", kind="train", owner=owner, image_set=image_set, state="succeeded",
        recipe={"objective": "harmony", "metric": metric, "method": "grad_cam"}, ended=timezone.now(),
    )  # fmt: skip


def make_cells(metrics: tuple[str, ...] = ("focus", "rma"), each: int = 2, spare: int = 1) -> Cells:
    """One cell a metric of the same original, with `each` pairs, and images that no cell shows."""
    owner = make.researcher()
    image_set = make.ImageSetFactory(owner=owner)
    number = each * len(metrics) + spare
    images = [make.ImageFactory(image_set=image_set, label=1) for _ in range(number)]
    partition = Partition.objects.create(image_set=image_set, name="split", owner=owner)
    PartitionMember.objects.bulk_create(
        PartitionMember(partition=partition, image=image, part="test") for image in images
    )
    rng = np.random.default_rng(0)
    first = make.ClassifierFactory(name="Clandestine-Alpha", owner=owner, architecture="vgg16")
    original = true_maps(images, rng.random((number, 4, 6)), classifier=first, owner=owner)
    tuned, scores = [], Run.objects.create(
        name="scores", kind="score", owner=owner, image_set=image_set, state="succeeded", ended=timezone.now()
    )  # fmt: skip
    for metric in metrics:
        run = tuning_run(image_set, owner, metric)
        copied = make.ClassifierFactory(
            name=f"Clandestine-Beta {metric}", owner=owner, architecture="vgg16", parent=first, run=run
        )
        tuned.append(true_maps(images, rng.random((number, 4, 6)), classifier=copied, owner=owner))
    for place, one in enumerate([original, *tuned]):
        values = {str(image.uuid): 0.1 * place for image in images}
        Score.objects.create(
            run=scores, classifier=one.classifier, explanation_set=one, part="test", metric="focus", per_image=values
        )
    cells = [Cell(metric, original, one) for metric, one in zip(metrics, tuned, strict=True)]
    made = make_pairs(cells, partition=partition, n=each, owner=owner)
    return Cells(owner, images, partition, original, tuned, made)
