"""A score job: chosen metrics of chosen sets of maps, one value an image.

Against the object (definitions §2, §7). Attention IoU and its relatives (IoU, Dice, precision, recall) look at the
evaluation map at the classifier's input size; metrics whose values a learnable metric gives look there too, every
other one at the picture's own size, cut to what the classifier saw. They compare with the object that the label
names, whichever class the map explains, as GRADIA's evaluation of the predicted class's map does. The two pointing
games ask where the class is: a map of another class than the object's is left out and counted as such, for a miss
there would say nothing of the map. A baseline that looks at no class is a map of any.

Metrics that ask the classifier again are asked about the class that each map explains: for a set of the predicted
class that is average drop as it is published.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mlcore.catalogue import METRICS as SPECS
from mlcore.catalogue import own_options
from mlcore.metrics import METRICS, make
from mlcore.metrics.attention_iou import AttentionIoU
from mlcore.metrics.base import DIFFICULT, feed
from mlcore.metrics.ceiling import ceiling, share_of_ceiling
from mlcore.metrics.inputs import NORMALISATIONS
from mlcore.metrics.learnable.plain import PlainMetric
from mlcore.metrics.overlap import Overlap
from mlcore.metrics.people import NO_PERSON
from mlcore.metrics.pointing import PointingGame
from mlcore.metrics.stochastic_pointing import StochasticPointingGame
from mlcore.training.errors import Cancelled, JobError
from mlcore.training.events import Reporter
from mlcore.training.explain import method_of
from mlcore.training.job import Item, Job
from mlcore.training.machine import Machine, fix_randomness, versions
from mlcore.training.measure import NO_REFERENCE
from mlcore.training.pictures import Geometry
from mlcore.training.score_job import MapSet, grouped, sets_of
from mlcore.training.score_references import PeopleMaps, References
from mlcore.training.setup import batch_of, geometry_of, loader_of, machine_of, model_of

NO_MAP = "no map"
OTHER_CLASS = "explained class is not the object's"

AT_INPUT = (AttentionIoU, Overlap, PlainMetric)
OF_THE_CLASS = (PointingGame, StochasticPointingGame)


def score(job: Job, reporter: Reporter, cancelled: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Measure every set by every metric; the fields of its "result" event are returned.

    A "scores" event for each set and metric tells value, 95 % interval, number of images, what was left out and why,
    and the value of each image. Sets that share classifier and transform share decoding and the network. "ceiling" is
    the agreement of people with each other, by metric. Raises Cancelled between batches.
    """
    items = [item for part in job.parts.values() for item in part]
    if not items:
        raise JobError("There is no image with a map to judge.")
    names = [str(name) for name in job.option("metrics", ())]
    for name in names:
        if name not in SPECS:
            raise JobError(f"There is no metric “{name}”; there are {', '.join(SPECS)}.")
    machine = machine_of(job)
    if not machine.is_main:
        return {}
    fix_randomness(job.seed)
    sets = sets_of(job)
    total = len(items) * len(sets) * len(names)
    reporter.send("started", versions=versions(), device=str(machine.device), total_steps=total)
    done = 0

    def count(values: int) -> None:
        nonlocal done
        if cancelled():
            raise Cancelled
        done += values
        reporter.progress("scoring", done, total)

    per_image: dict[str, dict[str, dict[str, float]]] = {name: {} for name in names}
    for group in grouped(sets):
        judges = _judges(_as(job, group[0]), machine, group, names)
        _judge_all(_as(job, group[0]), machine, judges, items, reporter, count)
        for judge in judges:
            per_image[judge.name][judge.maps.id] = dict(judge.metric.per_image)
            row = judge.metric.compute() | {"metric": judge.name, "per_image": dict(judge.metric.per_image)}
            reporter.send("scores", set=judge.maps.id, rows=[row])
    return {
        "weights": None,
        "selected_epoch": None,
        "summary": {"sets": len(sets), "images": len(items), "metrics": names},
        "ceiling": _ceiling(job, items, sets, per_image, reporter),
    }


@dataclass
class Judge:
    """One metric of one set."""

    name: str
    maps: MapSet
    metric: Any

    @property
    def wants(self) -> tuple[str, ...]:
        """What the metric takes."""
        return tuple(self.metric.takes)


def _as(job: Job, one: MapSet) -> Job:
    """The job as if it were of this set's classifier alone: pictures reach it as they did when maps were made."""
    return replace(job, classifier=one.classifier or job.classifier, recipe=job.recipe | one.transform)


def _judges(job: Job, machine: Machine, group: list[MapSet], names: list[str]) -> list[Judge]:
    needs = {need for name in names for need in SPECS[name].needs}
    model = None
    if needs & {"model", "method"}:
        if group[0].classifier is None:
            raise JobError(f"The classifier of {group[0].name} is not at hand.")
        model = model_of(job, machine).eval()
    judges = []
    for one in group:
        method = method_of(one.method, model, one.options) if "method" in needs and model is not None else None
        for name in names:
            judges.append(Judge(name, one, _metric(job, name, model, method)))
    return judges


def _metric(job: Job, name: str, model: nn.Module | None, method: Any) -> Any:
    options = own_options(job.recipe, name)
    if _changes_pictures(METRICS[name]):
        options["normalisation"] = NORMALISATIONS[str(job.option("normalise", "imagenet"))]
    try:
        return make(name, model=model, explain=getattr(method, "explain", None), **options)
    except (TypeError, ValueError) as error:
        raise JobError(f"The metric {SPECS[name].title} refuses its options: {error}") from error


def _changes_pictures(metric: type) -> bool:
    """Whether the metric asks how the classifier's input relates to the picture; some pass it on to a base class."""
    own = [vars(base)["__init__"] for base in metric.__mro__ if "__init__" in vars(base) and base is not object]
    return any("normalisation" in inspect.signature(made).parameters for made in own)


def _judge_all(
    job: Job, machine: Machine, judges: list[Judge], items: list[Item], reporter: Reporter, count: Callable[[int], None]
) -> None:
    geometry = geometry_of(job)
    with_pictures = any("images" in judge.wants for judge in judges)
    count(0)
    for batch, images in _batches(job, machine, items, reporter, with_pictures=with_pictures):
        references = References(batch, geometry)
        people = PeopleMaps(batch, job.people, geometry)
        for judge in judges:
            _judge(judge, machine, batch, images, references, people)
            count(len(batch))


def _batches(
    job: Job, machine: Machine, items: list[Item], reporter: Reporter, *, with_pictures: bool
) -> Iterator[tuple[list[Item], Tensor | None]]:
    """Items with their pictures (B, 3, S, S) as the classifier's input, or None where no metric asks for them."""
    if not with_pictures:
        size = int(job.option("batch_size", 32))
        for start in range(0, len(items), size):
            yield items[start : start + size], None
        return
    for raw in loader_of(job, machine, items, reporter, keep=False).epoch():
        yield [items[position] for position in raw.positions], batch_of(job, machine, raw).images


def _judge(
    judge: Judge,
    machine: Machine,
    batch: list[Item],
    images: Tensor | None,
    references: References,
    people: PeopleMaps,
) -> None:
    """One batch by one metric; images that lack what it needs are left out by name."""
    rows = []
    for row, item in enumerate(batch):
        reason = _why_not(judge, item, references, people)
        if reason:
            judge.metric.leave_out(item.id, reason)
        else:
            rows.append(row)
    maps = judge.maps.read([batch[row].id for row in rows])
    # Methods give maps of one size, nearly always; a metric takes those of one size together.
    sizes: dict[tuple[int, ...], list[int]] = {}
    for place, heat in enumerate(maps):
        sizes.setdefault(tuple(heat.shape), []).append(place)
    for places in sizes.values():
        chosen = [rows[place] for place in places]
        items = [batch[row] for row in chosen]
        targets = torch.tensor([judge.maps.target(item.id) for item in items], device=machine.device)
        given: dict[str, Any] = {
            "maps": torch.stack([maps[place] for place in places]).to(machine.device),
            "names": [item.id for item in items],
            "targets": targets,
            "images": None if images is None else images[chosen],
        }
        if "masks" in judge.wants:
            given["masks"] = [_mask(judge, item, references) for item in items]
            given["classes"] = [-1 if item.label is None else item.label for item in items]
        if "people" in judge.wants:
            given["people"] = [people[item.id] for item in items]
        try:
            with machine.autocast():
                feed(judge.metric, given)
        except ValueError as error:
            raise JobError(f"{SPECS[judge.name].title}: {error}") from error


def _mask(judge: Judge, item: Item, references: References) -> Tensor | None:
    return references.mask(item, at_input=isinstance(judge.metric, AT_INPUT))


def _why_not(judge: Judge, item: Item, references: References, people: PeopleMaps) -> str:
    """Why an image does not count; empty where it does."""
    if item.id not in judge.maps.maps:
        return NO_MAP
    if "masks" in judge.wants and not item.has_reference:
        return NO_REFERENCE
    if "people" in judge.wants and item.id not in people:
        return NO_PERSON
    if not isinstance(judge.metric, OF_THE_CLASS):
        return ""
    if judge.maps.class_specific and not (judge.maps.comparable and judge.maps.target(item.id) == item.label):
        return OTHER_CLASS
    return DIFFICULT if item.difficult else ""


def _ceiling(
    job: Job,
    items: list[Item],
    sets: list[MapSet],
    per_image: dict[str, dict[str, dict[str, float]]],
    reporter: Reporter,
) -> dict[str, dict[str, Any]]:
    """Metric → how far people agree with each other, and each set's agreement as a "share" of that.

    People's maps are cut as the first set's classifier saw the pictures.
    """
    asked = [name for name in per_image if "person" in SPECS[name].needs]
    if not asked or not job.people:
        return {}
    geometries: list[Geometry] = [geometry_of(_as(job, one)) for one in sets]
    if any(geometry != geometries[0] for geometry in geometries):
        reporter.log("The sets see different cuts of the pictures; people are compared on the first set's.", "warning")
    maps = PeopleMaps(items, job.people, geometries[0])
    found: dict[str, dict[str, Any]] = {}
    for name in asked:
        reporter.progress("comparing people with each other", len(found), len(asked))
        between = ceiling(name, maps)  # type: ignore[arg-type]
        higher = SPECS[name].higher_is_better is not False
        shares = {
            one: share_of_ceiling(values, between, higher_is_better=higher) for one, values in per_image[name].items()
        }
        found[name] = between | {"share": shares}
    return found
