"""One step: forward and backward pass of each part of the batch, the gradient of the whole, the optimiser's step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mlcore.objectives.base import Loss, Objective
from mlcore.objectives.batch import Batch
from mlcore.objectives.shares import Share, part_of_step
from mlcore.training.machine import Machine


@dataclass(slots=True)
class Numbers:
    """What a step tells, of all parts and processes together: the loss, its terms, and what was predicted right."""

    loss: float
    terms: dict[str, float]
    hits: float
    images: float


@dataclass(slots=True)
class _Sums:
    """Losses of parts, added up on the device."""

    loss: Tensor | float = 0.0
    terms: dict[str, Tensor] = field(default_factory=dict)
    counted: set[str] = field(default_factory=set)
    hits: Tensor | int = 0

    def add(self, loss: Loss, part: Batch, share: float) -> None:
        """A mean counts by the part's share of the images; whole numbers are counts and add up."""
        self.loss = self.loss + loss.total.detach() * share
        for name, value in loss.terms.items():
            if value.dtype.is_floating_point:
                value = value * share
            else:
                self.counted.add(name)
            self.terms[name] = self.terms[name] + value if name in self.terms else value
        self.hits = self.hits + part.hits(loss.logits.detach())


class Stepper:
    """Takes the steps of a run.

    parts: so many micro-batches a step, fewer where a batch is too small to give each two images (BatchNorm needs two).
    The gradient of the parts is that of the whole batch for every mean over images, and over what `Objective.counts`
    tells beforehand. What a loss works out of several images at once (collages, a threshold, a rank) and BatchNorm's
    statistics are those of a part. Dropout draws for each part.

    model: what the losses are computed with; `learning` holds the parameters that change.
    """

    def __init__(
        self,
        machine: Machine,
        model: nn.Module,
        objective: Objective,
        optimizer: Any,
        learning: nn.Module,
        *,
        parts: int = 1,
        gradient_norm: float = 0.0,
    ) -> None:
        self.machine, self.model, self.objective = machine, model, objective
        self.optimizer, self.learning = optimizer, learning
        self.parts, self.gradient_norm = max(parts, 1), gradient_norm

    def gradients(self, batch: Batch) -> Numbers:
        """Add this process's gradient of a batch to the parameters, and tell the numbers of all processes.

        Every process must call it, each with its own part of the same batch.
        """
        sums = _Sums()
        pieces = 1 if self.parts == 1 else min(self.parts, max(self.machine.least(len(batch)) // 2, 1))
        if pieces == 1:
            self._add(batch, 1.0, sums)
        else:
            counts = self.objective.counts(batch)
            images = torch.tensor(float(len(batch)), device=self.machine.device)
            *values, images = self.machine.average(torch.stack([*counts.values(), images]))
            known = dict(zip(counts, values, strict=True))
            whole = round(float(images) * self.machine.processes)
            for part in cut(batch, pieces):
                share = len(part) / len(batch)
                with part_of_step(Share(share, known, whole)):
                    self._add(part, share, sums)
        return self._numbers(sums, len(batch))

    def apply(self) -> None:
        """Change the weights by the mean gradient of all processes, and forget it."""
        parameters = list(self.learning.parameters())
        self.machine.average_gradients(parameters)
        if self.gradient_norm > 0:
            self.machine.accelerator.clip_grad_norm_(parameters, self.gradient_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _add(self, part: Batch, share: float, sums: _Sums) -> None:
        with self.machine.autocast():
            loss = self.objective.loss(self.model, part)
        sums.add(loss, part, share)
        self.machine.accelerator.backward(loss.total if share == 1.0 else loss.total * share)

    def _numbers(self, sums: _Sums, images: int) -> Numbers:
        """One transfer for all."""
        device = self.machine.device
        values = [sums.loss, *sums.terms.values(), sums.hits, images]
        row = torch.stack([torch.as_tensor(value).to(device, torch.float32) for value in values])
        loss, *terms, hits, seen = self.machine.average(row).tolist()
        times = {name: self.machine.processes if name in sums.counted else 1 for name in sums.terms}
        return Numbers(
            loss,
            {name: value * times[name] for name, value in zip(sums.terms, terms, strict=True)},
            hits * self.machine.processes,
            seen * self.machine.processes,
        )


def cut(batch: Batch, pieces: int) -> Iterator[Batch]:
    """The batch in `pieces` neighbouring parts, as equal as can be, views of its tensors."""
    size = len(batch)
    edges = [size * piece // pieces for piece in range(pieces + 1)]
    rows: dict[str, Any] = {
        each.name: value
        for each in fields(batch)
        if isinstance(value := getattr(batch, each.name), Tensor | list) and len(value) == size
    }
    for start, end in pairwise(edges):
        yield replace(batch, **{name: value[start:end] for name, value in rows.items()})
