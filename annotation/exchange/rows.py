"""Answers as rows for exports: read in pieces of a fixed size, so that memory does not grow with the study."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from django.core.files.storage import default_storage
from django.db.models import QuerySet

from annotation.drawings import IMPORTANT, read_palette
from annotation.models import Answer, Assignment, DrawnMap, Judgement, Stimulus
from annotation.models.studies import Phase
from annotation.studies.base import Column

PIECE = 2000

COMMON = (
    Column("study", "UUID of the study", "UUID"),
    Column("version", "Version of the study's texts under which the answer stands", "from 1"),
    Column("trial", "UUID of the trial", "UUID"),
    Column("phase", "Only main trials enter figures", "practice, qualification, main, check"),
    Column("image", "UUID of the image", "UUID"),
    Column("image_name", "Name of the image in its set", "text"),
    Column("image_sha256", "SHA-256 of the image's file", "64 hex digits"),
    Column("participant", "Pseudonym, the same within the study", "text"),
    Column(
        "participant_kind", "Who answered; simulated and imported people are not people", "human, simulated, imported"
    ),
    Column("answer", "UUID of the answer", "UUID"),
    Column("revision", "How often the answer was sent; the newest counts", "from 1"),
    Column("duration_ms", "Visible time until the first answer was sent; empty: not measured", "milliseconds"),
    Column("opened", "When the person got the trial", "ISO 8601, UTC"),
    Column("answered", "When the first answer was kept", "ISO 8601, UTC"),
    Column("changed", "When the newest answer was kept", "ISO 8601, UTC"),
    Column("arm", "The condition that the trial stands in; empty where all stand in one trial", "text"),
    Column("place", "The person's how-manieth trial of its phase", "from 1; 0: not counted"),
    Column("check_correct", "Whether it was right, in practice, qualification and check trials", "true, false"),
    Column(
        "outcome", "How the person's participation ended; empty: it goes on",
        "completed, failed_checks, screened_out, declined, returned, timed_out",
    ),
    Column("counts", "Whether the answer enters figures: a main trial, not set aside", "true, false"),
    Column("shown_class", "The class that the page named; empty: none, or one a map", "text"),
)  # fmt: skip

_FIELDS = (
    "pk", "uuid", "revision", "duration_ms", "created", "changed", "version__number",
    "assignment__order", "assignment__opened", "assignment__participant__pseudonym", "assignment__participant__kind",
    "assignment__trial", "assignment__trial__uuid", "assignment__trial__phase", "assignment__trial__context",
    "assignment__trial__study__uuid", "assignment__trial__image__uuid", "assignment__trial__image__name",
    "assignment__trial__image__sha256", "assignment__trial__arm__name", "assignment__place", "correct",
    "assignment__participant__outcome", "assignment__state",
)  # fmt: skip

Piece = dict[int, dict[str, Any]]  # answer id → the common part of its rows, with a few facts under "_…"


def pieces(answers: "QuerySet[Answer]") -> Iterator[Piece]:
    """The common parts, in the order of the answers, some thousand at a time."""
    last = 0
    while True:
        found = list(answers.filter(pk__gt=last).order_by("pk").values_list(*_FIELDS)[:PIECE])
        if not found:
            return
        yield {row[0]: _common(row) for row in found}
        last = found[-1][0]


def _common(row: tuple) -> dict[str, Any]:
    (_, uuid, revision, duration, created, changed, version, order, opened, pseudonym, kind,
     trial, trial_uuid, phase, context, study, image, image_name, image_sha256,
     arm, place, correct, outcome, state) = row  # fmt: skip
    return {
        "study": str(study),
        "version": version,
        "trial": str(trial_uuid),
        "phase": phase,
        "image": str(image),
        "image_name": image_name,
        "image_sha256": image_sha256,
        "participant": pseudonym,
        "participant_kind": kind,
        "answer": str(uuid),
        "revision": revision,
        "duration_ms": duration,
        "opened": opened.isoformat(timespec="milliseconds"),
        "answered": created.isoformat(timespec="milliseconds"),
        "changed": changed.isoformat(timespec="milliseconds"),
        "arm": arm,
        "place": place,
        "check_correct": correct,
        "outcome": outcome,
        "counts": phase == Phase.MAIN and state == Assignment.State.ANSWERED,
        "shown_class": context.get("class_name"),
        "_order": order,
        "_trial": trial,
        "_class_names": context.get("class_names") or [],
    }


def _plain(common: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in common.items() if not key.startswith("_")}


def reasonability(answers: "QuerySet[Answer]") -> Iterator[dict[str, Any]]:
    """One row for each map that a person rated."""
    for piece in pieces(answers):
        stimuli = {
            pk: (slot, condition, target, method, classifier)
            for pk, slot, condition, target, method, classifier in Stimulus.objects.filter(
                trial__in={common["_trial"] for common in piece.values()}
            ).values_list(
                "pk", "slot", "condition", "explanation__target", "explanation__set__method",
                "explanation__set__classifier__uuid",
            )
        }  # fmt: skip
        said: dict[tuple[int, int], dict[str, Any]] = defaultdict(dict)
        judged = Judgement.objects.filter(answer__in=list(piece), stimulus__isnull=False)
        for answer, stimulus, question, truth, number in judged.order_by("answer", "stimulus").values_list(
            "answer", "stimulus", "question", "truth", "number"
        ):
            said[answer, stimulus][question] = truth if truth is not None else number
        for (answer, stimulus), values in said.items():
            common = piece[answer]
            slot, condition, target, method, classifier = stimuli[stimulus]
            names = common["_class_names"]
            row = _plain(common)
            if row["shown_class"] is None and names:
                row["shown_class"] = names[slot]
            yield row | {
                "necessary": values["necessary"],
                "unnecessary": values["unnecessary"],
                "quality": int(values["quality"]),
                "reasonable": values["necessary"] and not values["unnecessary"],
                "position": common["_order"].index(slot),
                "slot": slot,
                "condition": condition,
                "classifier": str(classifier),
                "method": method,
                "explained_class": target,
            }


def map_drawing(answers: "QuerySet[Answer]", *, full: bool = False) -> Iterator[dict[str, Any]]:
    """One row an answer. `full` adds the map itself: `map_rle`, the important pixels as COCO's uncompressed RLE."""
    for piece in pieces(answers):
        nothing = dict(
            Judgement.objects.filter(answer__in=list(piece), question="nothing").values_list("answer", "truth")
        )
        drawn = {
            row[0]: row[1:]
            for row in DrawnMap.objects.filter(answer__in=list(piece)).values_list(
                "answer", "share", "width", "height", "sha256", "file"
            )
        }
        for answer, common in piece.items():
            share, width, height, sha256, file = drawn.get(answer, (None,) * 5)
            row = _plain(common) | {
                "nothing": nothing.get(answer, False),
                "share": share,
                "width": width,
                "height": height,
                "map_sha256": sha256,
                "map_file": file,
            }
            if full:
                row["map_rle"] = None if file is None else run_lengths(_important(file))
            yield row


def _important(file: str) -> np.ndarray:
    with default_storage.open(file, "rb") as stream:
        return read_palette(stream.read()) == IMPORTANT


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed run lengths: column by column, zeros first. `mask`: (H, W) bool."""
    flat = np.concatenate([[False], mask.T.ravel(), [not bool(mask.T.ravel()[-1])]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes]))
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": [int(count) for count in counts]}
