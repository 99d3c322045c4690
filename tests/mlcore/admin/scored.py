"""Sets of maps of one image set with scores: what the pages of maps and metrics are tried on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from django.utils import timezone

from mlcore.models import Classifier, ExplanationSet, HumanMapSet, Image, ImageLabel, ImageSet, Run, Score
from tests.annotation.factories import explain, images, researcher


@dataclass
class Scored:
    owner: Any
    image_set: ImageSet
    images: list[Image]
    sets: dict[str, ExplanationSet]
    run: Run

    @property
    def classifier(self) -> Classifier:
        return next(iter(self.sets.values())).classifier


def make_scored(owner: Any = None, number: int = 6, methods: tuple[str, ...] = ("grad_cam", "lrp", "random")) -> Scored:
    """`number` images under the maps of one classifier by some methods, scored by pointing and complexity.

    The first method points right at every image but the last; the complexity of map i of method m is (m + i / n) / 10.
    The last image is left out of complexity.
    """
    owner = owner or researcher()
    shown = _images(number)
    image_set = shown[0].image_set
    ImageSet.objects.filter(pk=image_set.pk).update(owner=owner)
    image_set.refresh_from_db()
    sets: dict[str, ExplanationSet] = {}
    for method in methods:
        maps = np.random.default_rng(len(sets)).normal(size=(number, 4, 6)).astype(np.float32)
        classifier = {"classifier": next(iter(sets.values())).classifier} if sets else {}
        sets[method] = explain(shown, maps=maps, owner=owner, method=method, predict=not sets, **classifier)
    Classifier.objects.filter(explanation_sets__in=sets.values()).update(owner=owner, name="net")
    run = score_run(owner, image_set, list(sets.values()))
    for place, (method, one) in enumerate(sets.items()):
        hits = {str(image.uuid): float(method == methods[0] and image != shown[-1]) for image in shown}
        write_score(run, one, "pointing", hits)
        spread = {str(image.uuid): (place + index / number) / 10 for index, image in enumerate(shown[:-1])}
        write_score(run, one, "complexity", spread, left_out={"constant": 1})
    return Scored(owner, image_set, shown, sets, run)


def _images(number: int) -> list[Image]:
    """Images that share one file: rows are what is asked about."""
    first = images(1, label=2)[0]
    rows = [
        Image(
            image_set=first.image_set, name=f"Zebra/{place:04}.png", sha256=f"{place:064x}", file=first.file.name,
            width=first.width, height=first.height,
        )
        for place in range(1, number)
    ]  # fmt: skip
    made = [first, *Image.objects.bulk_create(rows)]
    ImageLabel.objects.bulk_create(ImageLabel(image=image, index=2) for image in made[1:])
    return made


def score_run(owner: Any, image_set: ImageSet, sets: list[ExplanationSet], **values: Any) -> Run:
    now = timezone.now()
    run = Run.objects.create(
        name="scores", kind=Run.Kind.SCORE, owner=owner, image_set=image_set, state=Run.State.SUCCEEDED,
        started=now, ended=now, recipe={"metrics": ["pointing", "complexity"], "part": "all"}, **values,
    )  # fmt: skip
    run.explanation_sets.set(sets)
    return run


def write_score(run: Run, one: ExplanationSet, metric: str, values: dict[str, float], **more: Any) -> Score:
    mean = float(np.mean(list(values.values()))) if values else None
    return Score.objects.create(
        run=run, classifier=one.classifier, explanation_set=one, part="all", metric=metric, value=mean,
        low=None if mean is None else mean - 0.05, high=None if mean is None else mean + 0.05, n=len(values),
        per_image=values, **more,
    )  # fmt: skip


def with_people(made: Scored, ceiling: dict[str, Any]) -> Run:
    """A later score run of the same sets against people's maps, which says how far people agree."""
    people = HumanMapSet.objects.create(image_set=made.image_set, name="drawn", owner=made.owner)
    return score_run(
        made.owner, made.image_set, list(made.sets.values()), human_maps=people, result={"ceiling": ceiling}
    )
