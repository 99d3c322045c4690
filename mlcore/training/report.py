"""A report job: of every classifier its accuracy, maps by every method, and what metrics say of them.

The work is that of an evaluation, an explanation and a score job, one after another for each classifier, by their own
code: figures are the same. What they report is passed on with the classifier's or the set's id, on one bar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlcore.training.errors import Cancelled, JobError
from mlcore.training.events import Reporter
from mlcore.training.explain import explain
from mlcore.training.job import ClassifierSpec, Item, Job, classifier_spec
from mlcore.training.machine import fix_randomness, versions
from mlcore.training.measure import measure
from mlcore.training.results import PREDICTION_ROWS
from mlcore.training.score import score
from mlcore.training.setup import loader_of, machine_of, model_of, viewing_of

ACCURACY = "accuracy"


@dataclass
class Entry:
    """One classifier of the report: what is to be made and measured of it."""

    id: str
    name: str
    classifier: ClassifierSpec
    transform: dict[str, Any]
    attention: dict[str, str]
    accuracy: bool
    sets: list[dict[str, Any]]

    def steps(self, images: Sequence[str]) -> tuple[int, int, int]:
        """Images to predict, maps to make, values to measure."""
        missing = sum(image not in one["maps"] for one in self.sets for image in images)
        values = len(images) * sum(len(one["metrics"]) for one in self.sets)
        return len(images) if self.accuracy else 0, missing, values


class Bar:
    """Steps of the whole report, whatever its parts count."""

    def __init__(self, reporter: Reporter, total: int) -> None:
        self.reporter, self.total, self.done = reporter, total, 0

    def part(self, stage: str, counted: str, steps: int, note: Callable[[dict[str, Any]], None]) -> Reporter:
        """A reporter for one part, worth so many steps. Its own bar moves this one while its stage is `counted`;
        every other event goes to `note`."""

        def emit(event: dict[str, Any]) -> None:
            if event["event"] == "progress":
                share = event["step"] / event["total"] if event["stage"] == counted and event["total"] else 0.0
                inside = stage if event["stage"] == counted else f"{event['stage']}, {stage}"
                self.reporter.send("progress", stage=inside, step=self.done + int(steps * share), total=self.total)
            elif event["event"] != "started":  # the report has started already
                note(event)

        return Reporter(emit)

    def pass_on(self, event: dict[str, Any], **more: Any) -> None:
        """The event as it is, with more fields."""
        self.reporter.send(event["event"], **{key: value for key, value in event.items() if key != "event"} | more)


def report(job: Job, reporter: Reporter, cancelled: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Make and measure what is missing; the fields of the "result" event are returned.

    Events "predictions" and "scores" of accuracy name the classifier, "shard" and the other "scores" the set of maps.
    Figures are told as soon as a classifier's are complete, maps shard by shard. Raises Cancelled between batches.
    """
    items = [item for part in job.parts.values() for item in part]
    if not items:
        raise JobError("There is no image to report on.")
    entries = [_entry(raw) for raw in job.reports]
    machine = machine_of(job)
    if not machine.is_main:
        return {}
    images = [item.id for item in items]
    total = sum(sum(entry.steps(images)) for entry in entries)
    reporter.send("started", versions=versions(), device=str(machine.device), total_steps=total)
    without = sum(not item.has_reference for item in items)
    if without:
        reporter.log(f"{without} of {len(items)} images have no mask or box; metrics that need one leave them out.")
    bar = Bar(reporter, total)
    for number, entry in enumerate(entries, 1):
        where = f"{entry.name} ({number} of {len(entries)})"
        own = replace(job, classifier=entry.classifier, recipe=job.recipe | entry.transform | entry.attention)
        predict, maps, values = entry.steps(images)
        if predict:
            _predict(own, entry, items, bar, f"predicting, {where}", predict, cancelled)
            bar.done += predict
        if maps:
            _explain(own, entry, bar, f"explaining, {where}", maps, cancelled)
            bar.done += maps
        if values:
            _score(own, entry, len(images), bar, f"scoring, {where}", cancelled)
    sets = sum(len(entry.sets) for entry in entries)
    return {
        "weights": None,
        "selected_epoch": None,
        "summary": {"classifiers": len(entries), "sets": sets, "images": len(items), "without_reference": without},
    }


def _entry(raw: dict[str, Any]) -> Entry:
    try:
        return Entry(
            id=str(raw["id"]),
            name=str(raw["name"]),
            classifier=classifier_spec(raw["classifier"]),
            transform=dict(raw["transform"]),
            attention=dict(raw.get("attention") or {}),
            accuracy=bool(raw["accuracy"]),
            sets=[dict(one) | {"maps": dict(one["maps"]), "shards": list(one["shards"])} for one in raw["sets"]],
        )
    except KeyError as error:
        raise JobError(f"A classifier of the report lacks “{error.args[0]}”.") from error


def _predict(
    job: Job, entry: Entry, items: list[Item], bar: Bar, stage: str, steps: int, cancelled: Callable[[], bool]
) -> None:
    """Accuracy as an evaluation measures it, and what the classifier says about each image."""
    machine = machine_of(job)
    fix_randomness(job.seed)
    reporter = bar.part(stage, "looking at", steps, lambda event: bar.pass_on(event, classifier=entry.id))
    found = measure(
        machine,
        model_of(job, machine).eval(),
        loader_of(job, machine, items, reporter, keep=False),
        viewing_of(job, maps=False),
        progress=lambda done, total: reporter.progress("looking at", done, total),
        cancelled=cancelled,
    )
    for start in range(0, len(found.predictions), PREDICTION_ROWS):
        reporter.send("predictions", rows=found.predictions[start : start + PREDICTION_ROWS])
    reporter.send("scores", rows=[row for row in found.rows() if row["metric"] == ACCURACY])


def _explain(job: Job, entry: Entry, bar: Bar, stage: str, steps: int, cancelled: Callable[[], bool]) -> None:
    """Maps that are missing, of all methods in one pass; the entry's sets know them afterwards."""
    by_method = {str(one["method"]): one for one in entry.sets}

    def note(event: dict[str, Any]) -> None:
        if event["event"] == "shard":
            one = by_method[event["method"]]
            for row in event["rows"]:
                one["maps"][row["image"]] = (len(one["shards"]), row["index"], row["target"])
            one["shards"].append(str(job.workdir / event["path"]))
            bar.pass_on(event, set=one["id"])
        else:
            bar.pass_on(event, **({"classifier": entry.id} if event["event"] == "predictions" else {}))

    skip = {name: frozenset(one["maps"]) for name, one in by_method.items()}
    job = replace(job, kind="explain", recipe=job.recipe | {"methods": list(by_method)}, skip=skip)
    explain(job, bar.part(stage, "explaining", steps, note), cancelled)


def _score(job: Job, entry: Entry, images: int, bar: Bar, stage: str, cancelled: Callable[[], bool]) -> None:
    """Metrics that are missing; sets that lack the same ones are measured together."""
    lacking: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for one in entry.sets:
        if one["metrics"]:
            lacking.setdefault(tuple(one["metrics"]), []).append(one)
    for names, sets in lacking.items():
        if cancelled():
            raise Cancelled
        steps = images * len(sets) * len(names)
        part = replace(job, kind="score", recipe=job.recipe | {"metrics": list(names)}, sets=tuple(sets))
        score(part, bar.part(stage, "scoring", steps, lambda event: bar.pass_on(event)), cancelled)
        bar.done += steps
