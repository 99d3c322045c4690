"""A classification by comparison (definitions §6): queries against a gallery, by one or several ways of comparing.

Features of both are computed once and kept (`mlcore.correspondence.store`); candidates are searched, each matcher ranks
them anew, and the first of them vote. What was said of an image is told as soon as its batch is done: a job that is
started again leaves out what it is given as said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlcore.catalogue.matchers import MATCHERS
from mlcore.correspondence.base import Compared, Described
from mlcore.correspondence.store import GalleryCorrupt
from mlcore.correspondence.vote import vote
from mlcore.training.correspond_clean import REASONS, Cleaner
from mlcore.training.correspond_features import Features, Stores
from mlcore.training.correspond_figures import HEAD, Said, accuracy_row, figures
from mlcore.training.correspond_rows import Places, neighbour_rows
from mlcore.training.correspond_search import Found, search
from mlcore.training.errors import Cancelled, JobError
from mlcore.training.events import Reporter
from mlcore.training.job import Item, Job
from mlcore.training.machine import Machine, fix_randomness, versions
from mlcore.training.measure import measure
from mlcore.training.results import PREDICTION_ROWS
from mlcore.training.setup import geometry_of, loader_of, machine_of, model_of, resolve, viewing_of

NO_ANSWER = "no right answer known"
UNKNOWN_TO_HEAD = "a class that the classifier does not know"
DESCRIBING, COMPARING, LOOKING = "describing", "comparing", "looking at"
BLOCK_BYTES = 256 << 20  # candidates' features in float32 that are compared at once
NETWORK_AT_ONCE = 2  # queries on a CPU, where a network takes seconds a query: a run that is killed loses no more


@dataclass
class Way:
    """One way of comparing: its matcher (None leaves the order of the search), its set, what it has said."""

    name: str
    id: str
    payload: str
    matcher: Any
    said: dict[str, Said] = field(default_factory=dict)
    seconds: float = 0.0
    compared: int = 0


@dataclass
class Comparison:
    """What the job is about, besides its queries."""

    raw: Mapping[str, Any]
    gallery: list[Item]
    right: dict[str, tuple[int, ...]]
    labels: Tensor
    ways: list[Way]


def correspond(job: Job, reporter: Reporter, cancelled: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Compare what is missing; the fields of the "result" event are returned.

    Events "matches" carry the answers of one set for one batch, "gallery" says what features are kept; "predictions"
    and "scores" are as of other jobs. Raises Cancelled between batches.
    """
    queries = [item for part in job.parts.values() for item in part]
    if not queries:
        raise JobError("There is no image to classify.")
    if len(job.gallery) < 2:
        raise JobError("A gallery holds two images or more.")
    machine = machine_of(job)
    if not machine.is_main:
        return {}
    fix_randomness(job.seed)
    model = model_of(job, machine).eval()
    about = _read(job, machine)
    steps = _steps(job, queries, about)
    reporter.send("started", versions=versions(), device=str(machine.device), total_steps=steps)
    bar = Bar(reporter, steps)
    stores = Stores(job, machine, model, about.raw["stores"], reporter, cancelled)
    features = stores.ready(queries, about.gallery, bar.of(DESCRIBING))
    bar.done += len(queries) + len(about.gallery)
    cleaner = Cleaner(job.recipe, reporter, cancelled)
    kept = cleaner.alone(queries)
    found = search(job, features, kept, reporter)
    kept, found = cleaner.beside_gallery(kept, found, about.gallery)
    if not kept:
        raise JobError(f"No query is left: {_counted(cleaner.left_out)}.")
    _compare_all(job, machine, about, kept, found, features, reporter, bar, cancelled)
    head = _ask_head(job, machine, model, kept, about, reporter, bar, cancelled)
    return {
        "weights": None,
        "selected_epoch": None,
        **_told(about, kept, cleaner.left_out, found, head, stores, reporter),
    }


class Bar:
    """Steps of the whole job, whatever its stages count."""

    def __init__(self, reporter: Reporter, total: int) -> None:
        self.reporter, self.total, self.done = reporter, total, 0

    def of(self, stage: str) -> Callable[[int, int], None]:
        """Progress of one stage, counted from where the bar stands."""
        return lambda done, total: self.reporter.progress(stage, min(self.done + done, self.total), self.total)


def _read(job: Job, machine: Machine) -> Comparison:
    raw = job.compare
    try:
        right = {str(image): tuple(int(one) for one in told) for image, told in raw["right"].items() if told}
        ways = [_way(one, machine) for one in raw["matchers"]]
    except KeyError as error:
        raise JobError(f"The comparison lacks “{error.args[0]}”.") from error
    labels = [item.label for item in job.gallery]
    if any(label is None for label in labels):
        raise JobError("An image of the gallery has no label, so it cannot vote.")
    return Comparison(raw, list(job.gallery), right, torch.tensor(labels), ways)


def _way(raw: Mapping[str, Any], machine: Machine) -> Way:
    name = str(raw["name"])
    if name not in MATCHERS:
        raise JobError(f"There is no way of comparing “{name}”; there are {', '.join(MATCHERS)}.")
    spec = MATCHERS[name]
    matcher = None
    if spec.path:
        try:
            matcher = resolve(spec.path)(**raw["options"])
        except (TypeError, ValueError, OSError) as error:
            raise JobError(f"{spec.title} refuses its options: {error}") from error
        if isinstance(matcher, nn.Module):
            matcher = matcher.to(machine.device).eval()
    said = {str(image): Said(*told) for image, told in raw["done"].items()}
    return Way(name, str(raw["id"]), spec.payload, matcher, said)


def _steps(job: Job, queries: Sequence[Item], about: Comparison) -> int:
    described = len(queries) + len(about.gallery)
    return described + len(queries) * (len(about.ways) + bool(job.option("head", True)))


# --- comparing ------------------------------------------------------------------------------------------------------


def _compare_all(
    job: Job,
    machine: Machine,
    about: Comparison,
    kept: list[Item],
    found: Found,
    features: Features,
    reporter: Reporter,
    bar: Bar,
    cancelled: Callable[[], bool],
) -> None:
    at_once = max(1, min(int(job.option("batch_size", 32)), BLOCK_BYTES // max(features.bytes_of(found.width), 1)))
    if features.middle is not None and machine.device.type == "cpu":
        at_once = min(at_once, NETWORK_AT_ONCE)
    places = Places(geometry_of(job), features.grid)
    for start in range(0, len(kept), at_once):
        batch = range(start, min(start + at_once, len(kept)))
        asked = [way for way in about.ways if any(kept[place].id not in way.said for place in batch)]
        described: tuple[Described, Described] | None = None
        for way in asked:
            if cancelled():
                raise Cancelled
            missing = [place for place in batch if kept[place].id not in way.said]
            if way.matcher is not None and (described is None or len(missing) != len(batch)):
                described = _described(features, kept, found, missing, machine)
            began = time.perf_counter()
            rows = _decide(job, way, about, kept, found, missing, described, places)
            way.seconds += time.perf_counter() - began
            way.compared += len(missing)
            reporter.send("matches", set=way.id, rows=rows)
            if way.matcher is not None and len(missing) != len(batch):
                described = None  # those of a part of the batch are of this way alone
        bar.of(COMPARING)(sum(len(batch) for _ in about.ways), 0)
        bar.done += len(batch) * len(about.ways)


def _described(
    features: Features, kept: Sequence[Item], found: Found, places: Sequence[int], machine: Machine
) -> tuple[Described, Described]:
    names, rows = [kept[place].id for place in places], found.rows[list(places)].clamp(min=0)
    try:
        return features.described(names, rows, machine.device)
    except GalleryCorrupt as error:
        raise JobError(f"{error} Resume the run: what it held is computed again.") from error


def _decide(
    job: Job,
    way: Way,
    about: Comparison,
    kept: Sequence[Item],
    found: Found,
    asked: Sequence[int],
    described: tuple[Described, Described] | None,
    places: Places,
) -> list[dict[str, Any]]:
    """Rank, vote, and write down what is said of these queries."""
    rows, scores = found.rows[list(asked)], found.scores[list(asked)]
    there = rows >= 0
    compared: Compared | None = None
    if way.matcher is not None:
        assert described is not None, "a matcher is given features"
        try:
            with torch.no_grad():
                compared = way.matcher.compare(*described)
        except ValueError as error:
            raise JobError(f"{MATCHERS[way.name].title}: {error}") from error
        scores = compared.scores.float().cpu()
        _check_finite(way, scores.masked_fill(~there, 0), [kept[place] for place in asked])
    # What the search did not fill stays last.
    scores = scores.masked_fill(~there, -torch.inf)
    order = scores.argsort(dim=1, descending=True, stable=True)
    labels = torch.where(there, about.labels[rows.clamp(min=0)], -1).gather(1, order)
    told, confidence = vote(
        labels, votes=int(job.option("votes", 20)), ties=str(job.option("ties", "nearest"))
    )  # fmt: skip
    converged = None if compared is None or compared.converged is None else (compared.converged.cpu() & there).sum(1)
    written = []
    for line, place in enumerate(asked):
        item = kept[place]
        one = Said(
            label=int(told[line]),
            confidence=round(float(confidence[line]), 6),
            first=int(labels[line, 0]),
            converged=None if converged is None else int(converged[line]),
            compared=None if converged is None else int(there[line].sum()),
        )
        way.said[item.id] = one
        nearest = neighbour_rows(
            item, about.gallery, rows[line], scores[line], order[line], about.labels, compared, line,
            int(job.option("neighbours", 10)), places,
        )  # fmt: skip
        written.append(
            {
                "image": item.id,
                "target": one.label,
                "confidence": one.confidence,
                "first": one.first,
                "neighbours": nearest,
                **({"converged": one.converged, "compared": one.compared} if converged is not None else {}),
            }
        )
    return written


def _check_finite(way: Way, scores: torch.Tensor, queries: Sequence[Item]) -> None:
    """Raises JobError: what is no number would be ranked by chance, and kept as an answer."""
    good = scores.isfinite().all(dim=1)
    if not bool(good.all()):
        worst = queries[int((~good).nonzero()[0, 0])]
        raise JobError(f"{MATCHERS[way.name].title} gave scores that are no numbers for {Path(worst.path).name}.")


# --- the classifier's own answer ------------------------------------------------------------------------------------


def _ask_head(
    job: Job,
    machine: Machine,
    model: nn.Module,
    kept: list[Item],
    about: Comparison,
    reporter: Reporter,
    bar: Bar,
    cancelled: Callable[[], bool],
) -> dict[str, Said] | None:
    """What the head says of the queries whose class it knows by name, in the gallery's classes; None where it is not
    asked. Its predictions of all queries are told."""
    known = about.raw.get("head")
    if not job.option("head", True) or not known:
        return None
    classes = {place for place in known if place is not None}
    if not classes:
        reporter.log("The classifier knows none of the gallery's classes by name, so its own answer is left out.")
        return None
    found = measure(
        machine,
        model,
        loader_of(job, machine, kept, reporter, keep=False),
        viewing_of(job, maps=False),
        progress=lambda done, total: bar.of(LOOKING)(len(kept) * done // max(total, 1), 0),
        cancelled=cancelled,
    )
    bar.done += len(kept)
    for start in range(0, len(found.predictions), PREDICTION_ROWS):
        reporter.send("predictions", rows=found.predictions[start : start + PREDICTION_ROWS])
    said = {}
    for row in found.predictions:
        answers = about.right.get(row["image"], ())
        if classes.intersection(answers) and row["confidence"] is not None:
            place = known[row["label"]]
            said[row["image"]] = Said(-1 if place is None else int(place), float(row["confidence"]))
    return said


# --- what is told at the end ----------------------------------------------------------------------------------------


def _told(
    about: Comparison,
    kept: Sequence[Item],
    left_out: Mapping[str, int],
    found: Found,
    head: dict[str, Said] | None,
    stores: Stores,
    reporter: Reporter,
) -> dict[str, Any]:
    """Scores of each way are sent; the run's result is returned."""
    ids = [item.id for item in kept]
    right = {image: about.right[image] for image in ids if image in about.right}
    out = {reason: count for reason, count in left_out.items() if count}
    if len(right) < len(ids):
        out[NO_ANSWER] = len(ids) - len(right)
    said = {way.name: {image: way.said[image] for image in ids} for way in about.ways}
    for way in about.ways:
        reporter.send("scores", set=way.id, rows=[accuracy_row(said[way.name], right, out)])
    if head is not None:
        known = {image: right[image] for image in head}
        unknown = {UNKNOWN_TO_HEAD: len(right) - len(known)}
        reporter.send("scores", rows=[accuracy_row(head, known, out | unknown)])
        said[HEAD] = head
    told = figures(said, right)
    timed = {one.name: one for one in about.ways}
    for row in told["ways"]:
        if row["name"] in timed:
            way = timed[row["name"]]
            row |= {"set": way.id, "milliseconds": 1000 * way.seconds / way.compared if way.compared else None}
        elif row["name"] == HEAD:
            row["unknown"] = len(right) - row["n"]
    comparison = told | {
        "queries": len(ids),
        "gallery": len(about.gallery),
        "left_out": out,
        "filters": {reason: count for reason, count in left_out.items() if reason in REASONS},
        "search": found.told,
        "features": stores.told,
    }
    summary = {"queries": len(ids), "gallery": len(about.gallery), "left_out": out}
    return {"summary": summary, "comparison": comparison}


def _counted(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "none was given"
