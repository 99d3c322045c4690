"""Steps per second of every objective, in float32 and bf16, on the device that is there.

    python -m bench.steps [--architecture resnet18] [--batch 8] [--size 112] [--rounds 5] [--device auto]
        [--only supervised,grid] [--accumulate 1] [--compile]

Each step is one of a training run (`mlcore.training.stepping`: forward, backward, Adam) on an untrained classifier and
random pictures that lie on the device, every one with a drawn map. Objectives take turns, round after round; the first
round is not counted. On one thread of a CPU a step's time is that of the processor. On CUDA the share of time in which
kernels ran is read from the driver, and the most memory that was held.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from bench.gradia_step import CLASSES, make_batch
from mlcore.objectives.base import Objective
from mlcore.objectives.batch import Batch
from mlcore.objectives.energy import Energy
from mlcore.objectives.gradia import Gradia
from mlcore.objectives.grid import GridConsistency
from mlcore.objectives.harmony import Harmony
from mlcore.objectives.res import Res
from mlcore.objectives.supervised import Supervised
from mlcore.objectives.tame import TAMETraining
from mlcore.training.classifiers import build
from mlcore.training.compiling import compiled
from mlcore.training.machine import prepare
from mlcore.training.stepping import Stepper

OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "supervised": Supervised,
    "gradia": Gradia,
    "res": Res,
    "energy": Energy,
    "grid": lambda: GridConsistency(seed=1),
    "harmony (focus)": lambda: Harmony(metric="focus"),
    "tame": TAMETraining,
}
PRECISIONS = ("no", "bf16")


def stepper_of(name: str, precision: str, options: argparse.Namespace, batch: Batch) -> Stepper:
    """An objective on a classifier of its own, as a run sets it up."""
    machine = prepare(options.device, precision)
    torch.manual_seed(1)
    model: nn.Module = build(options.architecture, CLASSES).to(machine.device)
    objective = OBJECTIVES[name]()
    objective.prepare(model)
    objective.to(machine.device)
    trained = objective.trained(model)
    learning = nn.ModuleList([model, objective] if trained is model else [objective])
    optimizer = machine.accelerator.prepare_optimizer(torch.optim.Adam(learning.parameters(), lr=1e-5))
    model.train(objective.mode == "train")
    made = Stepper(machine, model, objective, optimizer, learning, parts=options.accumulate)
    if options.compile:
        made.model, said = compiled(machine, model, objective, batch.images)
        print(f"{name}, {precision}: {said}", file=sys.stderr)
    return made


def seconds_of(taken: Stepper, batch: Batch) -> float:
    """One step: by the wall clock, or where one thread computes the processor's, which other work does not move."""
    alone = taken.machine.device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    began = clock()
    taken.gradients(batch)
    taken.apply()
    if taken.machine.device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - began


def utilisation() -> float | None:
    """Share of the last moments in which the GPU computed, as its driver says; None without one."""
    if not torch.cuda.is_available():
        return None
    ask = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return float(said.stdout.splitlines()[0]) / 100


def device_name(device: torch.device) -> str:
    """What the table is of."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU {platform.machine()}, {os.cpu_count()} cores, {threads} thread{'s' if threads > 1 else ''}"


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="resnet18")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--only", default=",".join(OBJECTIVES))
    options = parser.parse_args(arguments)
    names = [name for name in OBJECTIVES if name in options.only.split(",")]
    device = prepare(options.device).device
    batch = make_batch(options.batch, options.size, torch.Generator().manual_seed(1)).to(device)
    taken: dict[tuple[str, str], list[float]] = {}
    busy: dict[tuple[str, str], list[float]] = {}
    memory: dict[tuple[str, str], int] = {}
    for precision in PRECISIONS:  # accelerate has one precision at a time
        steppers = {name: stepper_of(name, precision, options, batch) for name in names}
        for round_ in range(options.rounds + 1):
            for name, stepper in steppers.items():
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                seconds = seconds_of(stepper, batch)
                if round_:
                    taken.setdefault((name, precision), []).append(seconds)
                    share = utilisation()
                    if share is not None:
                        busy.setdefault((name, precision), []).append(share)
                        memory[name, precision] = torch.cuda.max_memory_allocated()
    gpu = bool(busy)
    print(f"{device_name(device)}, torch {torch.__version__}, {options.architecture}, batch {options.batch}"
          f"{f' in {options.accumulate} parts' if options.accumulate > 1 else ''}, {options.size} px, "
          f"medians of {options.rounds} steps\n")  # fmt: skip
    print("| objective | steps/s float32 | images/s | steps/s bf16 | bf16 ÷ float32 | ÷ supervised |" + (
        " busy float32 | busy bf16 | GB float32 |" if gpu else ""))  # fmt: skip
    print("|---|---|---|---|---|---|" + ("---|---|---|" if gpu else ""))
    plain = statistics.median(taken["supervised", "no"]) if "supervised" in names else float("nan")
    for name in names:
        full, short = (statistics.median(taken[name, precision]) for precision in PRECISIONS)
        row = f"| {name} | {1 / full:.2f} | {options.batch / full:.1f} | {1 / short:.2f} | {full / short:.2f} "
        row += f"| {full / plain:.2f} |"
        if gpu:
            shares = [statistics.median(busy[name, precision]) for precision in PRECISIONS]
            row += f" {shares[0]:.0%} | {shares[1]:.0%} | {memory[name, 'no'] / 1e9:.2f} |"
        print(row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
