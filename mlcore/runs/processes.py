"""How many processes and machines share a training run, and the command that starts them."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from mlcore.catalogue.scale import host_of
from mlcore.models import Run
from mlcore.runs.devices import CPU, CUDA, NoSuchDevice, owned
from mlcore.runs.job_classifier import JobImpossible
from mlcore.runs.limits import limit
from mlcore.runs.wish import Refusal


@dataclass(frozen=True)
class Launch:
    """Processes on this machine, machines, and where and under which name these meet."""

    processes: int = 1
    nodes: int = 1
    rendezvous: str = ""
    name: str = ""

    @property
    def several(self) -> bool:
        """Whether torchrun starts them."""
        return self.processes > 1 or self.nodes > 1

    def command(self) -> list[str]:
        """What comes before the module to run."""
        if not self.several:
            return [sys.executable, "-m"]
        torchrun = [sys.executable, "-m", "torch.distributed.run"]
        # A process that dies ends the attempt: a new one goes on from the checkpoint, with its own token.
        here = ["--max-restarts", "0", "--nproc-per-node", str(self.processes), "-m"]
        if self.nodes == 1:
            return [*torchrun, "--standalone", *here]
        meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", self.rendezvous, "--rdzv-id", self.name]
        return [*torchrun, "--nnodes", str(self.nodes), *meeting, *here]


def launch_of(run: Run, attempt: int) -> Launch:
    """How this machine starts its processes of an attempt.

    Raises JobImpossible where it has too few devices, or the deployment does not allow it (any more).
    """
    if run.kind != Run.Kind.TRAIN:
        return Launch()
    for _, sentence in scale_refusals(run.recipe):
        raise JobImpossible(sentence)
    nodes = int(run.recipe.get("nodes") or 1)
    return Launch(
        processes=_processes(run),
        nodes=nodes,
        rendezvous=str(run.recipe.get("rendezvous") or ""),
        # Another attempt meets under another name: what is left of the one before cannot join it.
        name=f"{run.uuid}-{attempt}" if nodes > 1 else "",
    )


def _processes(run: Run) -> int:
    wanted, most = int(run.recipe.get("processes") or 0), int(limit("PROCESSES"))
    try:
        device = owned()
    except NoSuchDevice as error:
        raise JobImpossible(str(error)) from error
    on_gpu = device.kind == CUDA and run.recipe.get("device") != CPU
    if not wanted:
        return min(most or (device.count if on_gpu else 1), _most_of_a_batch(run.recipe))
    if on_gpu and wanted > device.count:
        gpus = "one GPU" if device.count == 1 else f"{device.count} GPUs"
        raise JobImpossible(
            f"The run asks for {wanted} processes, one a device, and this worker owns {gpus} ({device.name}): "
            "choose fewer, or a worker that owns more (HARMONY_DEVICE)."
        )
    return wanted


def _most_of_a_batch(recipe: Mapping[str, Any]) -> int:
    """So many processes on each machine find an image in every batch, and two in every part of one."""
    parts = int(recipe.get("accumulate") or 1)
    images = 2 * parts if parts > 1 else 1
    return max(int(recipe["batch_size"]) // (images * int(recipe.get("nodes") or 1)), 1)


def scale_refusals(recipe: Mapping[str, Any]) -> Iterator[Refusal]:
    """What this deployment allows no run, of a training recipe."""
    wanted, most = int(recipe.get("processes") or 0), int(limit("PROCESSES"))
    if most and wanted > most:
        yield "processes", _too_many(wanted, most)
    rendezvous = str(recipe.get("rendezvous") or "")
    # Whoever is met there is trusted like this program itself.
    if rendezvous and host_of(rendezvous) not in settings.RUN_RENDEZVOUS_HOSTS:
        allowed = ", ".join(settings.RUN_RENDEZVOUS_HOSTS)
        yield (
            "rendezvous",
            f"Runs of this deployment meet on {allowed} only; its RUN_RENDEZVOUS_HOSTS can name "
            f"“{host_of(rendezvous)}” too.",
        )


def _too_many(wanted: int, most: int) -> str:
    return f"The run asks for {wanted} processes; this deployment gives a run {most} (RUN_PROCESSES)."
