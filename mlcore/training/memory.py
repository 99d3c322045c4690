"""What a training run will need of its device's memory, estimated before the first step, and what would fit.

Parameters, gradients and the optimiser's state are counted. What the backward pass needs is measured: the run's own
objective computes a loss of a few images and goes back through it, twice, and a line through both sizes is followed to
the recipe's batch. Nothing of the run is changed by that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from mlcore.objectives.base import Objective
from mlcore.objectives.batch import Batch
from mlcore.training.machine import random_state, restore_random_state

# Images of the two measurements: small, so that they fit where the run itself would not.
SMALL, LARGE = 4, 8
# Beside what is kept, the backward pass holds the gradients of a layer's output and of its input.
GRADIENTS_AT_A_TIME = 2


@dataclass(frozen=True)
class Estimate:
    """Bytes: `fixed` whatever the batch (parameters, gradients, optimiser, buffers), `base` and `each` of the pass."""

    fixed: int
    base: float
    each: float

    def needs(self, images: int) -> int:
        """With so many images at a time."""
        return round(self.fixed + self.base + self.each * images)

    def fits(self, room: int) -> int:
        """The most images at a time."""
        left = room - self.fixed - self.base
        if left < self.each:
            return 0
        return int(left // self.each) if self.each > 0 else 1 << 30


class Ledger:
    """Storages that autograd keeps for the backward pass, each counted once while any tensor of it is kept."""

    def __init__(self, apart: Sequence[Tensor] = ()) -> None:
        self.apart = {tensor.untyped_storage().data_ptr() for tensor in apart}
        self.counts: dict[int, int] = {}
        self.kept = self.most = self.largest = 0

    def pack(self, tensor: Tensor) -> Any:
        """Called by autograd with what it saves."""
        if tensor.layout != torch.strided:
            return tensor
        storage = tensor.untyped_storage()
        place = storage.data_ptr()
        if place in self.apart:
            return tensor
        if not self.counts.get(place):
            self.kept += storage.nbytes()
            self.most, self.largest = max(self.most, self.kept), max(self.largest, storage.nbytes())
        self.counts[place] = self.counts.get(place, 0) + 1
        return _Kept(tensor, place, self)

    def unpack(self, saved: Any) -> Tensor:
        """Called by autograd when it needs it back."""
        return saved.tensor if isinstance(saved, _Kept) else saved

    def release(self, place: int, size: int) -> None:
        """A tensor of this storage is kept no longer."""
        self.counts[place] -= 1
        if not self.counts[place]:
            self.kept -= size


class _Kept:
    """A saved tensor; when autograd forgets it, so does the ledger."""

    __slots__ = ("ledger", "place", "tensor")

    def __init__(self, tensor: Tensor, place: int, ledger: Ledger) -> None:
        self.tensor, self.place, self.ledger = tensor, place, ledger

    def __del__(self) -> None:
        self.ledger.release(self.place, self.tensor.untyped_storage().nbytes())


def estimate(
    model: nn.Module, objective: Objective, optimizer: torch.optim.Optimizer, batch: Batch, autocast: Any
) -> Estimate:
    """From one batch of at most `LARGE` images, and its first half. `autocast` makes the context of a forward pass.

    Raises what the objective raises.
    """
    sizes = sorted({min(SMALL, len(batch)), min(LARGE, len(batch))})
    with untouched(model, objective):
        measured = [_measured(model, objective, _first(batch, size), autocast) for size in sizes]
    each = (measured[-1] - measured[0]) / (sizes[-1] - sizes[0]) if len(sizes) > 1 else measured[0] / sizes[0]
    each = max(each, 0.0)
    return Estimate(fixed_bytes(model, objective, optimizer), max(measured[-1] - each * sizes[-1], 0.0), each)


def _measured(model: nn.Module, objective: Objective, batch: Batch, autocast: Any) -> float:
    ledger = Ledger([*model.parameters(), *model.buffers(), *objective.parameters(), *objective.buffers()])
    with saved_tensors_hooks(ledger.pack, ledger.unpack):
        with autocast():
            loss = objective.loss(model, batch)
        if loss.total.requires_grad:
            loss.total.backward()
    del loss
    images = sum(value.untyped_storage().nbytes() for value in (batch.images, batch.maps) if value is not None)
    return float(ledger.most + GRADIENTS_AT_A_TIME * ledger.largest + images)


def _first(batch: Batch, size: int) -> Batch:
    """The first images, copied, under names of their own: what an objective remembers by name stays apart."""
    rows: dict[str, Any] = {}
    for name in batch.__dataclass_fields__:
        value = getattr(batch, name)
        if isinstance(value, Tensor) and value.ndim and len(value) == len(batch):
            rows[name] = value[:size].clone(memory_format=torch.preserve_format)
    return replace(batch, **rows, ids=[f"memory {number} of {size}" for number in range(size)])


@contextmanager
def untouched(model: nn.Module, objective: Objective) -> Iterator[None]:
    """Buffers, chance, modes, counters and gradients are afterwards what they were."""
    modules = [model, objective]
    buffers = [(buffer, buffer.detach().clone()) for module in modules for buffer in module.buffers()]
    modes = [(part, part.training) for module in modules for part in module.modules()]
    plain = [
        (part, name, value)
        for part in objective.modules()
        for name, value in vars(part).items()
        if isinstance(value, bool | int | float)
    ]
    chance = random_state()
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        for part, mode in modes:
            part.training = mode
        for part, name, value in plain:
            setattr(part, name, value)
        for module in modules:
            module.zero_grad(set_to_none=True)
        restore_random_state(chance)


def fixed_bytes(model: nn.Module, objective: Objective, optimizer: torch.optim.Optimizer) -> int:
    """Parameters, buffers, a gradient for each trained parameter, and the optimiser's state of them."""
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return held_bytes(model, objective) + sum(_bytes(one) * (1 + _states(optimizer)) for one in trained)


def held_bytes(model: nn.Module, objective: Objective, optimizer: torch.optim.Optimizer | None = None) -> int:
    """What lies on the device before the first step: parameters and buffers, each once; what the optimiser of a
    resumed run has."""
    tensors = [*model.parameters(), *model.buffers(), *objective.parameters(), *objective.buffers()]
    if optimizer is not None:
        tensors += [value for row in optimizer.state.values() for value in row.values() if isinstance(value, Tensor)]
    return sum({tensor.untyped_storage().data_ptr(): _bytes(tensor) for tensor in tensors}.values())


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _states(optimizer: torch.optim.Optimizer) -> int:
    """Copies of a parameter's size that the optimiser keeps."""
    inner = getattr(optimizer, "optimizer", optimizer)
    if isinstance(inner, torch.optim.Adam):  # AdamW is one
        return 2
    return int(any(group.get("momentum", 0) for group in inner.param_groups))


def told(size: float) -> str:
    """Bytes as a person reads them."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.0f} {name}" if size >= 9.95 * unit else f"{size / unit:.1f} {name}"
    return f"{size / 1e3:.0f} kB"
