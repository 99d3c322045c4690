"""Answers become supervision, and supervision a run: here the loop closes (definitions §2)."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from random import SystemRandom
from typing import Any

import numpy as np
from django.core.files.base import ContentFile
from django.db import transaction

from annotation.correctness import correctness
from annotation.drawings import IMPORTANT, palette_png
from annotation.errors import FeedbackRefused, StudyRefused
from annotation.models import Participant, Study
from annotation.statistics import table
from annotation.statistics.consensus import MapConsensus, majority
from annotation.statistics.map_drawing import values_of
from annotation.statistics.reasonability import case_of
from mlcore.catalogue import fields_for
from mlcore.exchange.human_maps import HumanMapsRefused, save_human_maps
from mlcore.exchange.matrix import PRESETS, WEIGHTS, weights_of
from mlcore.models import (
    AuditEntry,
    Box,
    Classifier,
    ExplanationSet,
    HumanMapSet,
    Image,
    Mask,
    Partition,
    Run,
    SupervisionItem,
    SupervisionSet,
)
from mlcore.models.partitions import Part
from mlcore.runs.start import start_control, start_run

__all__ = ["FeedbackRefused", "companions", "make_human_maps", "make_supervision", "phase2_recipe", "start_phase2"]

NOT_RATED = SupervisionItem.Case.NOT_RATED.value


@transaction.atomic
def make_supervision(
    *,
    name: str,
    owner: Any,
    ratings: Sequence[Study] = (),
    drawings: Sequence[Study] = (),
    classifier: Classifier | None = None,
    explanation_set: ExplanationSet | None = None,
    kinds: Sequence[str] = ("human",),
    preset: str = "default",
) -> SupervisionSet:
    """A snapshot of what people said: every rated or drawn image with its consensus map and its two weights.

    Ratings are those of `classifier`'s maps (of one `explanation_set`, where it has several). `kinds`: human, and
    simulated or imported only when asked for. An image whose consensus holds no important pixel has no drawn map.
    Raises FeedbackRefused with a sentence a field.
    """
    _check_studies(ratings, drawings, kinds, preset)
    studies = [*ratings, *drawings]
    if ratings:
        classifier = classifier or _one_classifier(ratings)
        explanation_set = explanation_set or _one_set(ratings, classifier)
    verdicts = _verdicts(ratings, explanation_set, kinds)
    supervision = SupervisionSet.objects.create(
        image_set=studies[0].image_set,
        name=name.strip()[:160] or studies[0].name,
        source=studies[0].uuid,
        participants=table.people(studies, kinds),
        spec=_spec(ratings, drawings, classifier, explanation_set, kinds, preset),
        owner=owner if getattr(owner, "pk", None) else None,
    )
    maps, no_pixel = _save_maps(supervision, drawings, kinds)
    accurate = (
        correctness(classifier, [image for image, verdict in verdicts.items() if verdict is not None])
        if classifier
        else {}
    )
    _refuse_unknown(verdicts, accurate, classifier)
    items = []
    for image in sorted(verdicts.keys() | maps.keys() | no_pixel):
        verdict = verdicts.get(image)
        case = NOT_RATED if verdict is None else case_of(verdict, accurate[image])
        w_p, w_a = weights_of(case, has_map=image in maps, preset=preset)
        items.append(
            SupervisionItem(
                supervision=supervision, image_id=image, map=maps.get(image, ""), case=case, w_p=w_p, w_a=w_a
            )
        )
    if not items:
        raise FeedbackRefused({"answers": f"Nobody has answered yet (counted: {', '.join(kinds)})."})
    SupervisionItem.objects.bulk_create(items, batch_size=500)
    AuditEntry.write(
        owner,
        "supervision.create",
        supervision,
        after={"images": len(items), "maps": len(maps), "cases": dict(Counter(item.case for item in items))},
    )
    return supervision


def _check_studies(ratings: Sequence[Study], drawings: Sequence[Study], kinds: Sequence[str], preset: str) -> None:
    if not ratings and not drawings:
        raise FeedbackRefused({"studies": "Choose a study whose answers are to teach."})
    for field, studies, kind in (("ratings", ratings, "reasonability"), ("drawings", drawings, "map_drawing")):
        for study in studies:
            if study.kind != kind:
                raise FeedbackRefused({field: f"“{study}” is of the kind {study.kind}, not {kind}."})
    if len({study.image_set_id for study in (*ratings, *drawings)}) > 1:
        raise FeedbackRefused({"studies": "The studies are about different image sets."})
    if preset not in PRESETS:
        raise FeedbackRefused({"preset": f"“{preset}” is not one of {', '.join(PRESETS)}."})
    try:
        table.checked_kinds(kinds)
    except StudyRefused as error:
        raise FeedbackRefused({"kinds": error.sentence}) from error


def _rated_sets(ratings: Sequence[Study]) -> list[ExplanationSet]:
    shown = ExplanationSet.objects.filter(explanations__stimulus__trial__study__in=ratings)
    return list(shown.select_related("classifier").distinct().order_by("pk"))


def _one_classifier(ratings: Sequence[Study]) -> Classifier:
    found = {item.classifier_id: item.classifier for item in _rated_sets(ratings)}
    if len(found) != 1:
        names = ", ".join(f"“{item}”" for item in found.values())
        raise FeedbackRefused({"classifier": f"Maps of several classifiers were rated: {names}. Choose one."})
    return next(iter(found.values()))


def _one_set(ratings: Sequence[Study], classifier: Classifier) -> ExplanationSet:
    found = [item for item in _rated_sets(ratings) if item.classifier_id == classifier.pk]
    if not found:
        raise FeedbackRefused({"classifier": f"No map of “{classifier}” was rated in these studies."})
    if len(found) > 1:
        names = ", ".join(f"“{item}”" for item in found)
        raise FeedbackRefused(
            {"explanation_set": f"Several sets of maps of “{classifier}” were rated: {names}. Choose one."}
        )
    return found[0]


def _verdicts(ratings: Sequence[Study], chosen: ExplanationSet | None, kinds: Sequence[str]) -> dict[int, bool | None]:
    """Image → reasonable by majority; None where the raters are evenly split."""
    if not ratings or chosen is None:
        return {}
    said: dict[int, list[bool]] = defaultdict(list)
    for rating in table.ratings(ratings, kinds):
        if rating.set == chosen.pk:
            said[rating.image].append(rating.reasonable)
    return {image: majority(values) for image, values in said.items()}


def consensus_maps(drawings: Sequence[Study], kinds: Sequence[str]) -> Iterator[tuple[Image, np.ndarray]]:
    """Image by image the map that the people who drew one agree on, one image in memory at a time."""
    rows = table.drawn(drawings, kinds).iterator(chunk_size=200)
    for image, maps in groupby(rows, key=lambda row: row.answer.assignment.trial.image):
        together = MapConsensus()
        for row in maps:
            together.add(values_of(row))
        yield image, together.values()


def _save_maps(
    supervision: SupervisionSet, drawings: Sequence[Study], kinds: Sequence[str]
) -> tuple[dict[int, str], set[int]]:
    """Image id → path of its map; and the images whose maps have no pixel in common."""
    paths: dict[int, str] = {}
    no_pixel: set[int] = set()
    for image, values in consensus_maps(drawings, kinds):
        if not (values == IMPORTANT).any():
            no_pixel.add(image.pk)
            continue
        item = SupervisionItem(supervision=supervision, image=image)
        item.map.save("map.png", ContentFile(palette_png(values)), save=False)
        paths[image.pk] = str(item.map.name)
    return paths, no_pixel


def _refuse_unknown(
    verdicts: Mapping[int, bool | None], accurate: Mapping[int, bool], classifier: Classifier | None
) -> None:
    missing = [image for image, verdict in verdicts.items() if verdict is not None and image not in accurate]
    if missing:
        first = Image.objects.get(pk=missing[0])
        raise FeedbackRefused(
            {
                "classifier": f"Whether “{classifier}” is right is not known for {len(missing)} rated images "
                f"(first: {first.name}): they have no prediction or no label. Evaluate the classifier on them first."
            }
        )


def _spec(
    ratings: Sequence[Study],
    drawings: Sequence[Study],
    classifier: Classifier | None,
    explanation_set: ExplanationSet | None,
    kinds: Sequence[str],
    preset: str,
) -> dict[str, Any]:
    cases = {case: weights_of(case, has_map=True, preset=preset) for case in WEIGHTS}
    return {
        "ratings": [str(study.uuid) for study in ratings],
        "drawings": [str(study.uuid) for study in drawings],
        "classifier": str(classifier.uuid) if classifier else None,
        "explanation_set": str(explanation_set.uuid) if explanation_set else None,
        "kinds": list(kinds),
        "preset": preset,
        "consensus": {"ratings": "majority; evenly split = not rated", "maps": "strictly more than half of who drew"},
        "weights": {case: list(weights) for case, weights in cases.items()} | {"no_map": [1.0, 0.0]},
    }


def make_human_maps(
    *, name: str, owner: Any, drawings: Sequence[Study], kinds: Sequence[str] = ("human",)
) -> HumanMapSet:
    """A snapshot of what each person drew, to compare explanations and people with.

    Main trials of answers that count; `kinds` as in `make_supervision`. Who a rater was is not kept: numbers are drawn
    by lot, and one person has one number over several studies (where they drew an image twice, the newest map counts).
    Raises FeedbackRefused with a sentence a field.
    """
    if not drawings:
        raise FeedbackRefused({"drawings": "Choose a study in which people drew maps."})
    _check_studies((), drawings, kinds, "default")
    rows = table.drawn(drawings, kinds).iterator(chunk_size=200)
    numbers = _by_lot(drawings, kinds)
    told = (
        (row.answer.assignment.trial.image, numbers[_person(row.answer.assignment.participant)], row) for row in rows
    )
    try:
        return save_human_maps(
            drawings[0].image_set,
            ((image, number, palette_png(values_of(row))) for image, number, row in told),
            name=name or drawings[0].name,
            owner=owner,
            source=drawings[0].uuid,
            participants=table.people(drawings, kinds),
            spec={"drawings": [str(study.uuid) for study in drawings], "kinds": list(kinds)},
        )
    except HumanMapsRefused as error:
        raise FeedbackRefused({"drawings": f"{error} (counted: {', '.join(kinds)})"}) from error


def _person(participant: Participant) -> tuple[str, Any]:
    """One person over several studies: their login; without one, the participation itself."""
    return ("user", participant.user_id) if participant.user_id is not None else ("participant", participant.pk)


def _by_lot(studies: Sequence[Study], kinds: Sequence[str]) -> dict[tuple[str, Any], int]:
    took_part = Participant.objects.filter(pk__in=table.counted(studies, kinds).values("assignment__participant"))
    people = sorted({_person(participant) for participant in took_part})
    SystemRandom().shuffle(people)
    return {person: number for number, person in enumerate(people, start=1)}


def companions(study: Study) -> list[Study]:
    """The owner's published studies of the other kind about the same image set: ratings for drawings and back."""
    other = {"reasonability": "map_drawing", "map_drawing": "reasonability"}.get(study.kind)
    if other is None:
        return []
    others = Study.objects.filter(kind=other, image_set=study.image_set_id, owner=study.owner_id)
    return list(others.exclude(state=Study.State.DRAFT).order_by("-pk"))


@transaction.atomic
def start_phase2(
    study: Study,
    owner: Any,
    *,
    ratings: Sequence[Study] = (),
    drawings: Sequence[Study] = (),
    classifier: Classifier | None = None,
    explanation_set: ExplanationSet | None = None,
    partition: Partition | None = None,
    name: str = "",
    recipe: Mapping[str, Any] | None = None,
    kinds: Sequence[str] = ("human",),
    preset: str = "default",
    seed: int | None = None,
    enqueue: bool = True,
) -> tuple[Run, Run]:
    """(run, control): fine-tune the rated classifier on a fresh snapshot of `study` and its companions.

    `ratings` and `drawings` are further studies beside `study`. `recipe` holds options that differ from their
    defaults; None repeats phase 1's with the attention objective (`phase2_recipe`). The control reads the same images
    with the same steps, w_p, seed and selection rule, without the attention term. All or nothing is written.
    Raises FeedbackRefused or RunRefused, each with a sentence a field.
    """
    rated = [item for item in dict.fromkeys((study, *ratings)) if item.kind == "reasonability"]
    drew = [item for item in dict.fromkeys((study, *drawings)) if item.kind == "map_drawing"]
    if classifier is None:
        classifier = explanation_set.classifier if explanation_set else _taught(rated, drew)
    partition = partition or _partition_of(classifier)
    supervision = make_supervision(
        name=f"Answers to {study.name}",
        owner=owner,
        ratings=rated,
        drawings=drew,
        classifier=classifier,
        explanation_set=explanation_set,
        kinds=kinds,
        preset=preset,
    )
    phase1 = classifier.run
    chosen = dict(recipe) if recipe is not None else phase2_recipe(classifier, partition)
    run = start_run(
        kind="train",
        name=(name or f"{classifier.name}: phase 2")[:160],
        owner=owner,
        image_set=study.image_set,
        recipe={"objective": "gradia"} | chosen,
        partition=partition,
        classifier=classifier,
        supervision=supervision,
        seed=seed if seed is not None else phase1.seed if phase1 else 0,
        enqueue=enqueue,
    )
    return run, start_control(run, owner=owner, enqueue=enqueue)


def phase2_recipe(classifier: Classifier, partition: Partition | None) -> dict[str, Any]:
    """What phase 2 does unless told otherwise: phase 1's way of training with the GRADIA objective.

    The epoch is chosen by the attention IoU where the validation part has masks or boxes to measure it by.
    """
    recipe: dict[str, Any] = {"objective": "gradia"}
    if classifier.run is not None and classifier.run.kind == Run.Kind.TRAIN:
        known = {field.name for field in fields_for("train", recipe)}
        told = {key: value for key, value in classifier.run.recipe.items() if key in known}
        # The test part is looked at in a run of its own, when everything has been chosen.
        recipe = told | {"objective": "gradia", "evaluate_test": False}
    if partition is not None:
        members = partition.members.filter(part=Part.VALIDATION).values("image")
        measured = Mask.objects.filter(image__in=members).exists() or Box.objects.filter(image__in=members).exists()
        recipe["select"] = "best_attention_iou" if measured else "best_accuracy"
    return recipe


def _taught(rated: Sequence[Study], drew: Sequence[Study]) -> Classifier:
    """The classifier whose maps were rated; without ratings, the one whose images were chosen for drawing."""
    if rated:
        return _one_classifier(rated)
    chosen = {uuid for study in drew for uuid in study.version.settings.get("explanation_sets", [])}
    found = list(Classifier.objects.filter(explanation_sets__uuid__in=chosen).distinct())
    if len(found) != 1:
        raise FeedbackRefused({"classifier": "Choose the classifier that is to be taught."})
    return found[0]


def _partition_of(classifier: Classifier) -> Partition:
    if classifier.run is None or classifier.run.partition is None:
        raise FeedbackRefused({"partition": f"“{classifier}” was not trained here on a partition. Choose one."})
    return classifier.run.partition
