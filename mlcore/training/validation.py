"""The look at the validation part that comes again and again in a run: what the run is chosen by, and its curves."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from mlcore.metrics.attention_iou import AttentionIoU
from mlcore.metrics.average_precision import MeanAveragePrecision
from mlcore.objectives.base import Objective
from mlcore.training.errors import JobError
from mlcore.training.events import Reporter
from mlcore.training.job import Item, Job
from mlcore.training.machine import Machine
from mlcore.training.measure import cam_of, measure
from mlcore.training.observe import measures, mixed, observe
from mlcore.training.selection import Point
from mlcore.training.setup import loader_of, viewing_of


class Validation:
    """The images that a run is measured on, always the same ones in the same order.

    An objective that measures for itself (`Objective.measure`) is asked for its own figures alone: both classifiers see
    a batch once, and accuracy waits for the end. Every other run is measured by accuracy and, where maps cost next to
    nothing or are needed, attention IoU. Where images have several labels, mean average precision is their accuracy.
    """

    def __init__(self, job: Job, machine: Machine, model: nn.Module, objective: Objective, rule: str) -> None:
        self.job, self.machine, self.model, self.objective = job, machine, model, objective
        self.scored = measures(objective)
        # Before a checkpoint is taken up: what the run began with.
        self.trained = objective.trained(model)
        self.original = (
            {name: value.clone() for name, value in self.trained.state_dict().items()} if self.scored else {}
        )
        self.items = self._items()
        self.threshold = float(job.option("select_threshold", 0.75))
        self.maps = not self.scored and self._measures_maps(rule)

    def read(self, reporter: Reporter, cancelled: Callable[[], bool]) -> None:
        """Read the pictures ahead. Raises Cancelled."""
        self.cancelled = cancelled
        self.loader = (
            loader_of(
                self.job, self.machine, self.items, reporter,
                reference=not self.scored, objects=self.scored, cancelled=cancelled,
            )
            if self.items and self.machine.is_main
            else None
        )  # fmt: skip

    def point(self, number: int) -> tuple[Point, dict[str, float]]:
        """The figures of the classifier as it is, and the curves' new values by name. Raises Cancelled."""
        if self.loader is None:
            return Point(number), {}
        if self.scored:
            return self._own(number)
        found = measure(
            self.machine,
            self.model,
            self.loader,
            viewing_of(self.job, maps=self.maps, thresholds=(self.threshold, 0.5)),
            cancelled=self.cancelled,
        )
        figures = {"loss": found.loss} | {name: found.value(name) for name in found.metrics}
        accuracy = figures.get("accuracy", figures.get(MeanAveragePrecision.name))
        point = Point(number, accuracy, figures.get(AttentionIoU(self.threshold).name))
        return point, {name: value for name, value in figures.items() if value is not None}

    def _own(self, number: int) -> tuple[Point, dict[str, float]]:
        assert self.loader is not None
        viewing = viewing_of(self.job)
        found = observe(self.machine, self.objective, self.model, self.loader, viewing, cancelled=self.cancelled)
        figures = {name: values.mean() for name, values in found.items()}
        point = Point(number, score=figures.get(self.objective.score), agreement=figures.get("agreement"))
        return point, {name: value for name, value in figures.items() if value is not None}

    def _items(self) -> list[Item]:
        items = list(self.job.parts.get("validation", ()))
        batches = int(self.job.option("evaluate_batches", 0))
        if self.scored or batches:
            items = mixed(items)
        return items[: batches * int(self.job.option("batch_size", 32))] if batches else items

    def _measures_maps(self, rule: str) -> bool:
        """Whether maps are made: where the choice needs them, or where they cost next to nothing."""
        if not any(item.has_reference for item in self.items):
            return False
        needed = rule == "best_attention_iou"
        try:
            return cam_of(self.model, viewing_of(self.job)).head is not None or needed
        except ValueError as error:
            if needed:
                raise JobError(str(error)) from error
            return False
