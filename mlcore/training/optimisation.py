"""Optimiser and learning-rate schedule of a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from mlcore.training.errors import JobError
from mlcore.training.job import Job

SCHEDULES = ("none", "step", "cosine")


def optimizer_of(job: Job, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The recipe's optimiser over the parameters that want a gradient."""
    chosen = [parameter for parameter in parameters if parameter.requires_grad]
    name = job.option("optimizer", "adam")
    rate = float(job.option("learning_rate", 1e-4))
    decay = float(job.option("weight_decay", 0.0))
    if name == "adam":
        return torch.optim.Adam(chosen, lr=rate, weight_decay=decay)
    if name == "adamw":
        return torch.optim.AdamW(chosen, lr=rate, weight_decay=decay)
    if name == "sgd":
        return torch.optim.SGD(chosen, lr=rate, momentum=float(job.option("momentum", 0.9)), weight_decay=decay)
    raise JobError(f"“optimizer” must be adam, adamw or sgd, not “{name}”.")


class Schedule:
    """The learning rate as a function of the step alone, so that a resumed run needs no state of it.

    none: constant. step: × 0.1 after every `step_epochs`. cosine: from the full rate to zero over the run's
    `total` steps.
    """

    def __init__(self, name: str, rate: float, *, steps_per_epoch: int, total: int, step_epochs: int) -> None:
        if name not in SCHEDULES:
            raise JobError(f"“schedule” must be one of {', '.join(SCHEDULES)}, not “{name}”.")
        self.name, self.rate = name, rate
        self.steps_per_epoch, self.total, self.step_epochs = steps_per_epoch, total, max(step_epochs, 1)

    def at(self, step: int) -> float:
        """The rate of step 0, 1, …"""
        if self.name == "step":
            return self.rate * 0.1 ** (step // self.steps_per_epoch // self.step_epochs)
        if self.name == "cosine":
            return self.rate * 0.5 * (1 + math.cos(math.pi * step / self.total))
        return self.rate

    def apply(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Set the rate of every parameter group for this step."""
        for group in optimizer.param_groups:
            group["lr"] = self.at(step)


def schedule_of(job: Job, steps_per_epoch: int, total: int) -> Schedule:
    """The recipe's schedule."""
    return Schedule(
        job.option("schedule", "none"),
        float(job.option("learning_rate", 1e-4)),
        steps_per_epoch=steps_per_epoch,
        total=total,
        step_epochs=int(job.option("schedule_epochs", 30)),
    )
