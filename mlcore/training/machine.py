"""Where a job computes: device, precision, processes, and everything that has to be fixed for equal
results.
"""

from __future__ import annotations

import os
import platform
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import accelerate
import numpy as np
import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import InitProcessGroupKwargs
from torch import nn

from mlcore.training.errors import JobError

PRECISIONS = ("no", "bf16", "fp16")
BUCKET_BYTES = 32 << 20
# Set by `manage.py join_run`: the processes of this machine leave reporting to those of another.
JOINED = "HARMONY_JOINED"
DONE = "harmony/done"


@dataclass(slots=True)
class Machine:
    """The accelerator of this process, and how many there are."""

    accelerator: Accelerator
    # The process that reports and writes: the first one of the machine whose worker holds the run.
    main: int = 0

    @property
    def device(self) -> torch.device:
        """Where tensors live."""
        return self.accelerator.device

    @property
    def rank(self) -> int:
        """This process among all."""
        return self.accelerator.process_index

    @property
    def processes(self) -> int:
        """How many processes share the batches."""
        return self.accelerator.num_processes

    @property
    def is_main(self) -> bool:
        """Whether this process reports and writes."""
        return self.rank == self.main

    def autocast(self) -> Any:
        """Mixed precision for a forward pass, as chosen."""
        return self.accelerator.autocast()

    def agree(self, flag: bool) -> bool:
        """True in every process where it is true in one. Every process must call it."""
        if self.processes == 1:
            return flag
        raised = torch.tensor(int(flag), device=self.device)
        dist.all_reduce(raised, op=dist.ReduceOp.MAX)
        return bool(raised.item())

    def least(self, count: int) -> int:
        """The smallest of every process's `count`, in every process. Every process must call it."""
        if self.processes == 1:
            return count
        smallest = torch.tensor(count, device=self.device)
        dist.all_reduce(smallest, op=dist.ReduceOp.MIN)
        return int(smallest.item())

    def average(self, values: torch.Tensor) -> torch.Tensor:
        """The mean of every process's `values`, in every process. Every process must call it."""
        if self.processes == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.processes

    def from_main(self, value: Any) -> Any:
        """The main process's value in every process. Every process must call it."""
        if self.processes == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=self.main, device=self.device)
        return box[0]

    def from_all(self, value: Any) -> list[Any]:
        """Every process's value, by rank, in every process. Every process must call it."""
        if self.processes == 1:
            return [value]
        box: list[Any] = [None] * self.processes
        dist.all_gather_object(box, value)
        return box

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their mean over the processes. Every process must call it.

        Done by hand instead of by a wrapper around the model: objectives differentiate maps inside the step,
        reach layers by name and may own parameters, none of which such wrappers support.
        """
        if self.processes == 1:
            return
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        # An objective may leave a parameter out in one process and use it in another.
        here = [parameter.grad is not None for parameter in trained]
        used = torch.tensor(here, device=self.device, dtype=torch.int32)
        dist.all_reduce(used, op=dist.ReduceOp.MAX)
        for parameter, anywhere in zip(trained, used.tolist(), strict=True):
            if anywhere and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
        for bucket in _buckets(gradients):
            # One message for many small tensors: each costs a round trip.
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            dist.all_reduce(flat)
            flat.div_(self.processes)
            parts = flat.split([gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def share_buffers(self, module: nn.Module) -> None:
        """Give every process the main one's buffers (running statistics)."""
        for buffer in module.buffers():
            self._broadcast(buffer)

    def share(self, module: nn.Module) -> None:
        """Give every process the main one's parameters and buffers."""
        for parameter in module.parameters():
            self._broadcast(parameter.data)
        self.share_buffers(module)

    def _broadcast(self, tensor: torch.Tensor) -> None:
        if self.processes > 1:
            plain = tensor.contiguous()  # messages know no other memory layout
            dist.broadcast(plain, src=self.main)
            tensor.copy_(plain)


def _buckets(tensors: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Neighbours of one type, together no more than `BUCKET_BYTES` unless a single one is larger."""
    bucket: list[torch.Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and (tensor.dtype != bucket[0].dtype or size + tensor.nbytes > BUCKET_BYTES):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.nbytes
    if bucket:
        yield bucket


_KEPT: Machine | None = None


def prepare(device: str = "auto", mixed_precision: str = "no") -> Machine:
    """Choose the device ("auto", "cpu", "cuda", "cuda:1", "mps") and the precision of this process.

    Raises JobError where the machine lacks what is asked for.
    """
    if mixed_precision not in PRECISIONS:
        raise JobError(f"“mixed_precision” must be one of {', '.join(PRECISIONS)}, not “{mixed_precision}”.")
    kind = device.partition(":")[0]
    if kind not in ("auto", "cpu", "cuda", "mps"):
        raise JobError(f"There is no device “{device}”; choose auto, cpu or cuda.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise JobError("This machine has no CUDA device; choose the device “auto” or “cpu”.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise JobError("This machine has no MPS device; choose the device “auto” or “cpu”.")
    on_cpu = kind == "cpu" or (
        kind == "auto" and not torch.cuda.is_available() and not torch.backends.mps.is_available()
    )
    if mixed_precision == "fp16" and on_cpu:
        raise JobError("Mixed precision fp16 needs a GPU; choose bf16 or none.")
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if kind == "cuda" and ":" in device and not several:
        torch.cuda.set_device(device)
    if not (dist.is_available() and dist.is_initialized()) and PartialState._shared_state:
        # accelerate keeps its choice for the life of the process; a second job here may choose otherwise.
        AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(
        cpu=on_cpu,
        mixed_precision=mixed_precision,
        # The other processes wait while the first one evaluates.
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=6))] if several else None,
    )
    threads = os.environ.get("HARMONY_TORCH_THREADS")
    if threads:
        torch.set_num_threads(max(int(threads), 1))
    global _KEPT
    machine = _KEPT = Machine(accelerator)
    # Which machine has the first rank is decided by the rendezvous; the one whose worker holds the run reports.
    joined = machine.from_all(bool(os.environ.get(JOINED)))
    machine.main = joined.index(False) if False in joined else 0
    return machine


def others_are_gone(error: BaseException) -> bool:
    """Whether a process failed because another one that it shares its work with is not there any more."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return False
    if isinstance(error, dist.DistError):
        return True
    # gloo and some of NCCL speak through plain errors.
    signs = ("gloo", "NCCL", "closed by peer", "reset by peer")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def wait_for_main(stop: Callable[[], bool]) -> None:
    """At the end of a job: the process that reports says that it is done, the others wait until it does.

    They do so over the store at which the processes met, not by a collective: nothing is torn when one leaves.
    """
    if _KEPT is None or _KEPT.processes == 1:
        return
    store = dist.distributed_c10d._get_default_store()
    try:
        if _KEPT.is_main:
            store.set(DONE, "1")
        while not _KEPT.is_main and not stop() and not store.check([DONE]):
            time.sleep(0.2)
    except RuntimeError:  # the store went with the machine that held it
        return


def fix_randomness(seed: int) -> None:
    """Seed every generator and ask for deterministic algorithms (with a warning where there is none)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    # Read by cuBLAS at its first call; without it two equal products may differ in the last bit.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)


def random_state() -> dict[str, Any]:
    """States of torch's generators (the only ones that training draws from), for a checkpoint."""
    state: dict[str, Any] = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` took."""
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def versions() -> dict[str, str]:
    """What the numbers of a run depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "accelerate": accelerate.__version__,
        "numpy": np.__version__,
        "threads": str(torch.get_num_threads()),
        "machine": platform.platform(),
    }
