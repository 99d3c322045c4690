"""What grid consistency costs: the making of collages, and a step beside a plain one.

    python -m bench.grid [--architecture resnet18] [--batch 8] [--size 112] [--rounds 10]

Collages: pictures of a batch, each ready to be tiled with three of other classes.
ours      one picture an image is decoded and resized; `mlcore.objectives.collage` tiles the batch on the device;
released  written from its description: four pictures an image are decoded and resized, then joined.

Steps, each on the same weights, batch and optimizer, in turn, the order rotating:
plain     cross-entropy, one forward and one backward pass;
grid      `mlcore.objectives.grid`, default options: a second pass over pictures of four times the area.

Before the clock starts the collages of both ways are compared, pixel by pixel; the script fails where they differ.
Seconds are the CPU time of the calling thread, which does all the work on a CPU.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import time
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.gradia_step import CLASSES
from bench.harmony_released import smooth
from mlcore.objectives.base import Objective
from mlcore.objectives.batch import Batch
from mlcore.objectives.collage import plan_collages, tile
from mlcore.objectives.grid import GridConsistency
from mlcore.objectives.supervised import Supervised
from mlcore.training.classifiers import build

PHOTOGRAPH = (500, 375)


def photographs(count: int) -> list[bytes]:
    """Smooth pictures with some noise as JPEG files of a usual size."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(count):
        rough = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(PHOTOGRAPH)
        noisy = np.asarray(rough).astype(int) + rng.integers(-12, 13, (*PHOTOGRAPH[::-1], 3))
        file = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def decoded(file: bytes, size: int) -> Tensor:
    """(3, size, size) float32."""
    with Image.open(io.BytesIO(file)) as picture:
        pixels = np.array(picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def our_collages(files: list[bytes], labels: Tensor, size: int) -> Tensor:
    images = torch.stack([decoded(file, size) for file in files])
    plan = plan_collages(labels, [str(index) for index in range(len(files))], seed=0, step=0)
    return tile(images, plan.sources)


def released_collages(files: list[bytes], sources: list[list[int]], size: int) -> Tensor:
    whole = []
    for four in sources:
        pictures = [decoded(files[one], size) for one in four]
        rows = [torch.cat(pictures[:2], dim=2), torch.cat(pictures[2:], dim=2)]
        whole.append(torch.cat(rows, dim=1))
    return torch.stack(whole)


def alternated(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each side, each round in another order; one round goes before."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for turn in range(-1, rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.thread_time()
            sides[name]()
            if turn >= 0:
                found[name].append(time.thread_time() - start)
    return found


def ratio(first: list[float], second: list[float]) -> str:
    """Median and quartiles of first ÷ second, round by round."""
    low, middle, high = statistics.quantiles(
        [one / other for one, other in zip(first, second, strict=True)], n=4, method="inclusive"
    )
    return f"{middle:.2f} ({low:.2f} – {high:.2f})"


def collages(count: int, size: int, rounds: int) -> bool:
    files, labels = photographs(count), torch.arange(count) % CLASSES
    sources = plan_collages(labels, [str(index) for index in range(count)], seed=0, step=0).sources
    if not torch.equal(our_collages(files, labels, size), released_collages(files, sources.tolist(), size)):
        print("The collages differ.")
        return False
    images = torch.stack([decoded(file, size) for file in files])
    found = alternated(
        {
            "ours": lambda: our_collages(files, labels, size),
            "released": lambda: released_collages(files, sources.tolist(), size),
            "tiling": lambda: tile(images, plan_collages(labels, list(map(str, range(count))), seed=0, step=0).sources),
        },
        rounds,
    )
    for name, seconds in found.items():
        print(f"collages, {name:<10} {1000 * statistics.median(seconds) / count:8.2f} ms an image")
    print(f"four decodes ÷ one decode and tiling: {ratio(found['released'], found['ours'])}")
    return True


def steps(architecture: str, count: int, size: int, rounds: int) -> None:
    torch.manual_seed(0)
    model = build(architecture, CLASSES).train()
    batch = Batch.plain(smooth(count, size, torch.Generator().manual_seed(0)), torch.arange(count) % CLASSES)

    def side(objective: Objective) -> Callable[[], object]:
        own = deepcopy(model)
        objective.prepare(own)
        optimizer = torch.optim.SGD(own.parameters(), lr=1e-3, momentum=0.9)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            objective.loss(own, batch).total.backward()
            optimizer.step()

        return step

    found = alternated({"plain": side(Supervised()), "grid": side(GridConsistency())}, rounds)
    for name, seconds in found.items():
        print(f"step, {name:<14} {statistics.median(seconds):8.3f} s")
    print(f"grid ÷ plain: {ratio(found['grid'], found['plain'])}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="resnet18")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args(arguments)
    print(f"{options.batch} images of {options.size} px, {options.rounds} rounds, {torch.get_num_threads()} threads")
    agree = collages(options.batch, options.size, options.rounds)
    print(options.architecture)
    steps(options.architecture, options.batch, options.size, options.rounds)
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
