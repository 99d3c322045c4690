"""Optimiser and learning-rate schedule of a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from mlcore.catalogue.schedule import epochs_of
from mlcore.training.errors import JobError
from mlcore.training.job import Job

SCHEDULES = ("none", "step", "cosine", "one_cycle")
# OneCycle: the share of the steps that go up, the start and the end as parts of the highest rate, and how far the
# momentum falls meanwhile (definitions §4).
RISE, START, END, MOMENTUM_FALL = 0.3, 1 / 25, 1 / 25 / 1e4, 0.1


def optimizer_of(job: Job, groups: Iterable[Mapping[str, Any]]) -> torch.optim.Optimizer:
    """The recipe's optimiser over the parameters that want a gradient, in the groups that `Objective.groups` gives."""
    name = job.option("optimizer", "adam")
    rate = float(job.option("learning_rate", 1e-4))
    decay = float(job.option("weight_decay", 0.0))
    chosen = [
        {
            "params": [parameter for parameter in group["params"] if parameter.requires_grad],
            "rate": float(group.get("rate", 1.0)),
            "lr": rate * float(group.get("rate", 1.0)),
            "weight_decay": decay * float(group.get("decay", 1.0)),
        }
        for group in groups
    ]
    if name == "adam":
        return torch.optim.Adam(chosen, lr=rate, weight_decay=decay)
    if name == "adamw":
        return torch.optim.AdamW(chosen, lr=rate, weight_decay=decay)
    if name == "sgd":
        momentum, nesterov = float(job.option("momentum", 0.9)), bool(job.option("nesterov", False))
        return torch.optim.SGD(chosen, lr=rate, momentum=momentum, weight_decay=decay, nesterov=nesterov)
    raise JobError(f"“optimizer” must be adam, adamw or sgd, not “{name}”.")


class Schedule:
    """The learning rate as a function of the step alone, so that a resumed run needs no state of it.

    none: constant. step: × 0.1 after every `step_epochs`, or after each of the epochs `step_at` where there are any.
    cosine: from the full rate to zero over the run's `total` steps. one_cycle: over the `total` steps from a 25th up to
    the full rate during the first 30 %, then down by a cosine to a 10,000th of the start; SGD's `momentum` moves the
    other way, by 0.1.
    """

    def __init__(
        self,
        name: str,
        rate: float,
        *,
        steps_per_epoch: int,
        total: int,
        step_epochs: int,
        momentum: float = 0.9,
        step_at: tuple[int, ...] = (),
    ) -> None:
        if name not in SCHEDULES:
            raise JobError(f"“schedule” must be one of {', '.join(SCHEDULES)}, not “{name}”.")
        self.name, self.rate, self.highest_momentum = name, rate, momentum
        self.steps_per_epoch, self.total, self.step_epochs = steps_per_epoch, total, max(step_epochs, 1)
        self.step_at = step_at

    def at(self, step: int) -> float:
        """The rate of step 0, 1, …"""
        if self.name == "step":
            done = step // self.steps_per_epoch
            steps = sum(done >= epoch for epoch in self.step_at) if self.step_at else done // self.step_epochs
            return self.rate * 0.1**steps
        if self.name == "cosine":
            return self.rate * 0.5 * (1 + math.cos(math.pi * step / self.total))
        if self.name == "one_cycle":
            return self._cycle(step, START * self.rate, self.rate, END * self.rate)
        return self.rate

    def momentum_at(self, step: int) -> float:
        """SGD's momentum of step 0, 1, …"""
        if self.name != "one_cycle":
            return self.highest_momentum
        lowest = max(self.highest_momentum - MOMENTUM_FALL, 0.0)
        return self._cycle(step, self.highest_momentum, lowest, self.highest_momentum)

    def apply(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Set the rate of every parameter group for this step, times the group's own factor; and the momentum."""
        for group in optimizer.param_groups:
            group["lr"] = self.at(step) * group.get("rate", 1.0)
            if self.name == "one_cycle" and "momentum" in group:
                group["momentum"] = self.momentum_at(step)

    def _cycle(self, step: int, start: float, turn: float, end: float) -> float:
        """By cosines from `start` to `turn`, which is reached after RISE of the steps, and on to `end`."""
        top, last = RISE * self.total - 1, self.total - 1
        if step <= top:
            return _cosine(start, turn, step / top)
        return _cosine(turn, end, (step - top) / (last - top))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def schedule_of(job: Job, steps_per_epoch: int, total: int) -> Schedule:
    """The recipe's schedule. Raises JobError where its epochs cannot be read."""
    try:
        step_at = epochs_of(str(job.option("schedule_at", "")))
    except ValueError as error:
        raise JobError(str(error)) from error
    return Schedule(
        job.option("schedule", "none"),
        float(job.option("learning_rate", 1e-4)),
        steps_per_epoch=steps_per_epoch,
        total=total,
        step_epochs=int(job.option("schedule_epochs", 30)),
        momentum=float(job.option("momentum", 0.9)),
        step_at=step_at,
    )
