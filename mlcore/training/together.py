"""Several processes begin as one: with the same weights, and each with a chance of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mlcore.training.errors import JobError
from mlcore.training.keyed import draw
from mlcore.training.machine import Machine, restore_random_state


def begin_alike(machine: Machine, learning: nn.Module, said: list[Any]) -> None:
    """Give every process the main one's weights, where all say the same of themselves (recipe, images, step).

    Raises JobError in every process where one differs. Every process must call it.
    """
    told = machine.from_all(said)
    if any(one != told[machine.main] for one in told):
        raise JobError(
            "The machines of this run do not begin with the same: each needs the same version of this program, "
            "the same storage, and the folder of runs (HARMONY_RUNS) with the checkpoint."
        )
    machine.share(learning)


def restore_chance(machine: Machine, states: list[dict[str, Any]], *, seed: int, step: int) -> str:
    """Each process goes on with its own generators of a checkpoint; one that was not there before begins others.

    A sentence for the log where processes came or went, else nothing.
    """
    if machine.rank < len(states):
        restore_random_state(states[machine.rank])
    else:
        torch.manual_seed(draw(seed, step, f"process {machine.rank}"))
    if len(states) == machine.processes:
        return ""
    now = "1 process" if machine.processes == 1 else f"{machine.processes} processes"
    return (
        f"The run goes on with {now} instead of {len(states)}: it sees the same images in the same steps, "
        "but units drop out by another chance."
    )
