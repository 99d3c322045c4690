"""Scripted annotators answer a study the way that people do: they enter, claim, and submit.

They are participants of the kind "simulated", named scripted-1, scripted-2, …; what they say comes from the true
masks with stated error rates (`mlcore.exchange.scripted`), and every figure that rests on them says so.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from PIL import Image as Pillow

from annotation.answers import submit
from annotation.assignment import claim_next, stimulus_at
from annotation.drawings import IMPORTANT, UNKNOWN, palette_png
from annotation.errors import StudyRefused
from annotation.flow import enter_as
from annotation.models import Assignment, Participant, Study
from annotation.models.studies import RANDOM_KEY_BITS
from annotation.studies import kind_of
from mlcore.exchange.render import MapUnavailable, scaled_map
from mlcore.exchange.scripted import ErrorRates, ScriptedAnnotator
from mlcore.models import Image

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Simulated:
    """What was done: people who took part and answers that they gave in this call."""

    people: int
    answers: int


def simulate(
    study: Study,
    *,
    people: int = 1,
    seed: int = 0,
    rates: ErrorRates | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Simulated:
    """Let `people` scripted annotators answer all that they are handed, or at most `limit` trials each.

    Calling again goes on where the first call stopped. `progress(done, of)` is called after each answer.
    Raises StudyClosed for a study that is not live; StudyRefused for a kind that they cannot answer, or an image
    without a mask or a box.
    """
    answer = ANSWERS.get(study.kind)
    if answer is None:
        raise StudyRefused(f"Scripted annotators cannot answer a study of the kind “{study.kind}”.")
    trials = int(study.version.settings.get("trials", 0))
    total = people * (trials if limit is None else min(limit, trials))
    done = 0
    for number in range(1, people + 1):
        rng = random.Random(f"{seed}/{number}")
        person = enter_as(
            study,
            f"scripted-{number}",
            Participant.Kind.SIMULATED,
            order_offset=rng.getrandbits(RANDOM_KEY_BITS),
        )
        script = ScriptedAnnotator(seed=seed * 1_000_003 + number, rates=rates or ErrorRates())
        given = 0
        while limit is None or given < limit:
            assignment = claim_next(person)
            if assignment is None:
                break
            payload, drawing = answer(script, assignment)
            # Drawn from the trial, so that a repeat after a crash is the same submission.
            submission = UUID(int=random.Random(f"{person.uuid}/{assignment.uuid}").getrandbits(128), version=4)
            submit(assignment=assignment, submission=submission, payload=payload, drawing=drawing)
            given += 1
            done += 1
            if progress is not None:
                progress(done, max(total, done))
    return Simulated(people, done)


def _rate(script: ScriptedAnnotator, assignment: Assignment) -> tuple[dict[str, Any], None]:
    """Each map against the true mask, in the order of the page."""
    image = assignment.trial.image
    mask = true_mask(image)
    maps = []
    for position in range(len(assignment.order)):
        stimulus = stimulus_at(assignment, position)
        if stimulus is None or stimulus.explanation is None:
            raise StudyRefused(f"Image {image.name} has no map to rate.")
        try:
            attention = evaluation_map(scaled_map(stimulus.explanation, (image.width, image.height)))
        except MapUnavailable as error:
            raise StudyRefused(f"Image {image.name}: its map cannot be read ({error}).") from error
        rated = script.rate(attention, mask, f"{image.sha256}/{stimulus.slot}")
        maps.append(
            {
                "position": position,
                "necessary": rated.necessary,
                "unnecessary": rated.unnecessary,
                "quality": rated.quality,
            }
        )
    return {"maps": maps}, None


def _draw(script: ScriptedAnnotator, assignment: Assignment) -> tuple[dict[str, Any], bytes | None]:
    image = assignment.trial.image
    drawn = script.draw(true_mask(image), image.sha256)
    if drawn is None:
        return {"strokes": [], "nothing": True}, None
    return {"strokes": []}, palette_png(np.where(drawn, IMPORTANT, UNKNOWN).astype(np.uint8))


def _prefer(script: ScriptedAnnotator, assignment: Assignment) -> tuple[dict[str, Any], None]:
    """The two maps in the order of their slots, so that the side says nothing; answered as the page asks."""
    image = assignment.trial.image
    shown: dict[int, np.ndarray] = {}
    for position, slot in enumerate(assignment.order):
        stimulus = stimulus_at(assignment, position)
        if stimulus is None or stimulus.explanation is None:
            raise StudyRefused(f"Image {image.name} has no map to compare.")
        shown[slot] = scaled_map(stimulus.explanation, (image.width, image.height))
    said = script.prefer(shown[0], shown[1], true_mask(image), f"{image.sha256}/{assignment.trial.arm_id}")
    settings = assignment.trial.study.version.settings
    if not said and not settings["neither"]:
        said = 1 if script.accept(True, f"{image.sha256}/either") else -1
    side = said if assignment.order[1] == 1 else -said
    if settings["form"] == "slider":
        return {"preference": 2 * side}, None
    return {"choice": {-1: "a", 0: "neither", 1: "b"}[side]}, None


def _accept(script: ScriptedAnnotator, assignment: Assignment) -> tuple[dict[str, Any], None]:
    trial = assignment.trial
    known = kind_of(trial.study).known_gold(trial)
    if known is None:
        raise StudyRefused(f"Image {trial.image.name} has no label, so nobody can say whether the AI is right.")
    accepted = script.accept(bool(known["accept"]), f"{trial.image.sha256}/{trial.arm_id}")
    payload: dict[str, Any] = {"accept": accepted}
    if trial.study.version.settings.get("own_confidence", "none") != "none":
        payload["confidence"] = 4
    return payload, None


ANSWERS = {"reasonability": _rate, "map_drawing": _draw, "preference": _prefer, "team": _accept}


def evaluation_map(attention: np.ndarray) -> np.ndarray:
    """Minimum to 0 and maximum to 1; a constant map is 0 everywhere."""
    low, high = float(attention.min()), float(attention.max())
    return (attention - low) / (high - low) if high > low else np.zeros_like(attention)


def true_mask(image: Image) -> np.ndarray:
    """The union of the image's masks, else of its boxes, bool (H, W). Raises StudyRefused where it has neither."""
    union = np.zeros((image.height, image.width), dtype=bool)
    for mask in image.masks.all():
        with mask.file.open("rb") as stream, Pillow.open(stream) as picture:
            union |= np.asarray(picture.convert("L")) >= 128
    if not union.any():
        xs, ys = np.arange(image.width) + 0.5, np.arange(image.height) + 0.5
        for box in image.boxes.all():
            inside = (xs >= box.x0) & (xs < box.x1)
            union |= ((ys >= box.y0) & (ys < box.y1))[:, None] & inside[None, :]
    if not union.any():
        raise StudyRefused(
            f"Image {image.name} has neither a mask nor a box, so scripted annotators cannot say anything about it."
        )
    return union
