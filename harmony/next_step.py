"""The one sensible thing to do next in each loop: images → train → explain → study → answers → phase 2 → compare."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, Subquery
from django.urls import reverse

from annotation.models import Assignment, Study
from harmony.researcher import owned
from mlcore.models import Classifier, ExplanationSet, ImageSet, Partition, Run, SupervisionSet

LOOPS = 6


@dataclass(frozen=True)
class Step:
    """What to do for one set of images: a sentence, and where the button leads."""

    image_set: ImageSet
    sentence: str
    verb: str
    address: str


def next_steps(user: Any) -> list[Step]:
    """A step for each of the newest sets of images that has one; one query whatever their number."""
    mine = owned(ImageSet.objects.all(), user)
    here = {"image_set": OuterRef("pk")}
    trained = Run.objects.filter(**here, kind=Run.Kind.TRAIN).order_by("-created")
    done = trained.filter(state=Run.State.SUCCEEDED)
    studies = Study.objects.filter(**here).order_by("-created")
    classifiers = Classifier.objects.filter(run__image_set=OuterRef("pk")).order_by("-created")
    maps = ExplanationSet.objects.filter(**here).order_by("-created")
    second = done.filter(supervision__isnull=False, control__isnull=False)
    answered = Assignment.objects.filter(trial__study__image_set=OuterRef("pk"), state=Assignment.State.ANSWERED)
    rows = mine.annotate(
        a_partition=Subquery(Partition.objects.filter(**here).order_by("-created").values("pk")[:1]),
        a_classifier=Subquery(classifiers.values("pk")[:1]),
        a_map=Subquery(maps.values("pk")[:1]),
        a_study=Subquery(studies.values("pk")[:1]),
        a_draft=Subquery(studies.filter(state=Study.State.DRAFT).values("pk")[:1]),
        a_drawing=Subquery(studies.filter(kind="map_drawing").exclude(state="draft").values("pk")[:1]),
        has_answers=Exists(answered),
        has_said=Exists(SupervisionSet.objects.filter(**here)),
        a_second=Subquery(second.values("pk")[:1]),
        is_busy=Exists(Run.objects.filter(**here, state__in=Run.OPEN)),
    ).order_by("-created")[:LOOPS]
    return [step for row in rows if (step := _step(row)) is not None]


def _step(row: Any) -> Step | None:
    start = f"{reverse('admin:mlcore_run_start')}?image_set={row.pk}&partition={row.a_partition}"

    def step(sentence: str, verb: str, address: str) -> Step:
        return Step(row, sentence, verb, address)

    if row.a_second:
        address = reverse("admin:annotation_study_before_after", args=[row.a_second])
        return step("Phase 2 is done. See what it changed.", "Before and after", address)
    if row.is_busy:
        return None
    if row.a_draft:
        address = reverse("admin:annotation_study_change", args=[row.a_draft])
        return step("A study is drafted and nobody sees it yet.", "Open the draft", address)
    if row.a_partition is None:
        address = reverse("admin:mlcore_imageset_partition", args=[row.pk])
        return step("Say which images train, are judged, choose and test.", "Make a partition", address)
    if row.a_classifier is None:
        return step("Train a first classifier.", "Train", start)
    if row.a_map is None:
        address = f"{start}&kind=explain&classifier={row.a_classifier}"
        return step("See what the classifier looks at.", "Explain", address)
    if row.a_study is None:
        address = f"{reverse('admin:annotation_study_create')}?explanations={row.a_map}"
        return step("Let people judge what it looks at.", "Publish a study", address)
    if row.has_answers and not row.has_said and row.a_drawing:
        address = reverse("admin:annotation_study_phase2", args=[row.a_drawing])
        return step("People have answered. Teach the classifier what they said.", "Start phase 2", address)
    return None
