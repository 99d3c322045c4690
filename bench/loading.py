"""Whether pictures come as fast as they are used: decoded images a second, and how long a step waits for them.

    python -m bench.loading [--workers 0 1 2] [--images 192] [--batch 32] [--size 224] [--architecture resnet18]
        [--folder FOLDER]

Pictures: JPEG files of --folder, or synthetic ones of 500 × 375 pixels. For each number of loader processes an epoch is
read without using it (images a second; loader processes are there already, as from the second epoch on), and one
beside training steps (the share of its time in which the step waited, as a run's log tells it). One process: a step
takes the time that decoding leaves it, so that on few cores both slow each other.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from mlcore.objectives.supervised import Supervised
from mlcore.training.classifiers import build
from mlcore.training.data import Augmentation, BatchLoader, Frames
from mlcore.training.job import Item
from mlcore.training.machine import prepare
from mlcore.training.pictures import Geometry
from mlcore.training.stepping import Stepper
from mlcore.training.waiting import Waiting

CLASSES = 10


@contextmanager
def pictures(count: int, folder: Path | None) -> Iterator[list[Path]]:
    """Files, as many as asked for; those of a folder again where it has fewer."""
    if folder is not None:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
        yield [found[index % len(found)] for index in range(count)]
        return
    with tempfile.TemporaryDirectory() as made:
        rng = np.random.default_rng(1)
        for index in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC)).astype(int)
            noisy = (smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(Path(made) / f"{index:04d}.jpg", quality=90)
        yield sorted(Path(made).iterdir())


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--architecture", default="resnet18")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args(arguments)
    machine = prepare("auto")
    model: nn.Module = build(options.architecture, CLASSES).to(machine.device)
    stepper = Stepper(machine, model, Supervised(), torch.optim.Adam(model.parameters(), lr=1e-5), model)
    print(f"{os.cpu_count()} cores, {machine.device}, {options.architecture}, batch {options.batch}, "
          f"{options.size} px, {options.images} pictures\n")  # fmt: skip
    rates: list[str] = []
    print("| data workers | decoded images/s | images/s with steps | waiting for pictures |\n|---|---|---|---|")
    with pictures(options.images, options.folder) as files:
        items = [Item(str(index), str(path), index % CLASSES) for index, path in enumerate(files)]
        for workers in options.workers:
            loader = BatchLoader(
                Frames(items, Geometry(options.size, "crop", margin=True), cache=False), options.batch,
                augmentation=Augmentation(flip=True, random_crop=True), shuffle=True, workers=workers,
                pin_memory=machine.device.type == "cuda",
            )  # fmt: skip
            next(iter(loader.epoch(0)))  # starts the loader processes
            began, worked = time.perf_counter(), time.process_time()
            read = sum(len(raw) for raw in loader.epoch(1))
            decoded = read / (time.perf_counter() - began)
            if not workers:
                rates.append(f"{read / (time.process_time() - worked):.0f}")
            waiting = Waiting()
            began = time.perf_counter()
            for raw in waiting.of(loader.epoch(2)):
                stepper.gradients(raw.to_batch(machine.device, "imagenet"))
                stepper.apply()
            used = len(items) / (time.perf_counter() - began)
            loader.close()
            print(f"| {workers} | {decoded:.0f} | {used:.1f} | {waiting.share:.0%} |")
    if rates:
        print(f"\nOne core decodes {rates[0]} images in a second of its own time, whatever else runs.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
