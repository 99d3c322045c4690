"""What the before/after page shows: figures with the control, people's matrix of both, maps that changed most."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from PIL import Image as Pictures

from annotation.admin import results
from annotation.models import Study
from harmony.pictures import SIDES, STYLES, answer
from harmony.researcher import owned
from mlcore.exchange import render
from mlcore.models import AuditEntry, Explanation, ExplanationSet, Run, SupervisionItem
from mlcore.runs.summary import BeforeAfter, before_after

CONSIDERED = 400  # images whose maps are compared
SHOWN = 24
COLUMNS = (("phase1", "Before"), ("phase2", "After"), ("control", "Control without maps"))


@dataclass
class Changed:
    """One image, its maps before and after, and how far they are apart (0 to 1)."""

    row: Any
    distance: float
    before: str
    after: str
    drawn: bool


def shown(run: Run, user: Any) -> dict[str, Any]:
    """Everything that the page needs about a phase 2 run."""
    found = before_after(None, run, run.control, images=CONSIDERED)
    study = _study(run, user)
    return {
        "columns": [(name, label, found.classifiers.get(name)) for name, label in COLUMNS],
        "figures": found.figures,
        "missing": found.missing,
        "changed": _most_changed(run, found),
        "study": study,
        "ratings": _ratings(run, found, user),
        "ask_url": _ask_url(found),
        "test_looks": AuditEntry.objects.filter(action="run.look_at_test", after__partition=str(run.partition)).count(),
    }


def picture(request: HttpRequest, run: Run, explanation: Explanation, style: str, side: int) -> HttpResponse:
    """The map with the outline of what people painted, where they painted something."""
    if style not in STYLES or side not in SIDES:
        raise Http404("There is no such picture.")
    item = SupervisionItem.objects.filter(supervision=run.supervision_id, image=explanation.image_id).first()

    def draw() -> Any:
        mask = None
        if item is not None and item.map:
            with item.map.open("rb") as stream, Pictures.open(stream) as painted:
                mask = np.asarray(painted) == 1
        try:
            return render.overlay(explanation, style=style, mask=mask, side=side)
        except render.MapUnavailable as error:
            raise Http404(str(error)) from error

    tag = f"{explanation.uuid}-{run.supervision_id}-{style}-{side}"
    return answer(request, tag, draw)


def distance(before: np.ndarray, after: np.ndarray) -> float:
    """How far two maps are apart: half the summed difference of their shares of positive mass, 0 to 1.

    Maps of different sizes are compared at the smaller one's cells; a map without positive mass is uniform.
    """
    shares = []
    height, width = min(before.shape[0], after.shape[0]), min(before.shape[1], after.shape[1])
    for found in (before, after):
        positive = np.clip(np.nan_to_num(found), 0, None).astype(np.float32)
        if positive.shape != (height, width):
            resized = Pictures.fromarray(positive).resize((width, height), Pictures.Resampling.BOX)
            positive = np.asarray(resized)
        total = float(positive.sum())
        shares.append(positive / total if total > 0 else np.full((height, width), 1 / (height * width)))
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _most_changed(run: Run, found: BeforeAfter) -> list[Changed]:
    rows = [row for row in found.images if row.phase1 is not None and row.phase2 is not None]
    if not rows:
        return []
    key = hashlib.sha256("/".join(f"{r.phase1.pk}:{r.phase2.pk}" for r in rows).encode()).hexdigest()  # type: ignore[union-attr]
    distances = cache.get(f"map-distances-{key}")
    if distances is None:
        distances = {
            row.image.pk: distance(render.load_map(row.phase1), render.load_map(row.phase2))  # type: ignore[arg-type]
            for row in rows
        }
        cache.set(f"map-distances-{key}", distances, 3600)
    rows = sorted(rows, key=lambda row: -distances[row.image.pk])[:SHOWN]
    drawn = set(
        SupervisionItem.objects.filter(supervision=run.supervision_id, image__in=[row.image for row in rows])
        .exclude(map="")
        .values_list("image", flat=True)
    )
    classes = found.classifiers["phase2"].classes

    def said(row: Any, column: str) -> str:
        prediction, shown = row.predictions.get(column), getattr(row, column)
        label = prediction.label if prediction else None
        if label is None and shown is not None and shown.set.target == ExplanationSet.Target.PREDICTED:
            label = shown.target  # the class that the map explains is the one that it predicts
        return classes[label] if label is not None and label < len(classes) else ""

    return [
        Changed(row, distances[row.image.pk], said(row, "phase1"), said(row, "phase2"), row.image.pk in drawn)
        for row in rows
    ]


def _study(run: Run, user: Any) -> Study | None:
    if run.supervision is None or run.supervision.source is None:
        return None
    return owned(Study.objects.filter(uuid=run.supervision.source), user).first()


def _ratings(run: Run, found: BeforeAfter, user: Any) -> list[results.Rated]:
    there = [(label, found.classifiers[name]) for name, label in COLUMNS if name in found.classifiers]
    if "phase1" not in found.classifiers:
        return []
    return results.ratings_of(there, found.classifiers["phase1"], run.supervision, user)


def _ask_url(found: BeforeAfter) -> str:
    """Where people are asked about both classifiers' maps, side by side."""
    row = next((row for row in found.images if row.phase1 is not None and row.phase2 is not None), None)
    if row is None:
        return ""
    sets = [row.phase1.set_id, row.phase2.set_id]  # type: ignore[union-attr]
    return f"{reverse('admin:annotation_study_create')}?{'&'.join(f'explanations={pk}' for pk in sets)}"


__all__ = ["STYLES", "distance", "picture", "shown"]
