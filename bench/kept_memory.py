"""What a run's process gains on a CPU by keeping its memory (`mlcore.runs.child.KEEPS_MEMORY`).

    OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 python -m bench.kept_memory [--architecture mobilenet_v2] [--size 224]
        [--batches 8 32 64] [--rounds 5]

Two processes on the same random pictures and weights, as the C library does by itself and with what it keeps; they take
turns, round after round, and the features that both compute are compared. Times are of the processor, of which
the system's part is shown; the ratio is the median over rounds, with its quartiles.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
from typing import Any

KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}  # as mlcore.runs.child, which needs Django
PICTURES = 128


def measure(architecture: str, size: int, batch: int) -> dict[str, Any]:
    """Milliseconds of the processor a picture, the system's part of them, MB at most, and a hash of the features."""
    import torch

    from mlcore.correspondence.features import describe, last_spatial_layer
    from mlcore.training.classifiers import build

    torch.manual_seed(1)
    model = build(architecture, 10)
    layer = last_spatial_layer(model)
    pictures = torch.randn(batch, 3, size, size)
    told = hashlib.sha256(describe(model, layer, pictures).numpy().tobytes()).hexdigest()
    before = resource.getrusage(resource.RUSAGE_SELF)
    steps = max(PICTURES // batch, 1)
    for _ in range(steps):
        describe(model, layer, pictures)
    after = resource.getrusage(resource.RUSAGE_SELF)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    each = 1000 / (steps * batch)
    return {"ms": (user + system) * each, "system": system * each, "mb": after.ru_maxrss / 1024, "features": told}


def ask(options: argparse.Namespace, batch: int, environment: dict[str, str]) -> dict[str, Any]:
    command = [
        sys.executable, "-m", "bench.kept_memory", "--architecture", options.architecture, "--size", str(options.size),
        "--alone", str(batch),
    ]  # fmt: skip
    plain = {name: value for name, value in os.environ.items() if name not in KEPT}
    found = subprocess.run(command, env=plain | environment, capture_output=True, text=True, check=True)
    return json.loads(found.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="mobilenet_v2")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(measure(options.architecture, options.size, options.alone)))
        return 0
    print("| at once | given back: ms (system) | kept: ms (system) | ratio (quartiles) | MB at most |")
    print("|---|---|---|---|---|")
    for batch in options.batches:
        rounds = [(ask(options, batch, {}), ask(options, batch, KEPT)) for _ in range(options.rounds)]
        if len({one["features"] for pair in rounds for one in pair}) != 1:
            print("The features differ.", file=sys.stderr)
            return 1
        low, middle, high = statistics.quantiles([given["ms"] / kept["ms"] for given, kept in rounds], n=4)
        cells = []
        for side in zip(*rounds, strict=True):
            ms, system = (statistics.median(one[name] for one in side) for name in ("ms", "system"))
            cells.append(f"{ms:.1f} ({system:.1f})")
        most = " → ".join(f"{max(one['mb'] for one in side):.0f}" for side in zip(*rounds, strict=True))
        print(f"| {batch} | {' | '.join(cells)} | {middle:.2f} ({low:.2f} – {high:.2f}) | {most} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
