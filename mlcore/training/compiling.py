"""`torch.compile` where it helps and works; the classifier as it is everywhere else."""

from __future__ import annotations

import os
from typing import cast

import torch
from torch import Tensor, nn

from mlcore.objectives.base import Objective
from mlcore.training.errors import Cancelled, JobError
from mlcore.training.machine import Machine


def compiled(machine: Machine, model: nn.Module, objective: Objective, images: Tensor) -> tuple[nn.Module, str]:
    """What losses are computed with, and one sentence for the log.

    A map reaches into the classifier by hooks and differentiates it twice, which a compiled one does not allow: only
    objectives that ask for outputs alone (`Objective.compiles`) get one. It is tried on `images` (B, 3, H, W), forward
    and backward; where that fails, the classifier itself comes back. Weights, gradients, running statistics and chance
    are afterwards what they were. The compiled form shares its parameters with `model`, whose names stay.
    """
    if not objective.compiles:
        return model, "Not compiled: this objective looks into the classifier, which a compiled one does not allow."
    if any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
        return model, "Not compiled: BatchNorm is shared between processes."
    # Its own pool of processes would outlive a killed run.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    devices = [machine.device] if machine.device.type == "cuda" else []
    made: nn.Module | None = None
    why = ""
    with torch.random.fork_rng(devices):
        try:
            made = cast(nn.Module, torch.compile(model))
            with machine.autocast():
                output = made(images)
            getattr(output, "logits", output).float().sum().backward()
        except (JobError, Cancelled, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever a compiler of another machine falls over
            made = None
            why = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
    for buffer, before in buffers:
        buffer.copy_(before)
    for parameter in model.parameters():
        parameter.grad = None
    if made is None:
        return model, f"Not compiled, because that failed ({why}); training goes on without."
    return made, "The classifier was compiled."
