"""What a plan for ImageNet (1.28 million pictures) rests on: seconds of one core for a step, a picture, a tar.

    python -m bench.imagenet_plan [--images 200] [--samples 20000] [--batch 8] [--no-steps]

One thread. Seconds are those of the processor (time.process_time), so that other work on the machine counts less; a
slow disk does not show in them. Pictures: synthetic JPEG files of 500 × 375 pixels, about
ImageNet's mean of 110 kB. The memory of a step: what the estimate says, and by how much the process grew at most.
"""

from __future__ import annotations

import argparse
import io
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from PIL import Image

from mlcore.tars.index import beside, load, read
from mlcore.tars.reading import TarMember
from mlcore.tars.writing import write

IMAGENET, SHARD = 1_281_167, 10_000
STEPS = (("resnet50", "no"), ("resnet50", "bf16"))


def jpeg(seed: int) -> bytes:
    """A smooth picture with noise on it, at a size and quality that give about 110 kB."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC)).astype(int)
    noisy = (smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "JPEG", quality=94)
    return stream.getvalue()


def pictures(count: int) -> list[str]:
    """Rows: writing, indexing, reading and decoding `count` pictures of a tar."""
    from mlcore.training.job import Item
    from mlcore.training.pictures import Geometry, load_frame

    content = [jpeg(seed) for seed in range(min(count, 50))]
    size = sum(len(content[number % len(content)]) for number in range(count))
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        samples = ((f"{n:06d}", {"jpg": content[n % len(content)], "cls": b"1"}) for n in range(count))
        path = write(samples, Path(folder), size=count).shards[0]
        written = time.process_time() - began
        index = load(path, beside(path))
        members = [TarMember(path, "x", int(a), int(b)) for a, b in zip(index.offsets, index.sizes, strict=True)]
        began = time.process_time()
        for member in members:
            member.read()
        got = time.process_time() - began
        geometry = Geometry(224, "crop", margin=True)
        began = time.process_time()
        for number, member in enumerate(members):
            load_frame(Item(str(number), member), geometry, reference=False)
        decoded = time.process_time() - began
    return [
        f"| mean size of a picture | {size / count / 1e3:.0f} kB |",
        f"| tar written, index included | {size / written / 1e6:.0f} MB per second and core |",
        f"| pictures read from a tar (in the page cache) | {size / got / 1e6:.0f} MB per second and core |",
        f"| decoded and scaled to 256 | {count / decoded:.0f} pictures per second and core |",
    ]


def indexes(samples: int) -> list[str]:
    """Rows: looking through tars of tiny samples, an index's size, and the order of an epoch of ImageNet's size."""
    from mlcore.training.tar_items import TarItems

    with tempfile.TemporaryDirectory() as folder:
        made = ((f"n01440764_{n:06d}", {"jpg": b"p", "cls": b"1"}) for n in range(samples))
        path = write(made, Path(folder), size=samples).shards[0]
        began = time.process_time()
        index = read(path)
        looked = time.process_time() - began
        kept = beside(path).stat().st_size
    shards = IMAGENET // len(index) + 1
    items = TarItems([Path(f"train-{n:06d}.tar") for n in range(shards)], [index] * shards, None)
    began = time.process_time()
    items.order(1, 0)
    ordered = time.process_time() - began
    return [
        f"| headers looked through | {samples / looked:.0f} samples per second and core |",
        f"| index | {kept / samples:.0f} bytes a sample |",
        f"| the order of an epoch of {len(items) / 1e6:.2f} million pictures | {ordered:.1f} s |",
    ]


def step(architecture: str, precision: str, batch_size: int) -> str:
    """A row: seconds of a training step, the estimate of its memory, and how much the process grew."""
    import torch

    from mlcore.objectives.batch import Batch
    from mlcore.objectives.supervised import Supervised
    from mlcore.training.classifiers import build
    from mlcore.training.memory import estimate, held_bytes, told

    torch.set_num_threads(1)
    model, objective = build(architecture, 1000).to(memory_format=torch.channels_last).train(), Supervised()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    batch = Batch(
        images=torch.rand(batch_size, 3, 224, 224).contiguous(memory_format=torch.channels_last),
        labels=torch.zeros(batch_size, dtype=torch.long), maps=None, w_p=torch.ones(batch_size),
        has_map=torch.zeros(batch_size, dtype=torch.bool), w_a=torch.zeros(batch_size),
        ids=[str(number) for number in range(batch_size)],
    )  # fmt: skip

    def autocast() -> torch.autocast | nullcontext[None]:
        return torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()

    before = _resident()
    seconds = []
    for _ in range(4):
        began = time.process_time()
        with autocast():
            loss = objective.loss(model, batch)
        loss.total.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.process_time() - began)
    grown = _highest() - before + held_bytes(model, objective)
    found = estimate(model, objective, optimizer, batch, autocast)
    each = sorted(seconds[1:])[1] / batch_size
    return (
        f"| {architecture}, {'float32' if precision == 'no' else precision}, batch {batch_size} | {1 / each:.1f} | "
        f"{told(found.needs(batch_size))} | {told(grown)} | {told(found.fixed)} + {told(found.each)} an image |"
    )


def _highest() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main(arguments: list[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--no-steps", action="store_true", help="pictures and tars only")
    parser.add_argument("--step", nargs=3, metavar=("ARCHITECTURE", "PRECISION", "BATCH"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.step:  # in a process of its own, whose memory is that of one step
        print(step(asked.step[0], asked.step[1], int(asked.step[2])))
        return 0
    print("| pictures | |\n|---|---|")
    print("\n".join(pictures(asked.images) + indexes(asked.samples)), flush=True)
    if not asked.no_steps:
        print(
            "\n| step | images per second and core | estimate | grew by | of which |\n|---|---|---|---|---|", flush=True
        )
        for architecture, precision in STEPS:
            for size in asked.batch:
                command = [sys.executable, "-m", "bench.imagenet_plan", "--step", architecture, precision, str(size)]
                print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
