"""An explanation job: maps by one or several methods for every image that the job brings, in shards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mlcore.attribution.base import class_scores, untouched
from mlcore.catalogue import MethodSpec, own_options, upgrade
from mlcore.catalogue.methods import METHODS
from mlcore.catalogue.several import several
from mlcore.objectives.batch import Batch
from mlcore.training.errors import Cancelled, JobError
from mlcore.training.events import Reporter
from mlcore.training.explain_shards import SHARD_MAPS, Numbers, Shards
from mlcore.training.job import Item, Job
from mlcore.training.machine import Machine, fix_randomness, versions
from mlcore.training.predictions import prediction_rows
from mlcore.training.results import PREDICTION_ROWS
from mlcore.training.setup import batch_of, loader_of, machine_of, model_of, resolve

__all__ = ["SHARD_MAPS", "TARGETS", "explain", "method_of"]

TARGETS = ("true", "predicted", "given", "second")


@dataclass
class Way:
    """One method of the job: its maker, the images that have such a map already, and its shards."""

    spec: MethodSpec
    method: Any
    skip: frozenset[str]
    shards: Shards

    def summary(self, items: list[Item]) -> dict[str, Any]:
        skipped = sum(item.id in self.skip for item in items)
        return {"maps": self.shards.count, "skipped": skipped, "status": self.shards.statuses}


def explain(job: Job, reporter: Reporter, cancelled: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Write maps of all images but those in the job's `skip`; the fields of its "result" event are returned.

    Pictures are decoded once for all methods. Each shard is a whole .npz file with the array "maps" (n, h, w)
    float32, n ≤ 512, of one method, reported once it is on the disk. Numbers go on after shards that lie in the
    folder already, none is overwritten. What the classifier says about each image is reported beside its maps. A
    cancelled job reports what it has finished. A method that does not fit the classifier ends the job before any map
    is made.
    """
    everything = [item for part in job.parts.values() for item in part]
    target = str(job.option("target", "predicted"))
    if target not in TARGETS:
        raise JobError(f"“target” must be one of {', '.join(TARGETS)}, not “{target}”.")
    recipe = upgrade("explain", job.recipe)
    names = list(recipe.get("methods") or ("grad_cam",))
    skips = {name: job.skipped(name) for name in names}
    items = [item for item in everything if any(item.id not in skip for skip in skips.values())]
    unlabelled = [item.id for item in items if item.label is None]
    if target == "true" and unlabelled:
        raise JobError(f"The image {unlabelled[0]} has no label, so its true class cannot be explained.")
    machine = machine_of(job)
    if not machine.is_main:
        return {}
    fix_randomness(job.seed)
    model = model_of(job, machine).eval()
    made = {name: method_of(name, model, own_options(recipe, name)) for name in names}
    job.workdir.mkdir(parents=True, exist_ok=True)
    total = sum(item.id not in skip for skip in skips.values() for item in items)
    reporter.send("started", versions=versions(), device=str(machine.device), total_steps=total)
    numbers = Numbers(job.workdir)
    ways = [Way(METHODS[name], made[name], skips[name], Shards(job.workdir, reporter, numbers, name)) for name in names]
    given = int(job.option("target_class", 0))
    if items:
        if len(ways) > 1:
            _try(job, machine, model, ways, given if target == "given" else 0)
        _explain_all(job, machine, model, ways, items, Rule(target, given), total, reporter, cancelled)
    return {
        "weights": None,
        "selected_epoch": None,
        "summary": _summary({name: way.summary(everything) for name, way in zip(names, ways, strict=True)}),
    }


def method_of(name: str, model: nn.Module, options: dict[str, Any]) -> Any:
    """A method by name with options of its own. Raises JobError where it is unknown or refuses them."""
    if name not in METHODS:
        raise JobError(f"There is no method “{name}”; there are {', '.join(METHODS)}.")
    try:
        return resolve(METHODS[name].path)(model, **options)
    except (TypeError, ValueError) as error:
        raise JobError(f"The method {METHODS[name].title} refuses its options: {error}") from error


@dataclass(frozen=True)
class Rule:
    """Which class of each image is explained."""

    target: str
    given: int

    def choose(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Classes (B,) on the logits' device, from class scores (B, K) and labels (B,)."""
        if self.target == "true":
            return labels.to(logits.device)
        if self.target == "given":
            return torch.full((len(logits),), self.given, device=logits.device)
        order = logits.argsort(dim=1, descending=True, stable=True)
        return order[:, 1 if self.target == "second" else 0]


class Chooser:
    """The class to explain, asked by a method in its own forward pass; remembers what it was shown.

    So a single Grad-CAM costs one forward pass, its prediction included.
    """

    def __init__(self, rule: Rule, labels: Tensor) -> None:
        self.rule, self.labels = rule, labels
        self.logits: Tensor | None = None
        self.chosen: Tensor | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """Classes (B,)."""
        if len(logits) == len(self.labels):
            self.logits, self.chosen = logits.detach().float(), self.rule.choose(logits, self.labels)
            return self.chosen
        raise ValueError(f"A method asked for the classes of {len(logits)} pictures, not of {len(self.labels)}.")

    def ask(self, model: nn.Module, images: Tensor) -> Tensor:
        """The classes, from a forward pass of our own where no method has shown its one."""
        if self.chosen is None:
            with untouched(model), torch.no_grad():
                self(class_scores(model(images)))
        assert self.chosen is not None
        return self.chosen


def _try(job: Job, machine: Machine, model: nn.Module, ways: list[Way], target: int) -> None:
    # One grey picture: a layer without a rule is met now, not after hours of another method's work.
    side = int(job.option("image_size", 224))
    grey = torch.zeros(1, 3, side, side, device=machine.device)
    for way in ways:
        if way.spec.needs_backward:
            with machine.autocast():
                _maps(way, grey, torch.full((1,), target, device=machine.device))


def _maps(way: Way, images: Tensor, targets: Tensor | Chooser) -> Tensor:
    try:
        return way.method.explain(images, targets)
    except ValueError as error:
        raise JobError(f"{way.spec.title}: {error}") from error


def _explain_all(
    job: Job,
    machine: Machine,
    model: nn.Module,
    ways: list[Way],
    items: list[Item],
    rule: Rule,
    total: int,
    reporter: Reporter,
    cancelled: Callable[[], bool],
) -> None:
    said = Said(reporter, several=several(job.recipe))
    loader = loader_of(job, machine, items, reporter, keep=False)
    for raw in loader.epoch():
        batch = batch_of(job, machine, raw)
        chooser = Chooser(rule, batch.labels)
        for way in ways:
            if cancelled():
                for other in ways:
                    other.shards.flush()
                said.flush()
                raise Cancelled
            _explain_batch(way, machine, model, batch, chooser)
            reporter.progress("explaining", sum(other.shards.count for other in ways), total)
        if chooser.logits is None:
            with machine.autocast():
                chooser.ask(model, batch.images)
        assert chooser.logits is not None
        said.add(raw.ids, chooser.logits)
    for way in ways:
        way.shards.flush()
    said.flush()


def _explain_batch(way: Way, machine: Machine, model: nn.Module, batch: Batch, chooser: Chooser) -> None:
    rows = [row for row, name in enumerate(batch.ids) if name not in way.skip]
    if not rows:
        return
    whole = len(rows) == len(batch.ids)
    with machine.autocast():
        if whole and chooser.chosen is None and way.spec.class_specific:
            maps = _maps(way, batch.images, chooser)
            # A method that never asked was given no class; whatever it drew belongs to none.
            targets = chooser.ask(model, batch.images)
        else:
            targets = chooser.ask(model, batch.images)[rows]
            maps = _maps(way, batch.images if whole else batch.images[rows], targets)
    way.shards.add([batch.ids[row] for row in rows], targets.tolist(), maps.float().cpu())


class Said:
    """What the classifier says about the images, reported a thousand at a time."""

    def __init__(self, reporter: Reporter, *, several: bool = False) -> None:
        self.reporter, self.several = reporter, several
        self._rows: list[dict[str, Any]] = []

    def add(self, ids: list[str], logits: Tensor) -> None:
        """Class scores (B, K) of images."""
        self._rows += prediction_rows(ids, logits, several=self.several)
        if len(self._rows) >= PREDICTION_ROWS:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        if self._rows:
            self.reporter.send("predictions", rows=self._rows)
            self._rows = []


def _summary(methods: dict[str, dict[str, Any]]) -> dict[str, Any]:
    statuses: dict[str, int] = {}
    for found in methods.values():
        for word, count in found["status"].items():
            statuses[word] = statuses.get(word, 0) + count
    return {
        "maps": sum(found["maps"] for found in methods.values()),
        "skipped": sum(found["skipped"] for found in methods.values()),
        "status": statuses,
        "methods": methods,
    }
