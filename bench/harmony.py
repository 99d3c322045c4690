"""How fast a step of HARMONY's tuning is beside the released trainers' way.

    python -m bench.harmony [--architecture squeezenet1_1] [--weights squeezenet1_1.npz] [--batch 8] [--size 224]
        [--rounds 5] [--only road,irof]

One process, two kinds of step in turn (ours first in every second round), each on a copy of its own of the same
weights, on the same batch, with Adam and with the same chance (shares, noise):

ours      `mlcore.objectives.harmony`: one pass of each classifier, and what the term shows besides, in one batch;
released  written from its description: image by image, see `bench.harmony_released`.

Before the clock starts, losses and gradients of the first step are compared in float64; the script fails where they
differ by more than 1e-4 of the released way's.
Seconds are the CPU time of the calling thread, which does all the work; wall time stands beside it. One step of each
side goes before the first round, so that superpixels, which a run makes once an image, are at hand on our side.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.gradia_step import make_batch
from bench.harmony_released import TERMS, Released, smooth
from mlcore.attribution.layers import default_layer
from mlcore.objectives.batch import Batch
from mlcore.objectives.harmony import Harmony
from mlcore.training.classifiers import build

CLASSES = 1000
RATE = 3e-5
# Of the loss and of the gradient's length, in float64: a stability term divides by pixels of the map, some near 0.
TOLERANCE = 1e-4
BARS = {"road": 3.0, "input_stability": 3.0}


class Given(Harmony):
    """The objective with a chance that the other side can draw too."""

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(int(self.steps))


class Side:
    """One way of taking steps, on a copy of its own."""

    def __init__(self, model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> None:
        self.model = model
        self.loss = loss
        self.optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
        self.cpu: list[float] = []
        self.wall: list[float] = []

    def gradient(self) -> tuple[float, Tensor]:
        """The loss and its gradient, all parameters in one row."""
        loss = self.loss(self.model)
        self.optimizer.zero_grad()  # a map's backward pass leaves its own behind
        loss.backward()
        parts = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        return loss.item(), torch.cat([part.flatten() for part in parts])

    def step(self, *, timed: bool) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        loss = self.loss(self.model)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if timed:
            self.cpu.append(time.thread_time() - cpu)
            self.wall.append(time.perf_counter() - wall)


def sides(metric: str, original: nn.Module, tuned: nn.Module, batch: Batch) -> tuple[Side, Side]:
    """Ours and the released way."""
    objective = Given.from_recipe({"metric": metric, "method": "grad_cam"})
    objective.prepare(original)
    weight = objective.term_weight
    theirs = deepcopy(tuned)
    way = Released(original, theirs, default_layer(theirs))
    steps = iter(range(10**9))

    def released(_: nn.Module) -> Tensor:
        term = TERMS[metric](way, batch, torch.Generator().manual_seed(next(steps)))
        return way.keep(batch.images) + weight * term

    return Side(deepcopy(tuned), lambda model: objective.loss(model, batch).total), Side(theirs, released)


def compare(ours: Side, theirs: Side) -> tuple[float, float]:
    """Differences of the losses and of the gradients, as shares of the released way's."""
    (mine, my_gradient), (other, their_gradient) = ours.gradient(), theirs.gradient()
    return abs(mine - other) / abs(other), float((my_gradient - their_gradient).norm() / their_gradient.norm())


def measure(ours: Side, theirs: Side, rounds: int) -> None:
    for turn in range(-1, rounds):
        for side in (ours, theirs) if turn % 2 else (theirs, ours):
            side.step(timed=turn >= 0)
        if sys.stderr.isatty():
            print(f"\rround {turn + 1} of {rounds} ", end="", file=sys.stderr)


def quartiles(values: Iterable[float]) -> list[float]:
    known = list(values)
    return statistics.quantiles(known, n=4, method="inclusive") if len(known) > 1 else known * 3


def row(metric: str, ours: Side, theirs: Side, differences: tuple[float, float]) -> str:
    ratio = quartiles(other / mine for mine, other in zip(ours.cpu, theirs.cpu, strict=True))
    wall = quartiles(other / mine for mine, other in zip(ours.wall, theirs.wall, strict=True))
    mine, other = quartiles(ours.cpu), quartiles(theirs.cpu)
    return (
        f"{metric:<26}{mine[1]:>7.2f} ({mine[0]:.2f} – {mine[2]:.2f}){other[1]:>8.2f} ({other[0]:.2f} – {other[2]:.2f})"
        f"{ratio[1]:>8.2f} ({ratio[0]:.2f} – {ratio[2]:.2f}){wall[1]:>7.2f} ({wall[0]:.2f} – {wall[2]:.2f})"
        f"{BARS.get(metric, 1.0):>5.1f}{differences[0]:>10.1e}{differences[1]:>9.1e}"
    )


def classifiers(architecture: str, weights: Path | None, images: Tensor) -> tuple[nn.Module, nn.Module]:
    """The original, and a copy that is no longer quite the same. Without weights BatchNorm has seen the images."""
    torch.manual_seed(0)
    original = build(architecture, CLASSES, weights=weights)
    if weights is None:
        original.train()
        with torch.no_grad():
            for _ in range(20):
                original(images)
    original.eval().requires_grad_(False)
    tuned = deepcopy(original).requires_grad_(True)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in tuned.parameters():
            parameter.add_(1e-3 * parameter.abs().mean() * torch.randn(parameter.shape, generator=generator))
    return original, tuned


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="squeezenet1_1")
    parser.add_argument("--weights", type=Path, help="safetensors, npz or checkpoint, of 1,000 classes")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(TERMS), help="metrics, separated by commas")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", message="Using backward\\(\\) with create_graph=True")
    batch = make_batch(options.batch, options.size, torch.Generator().manual_seed(0))
    batch.images = smooth(options.batch, options.size, torch.Generator().manual_seed(0))
    exact = replace(batch, images=batch.images.double())
    original, tuned = classifiers(options.architecture, options.weights, batch.images)
    print(
        f"{options.architecture}, {options.batch} images of {options.size} px, {options.rounds} rounds, "
        f"{torch.get_num_threads()} threads"
    )
    print("metric, CPU seconds of our step and of the released way, their ratio, that of wall time, bar, differences")
    agree = True
    for metric in options.only.split(","):
        differences = compare(*sides(metric, deepcopy(original).double(), deepcopy(tuned).double(), exact))
        ours, theirs = sides(metric, original, tuned, batch)
        measure(ours, theirs, options.rounds)
        print(row(metric, ours, theirs, differences), flush=True)
        agree &= max(differences) <= TOLERANCE
    if not agree:
        print("Losses or gradients differ.")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
