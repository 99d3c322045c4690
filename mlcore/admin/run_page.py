"""What the pages of runs show, read from the rows in a fixed number of queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef

from harmony.researcher import owned
from harmony.templatetags.researcher import metric_title, recipe_line
from mlcore.admin import run_tuning
from mlcore.catalogue import differences
from mlcore.models import Explanation, ExplanationSet, Image, Run, RunMetric, Score
from mlcore.runs import health, summary
from mlcore.runs.manifest import SHARDS, images_of

TWELVE = 12
LOG_LINES = 60
PART_TITLES = {"train": "training", "validation": "validation", "annotation_pool": "annotation pool", "test": "test"}
FIRST = (
    "loss",
    "accuracy",
    "mean_average_precision",
    "attention_iou",
    "score",
    "agreement",
    "average_drop",
    "increase_in_confidence",
)


def live(run: Run) -> dict[str, Any]:
    """The part of the page that is asked for again while the run is open."""
    is_open = run.state in Run.OPEN
    log = summary.log_tail(run, LOG_LINES)
    return {
        "run": run,
        "open": is_open,
        "took": summary.time_used(run),
        "time_left": summary.time_left(run),
        "log": log,
        "log_lines": LOG_LINES,
        "latest": latest_metrics([run]).get(run.pk, []) if is_open else [],
        "no_worker": run.state == Run.State.QUEUED and not health.workers_alive("training"),
    }


def latest_metrics(runs: Sequence[Run]) -> dict[int, list[dict[str, Any]]]:
    """The newest value of each curve of each run, loss and accuracy first; one query for all runs."""
    if not runs:
        return {}
    later = RunMetric.objects.filter(
        run=OuterRef("run"), name=OuterRef("name"), part=OuterRef("part"), step__gt=OuterRef("step")
    )
    rows = RunMetric.objects.filter(run__in=[run.pk for run in runs]).filter(~Exists(later))
    found: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        line = {
            "name": row.name,
            "title": metric_title(row.name),
            "part": PART_TITLES.get(row.part, row.part),
            "value": row.value,
        }
        found.setdefault(row.run_id, []).append(line)
    for lines in found.values():
        lines.sort(key=lambda line: (_rank(str(line["name"])), line["part"]))
        del lines[6:]
    return found


def curves(run: Run) -> dict[str, Any]:
    """The curves for the page's script: metrics in a fixed order, each with its parts' points [step, value]."""
    found: dict[str, list[summary.Curve]] = {}
    for curve in summary.curves(run):
        found.setdefault(curve.name, []).append(curve)
    titles, guides = run_tuning.titles(run), run_tuning.guides(run)
    metrics = [
        {
            "name": name,
            "title": titles.get(name) or metric_title(name),
            **({"guide": guides[name]} if name in guides else {}),
            "main": _rank(name) < len(FIRST),
            "series": [
                {"part": curve.part, "points": list(zip(curve.steps, curve.values, strict=True))}
                for curve in sorted(found[name], key=lambda curve: list(PART_TITLES).index(curve.part))
            ],
        }
        for name in sorted(found, key=lambda name: (_rank(name), name))
    ]
    return {"open": run.state in Run.OPEN, "state": run.state, "metrics": metrics}


def _rank(name: str) -> int:
    return next((place for place, first in enumerate(FIRST) if name.startswith(first)), len(FIRST))


@dataclass
class Pairs:
    """Maps of the same images, before and after; `before` is None where there was no classifier before."""

    before: ExplanationSet | None
    after: ExplanationSet
    rows: list[tuple[Image, Explanation | None, Explanation]]


def twelve(run: Run, user: Any) -> Pairs | None:
    """The same twelve images under the maps of the classifier before and after, if both were explained."""
    made = getattr(run, "made_classifier", None) if run.kind == Run.Kind.TRAIN else None
    if made is None:
        return None
    wanted = [made.pk, *([run.classifier_id] if run.classifier_id else [])]
    sets = owned(ExplanationSet.objects.filter(classifier__in=wanted, image_set=run.image_set_id), user)
    newest: dict[int, ExplanationSet] = {}
    for row in sets.order_by("-created"):
        newest.setdefault(row.classifier_id, row)
    after = newest.get(made.pk)
    if after is None:
        return None
    before = newest.get(run.classifier_id) if run.classifier_id else None
    later = Explanation.objects.filter(set=after).select_related("image").order_by("image__uuid")
    if before is None:
        return Pairs(None, after, [(row.image, None, row) for row in later[:TWELVE]])
    later = later.filter(image__in=Explanation.objects.filter(set=before).values("image"))[:TWELVE]
    earlier = {
        row.image_id: row for row in Explanation.objects.filter(set=before, image__in=[x.image_id for x in later])
    }
    return Pairs(before, after, [(row.image, earlier[row.image_id], row) for row in later])


def part_counts(run: Run) -> list[tuple[str, int]]:
    """How many images stand in each part of the frozen manifest."""
    counts = [(part, len(images)) for part, images in images_of(run.manifest) if images]
    shards = run.manifest.get(SHARDS, [])
    return [*([(f"{len(shards)} shards", sum(shard[3] for shard in shards))] if shards else []), *counts]


def comparison(runs: Sequence[Run]) -> dict[str, Any]:
    """Scores and recipes of the runs, a column each; recipe lines that differ are marked."""
    scores: dict[tuple[str, str], dict[int, Score]] = {}
    # Figures of maps, and a report's of several classifiers, are no figure of the run: they have tables of their own.
    figures = Score.objects.filter(run__in=runs, explanation_set=None).exclude(run__kind=Run.Kind.REPORT)
    for score in figures.defer("per_image").order_by("part", "metric"):
        scores.setdefault((score.metric, score.part), {})[score.run_id] = score
    recipes = [{line.field.name: line for line in differences(run.kind, run.recipe)} for run in runs]
    names = list(dict.fromkeys(name for recipe in recipes for name in recipe))
    lines = []
    for name in names:
        values = [recipe_line(recipe[name]) if name in recipe else None for recipe in recipes]
        label = next(recipe[name].field.label for recipe in recipes if name in recipe)
        lines.append({"label": label, "values": values, "differs": any(value != values[0] for value in values)})
    facts: list[tuple[str, list[Any]]] = [
        ("Seed", [str(run.seed) for run in runs]),
        ("Images", [str(run.image_set) for run in runs]),
        ("Partition", [run.partition.name if run.partition else None for run in runs]),
        ("Classifier", [str(run.classifier) if run.classifier else None for run in runs]),
        ("Gallery", [str(run.gallery) if run.gallery else None for run in runs]),
        ("What people said", [str(run.supervision) if run.supervision else None for run in runs]),
    ]
    about = [
        {"label": label, "values": values, "differs": any(value != values[0] for value in values)}
        for label, values in facts
    ]
    return {
        "score_rows": [
            {"metric": metric, "part": part, "values": [by_run.get(run.pk) for run in runs]}
            for (metric, part), by_run in scores.items()
        ],
        "recipe_rows": about + lines,
    }
