"""One researcher's whole loop in rows, with small real files; only the training itself is written down, not done."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.utils import timezone

from annotation import feedback, invitations, publishing, simulation
from annotation.models import Invitation, Study, StudyPicture
from annotation.study_pictures import add_picture
from mlcore.models import Classifier, ExplanationSet, Image, ImageSet, Partition, Run, RunMetric, Score, SupervisionSet
from tests.annotation.factories import explain, png, researcher
from tests.mlcore.runs.world import SIZE, World, make_world, start

SMALL = {"train": 4, "annotation_pool": 3, "validation": 2, "test": 2}


@dataclass
class Loop:
    owner: Any
    world: World
    phase1: Run
    phase2: Run
    control: Run
    maps: ExplanationSet
    later_maps: ExplanationSet
    ratings: Study
    drawings: Study
    picture: StudyPicture
    invitation: Invitation

    @property
    def image_set(self) -> ImageSet:
        return self.world.image_set

    @property
    def partition(self) -> Partition:
        return self.world.partition

    @property
    def classifier(self) -> Classifier:
        return self.phase1.made_classifier


def administrator(name: str = "ada") -> Any:
    return get_user_model().objects.create(username=name, is_staff=True, is_superuser=True, password="!")


def owned_world(owner: Any, name: str = "scenes") -> World:
    world = make_world(name, counts=SMALL)
    ImageSet.objects.filter(pk=world.image_set.pk).update(owner=owner)
    Partition.objects.filter(pk=world.partition.pk).update(owner=owner)
    world.image_set.refresh_from_db()
    world.partition = Partition.objects.get(pk=world.partition.pk)
    return world


def finish(run: Run, accuracy: float = 0.5, attention: float = 0.2) -> Run:
    """The rows that a successful training leaves."""
    now = timezone.now()
    Run.objects.filter(pk=run.pk).update(
        state=Run.State.SUCCEEDED, started=now, ended=now, step=6, total_steps=6, attempts=1, log="one line\nanother\n"
    )
    made = Classifier(
        name=run.name, owner=run.owner, architecture="sixconv", classes=run.image_set.classes, run=run,
        parent=run.classifier, sha256="1" * 64,
        transform={"image_size": SIZE, "resize": "none", "normalise": "imagenet"},
    )  # fmt: skip
    made.weights.save("w.safetensors", ContentFile(b"not read"), save=True)
    RunMetric.objects.bulk_create(
        RunMetric(run=run, step=step, epoch=step / 3, part=part, name=name, value=1 / step)
        for step in range(1, 7)
        for part, name in (("train", "loss"), ("validation", "loss"), ("validation", "accuracy"))
        if part == "train" or step % 3 == 0
    )
    Score.objects.bulk_create(
        Score(run=run, classifier=made, partition=run.partition, part="validation", metric=metric, value=value, n=6)
        for metric, value in (("accuracy", accuracy), ("attention_iou_50", attention))
    )
    return Run.objects.get(pk=run.pk)


def make_loop(owner: Any = None, name: str = "scenes") -> Loop:
    """Images → phase 1 → maps → two live studies with scripted answers → phase 2 and control → maps of both."""
    owner = owner or researcher()
    world = owned_world(owner, name)
    phase1 = finish(start(world, name=f"{name}, phase 1", owner=owner))
    pool = world.part("annotation_pool")
    maps = explain(pool, classifier=phase1.made_classifier, target=0, owner=owner)
    ratings = _live("reasonability", owner, pool, maps)
    drawings = _live("map_drawing", owner, pool, maps)
    for study in (ratings, drawings):
        simulation.simulate(study, people=1)
    phase2, control = feedback.start_phase2(
        drawings, owner, ratings=[ratings], kinds=("human", "simulated"), enqueue=False
    )
    phase2, control = finish(phase2, 0.9, 0.5), finish(control, 0.6, 0.2)
    bright = np.zeros((len(pool), 4, 6), dtype=np.float32)
    bright[:, :, 3:] = 1.0  # the other half: every map moved as far as a map can
    later = explain(pool, maps=bright, classifier=phase2.made_classifier, target=1, owner=owner)
    picture = add_picture(ratings, owner, io.BytesIO(png(np.zeros((6, 8, 3), dtype=np.uint8))), "a-map")
    invitation = invitations.invite(ratings, owner, ["a label"])[0]
    return Loop(owner, world, phase1, phase2, control, maps, later, ratings, drawings, picture, invitation)


def _live(kind: str, owner: Any, images: list[Image], maps: ExplanationSet) -> Study:
    study = publishing.create_study(
        kind=kind, name=f"{kind} by {owner}", owner=owner, image_set=maps.image_set, images=images,
        explanation_sets=[maps], answers_per_trial=1,
    )  # fmt: skip
    return publishing.publish(study, owner)


def supervision_of(loop: Loop) -> SupervisionSet:
    return SupervisionSet.objects.get(pk=loop.phase2.supervision_id)
