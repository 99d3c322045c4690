"""How much a GRADIA phase-2 step costs beside a plain cross-entropy step, and beside the released way.

    python -m bench.gradia_step [--architecture resnet50] [--batch 8] [--size 112] [--pairs 30]

One run, three kinds of step in turn (the order rotates), each on the same weights, batch and optimizer:

plain     cross-entropy, one forward and one backward pass;
gradia    `mlcore.objectives.gradia`, default options, every image with a drawn map (the dearest case);
released  the published code's way, written from its description: the batch for cross-entropy, then a loop over the
          images, each with a forward pass of its own, a backward pass of its class score for α, and its own map.

Before the clock starts, losses are compared: `released` with preset "gradia" as both are meant to run, and with the
default where their differences vanish (BatchNorm frozen, T not rounded). The bench fails where they differ.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.head import closed_form_head
from mlcore.attribution.layers import default_layer
from mlcore.objectives.batch import Batch
from mlcore.objectives.gradia import Gradia
from mlcore.objectives.supervised import Supervised
from mlcore.objectives.targets import attention_target
from mlcore.training.classifiers import build

CLASSES = 10
TOLERANCE = 1e-4


def make_batch(size: int, pixels: int, generator: torch.Generator) -> Batch:
    """Random images, each with a drawn ellipse and the weights of "unreasonable, accurate"."""
    rows, columns = torch.meshgrid(torch.arange(pixels), torch.arange(pixels), indexing="ij")
    centres = pixels * (0.3 + 0.4 * torch.rand(size, 2, generator=generator))
    radii = pixels * (0.15 + 0.15 * torch.rand(size, 2, generator=generator))
    drawn = torch.stack(
        [
            ((rows - centre[0]) / radius[0]) ** 2 + ((columns - centre[1]) / radius[1]) ** 2 < 1
            for centre, radius in zip(centres, radii, strict=True)
        ]
    )
    batch = Batch.plain(
        torch.randn(size, 3, pixels, pixels, generator=generator),
        torch.randint(CLASSES, (size,), generator=generator),
    )
    batch.maps = torch.where(drawn, 1, -1).to(torch.int8)
    batch.has_map = torch.ones(size, dtype=torch.bool)
    batch.w_p, batch.w_a = torch.full((size,), 0.4), torch.full((size,), 1.6)
    return batch


def released_loss(model: nn.Module, batch: Batch, *, rounded: bool = True) -> Tensor:
    """The loss, image by image, with hooks and `.backward()` for the weights of Grad-CAM."""
    assert batch.maps is not None
    logits = model(batch.images)
    classification = (batch.w_p * F.cross_entropy(logits, batch.labels, reduction="none")).mean()
    layer = model.get_submodule(default_layer(model))
    distances = []
    for index in range(len(batch)):
        seen: dict[str, Tensor] = {}

        def keep(_module: nn.Module, _inputs: object, output: Tensor, seen: dict[str, Tensor] = seen) -> None:
            seen["activation"] = output
            output.register_hook(lambda gradient: seen.__setitem__("gradient", gradient))

        handle = layer.register_forward_hook(keep)
        score = model(batch.images[index : index + 1])[0, batch.labels[index]]
        handle.remove()
        score.backward(retain_graph=True)
        weights = seen["gradient"].detach().mean(dim=(2, 3), keepdim=True)
        heat = (weights * seen["activation"]).sum(dim=1)[0]
        heat = (heat - heat.min()) / (heat.max() - heat.min())
        target = attention_target(batch.maps[index : index + 1] > 0, (heat.shape[0], heat.shape[1]), rounded=rounded)
        distances.append(batch.w_a[index] * (heat - target[0]).abs().mean())
    model.zero_grad()
    return classification + torch.stack(distances).mean()


def compare_losses(model: nn.Module, batch: Batch) -> bool:
    """Print our losses beside the released way's, on copies of the model without dropout; True where they agree."""
    model = deepcopy(model).train()
    with torch.no_grad():  # running statistics of this batch, or features of an untrained network fade out
        for _ in range(20):
            model(batch.images)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    agree = True
    for what, preset in (
        ("preset gradia, as released", "gradia"),
        ("default, BatchNorm frozen, T not rounded", "default"),
    ):
        first, second = deepcopy(model), deepcopy(model)
        if preset == "default":
            first.eval(), second.eval()
        ours = Gradia(preset=preset).loss(first, batch)
        mine, theirs = (
            float(ours.total.detach()),
            float(released_loss(second, batch, rounded=preset == "gradia").detach()),
        )
        print(f"loss, {what}: ours {mine:.6f}, released way {theirs:.6f}")
        if math.isnan(theirs) and int(ours.terms["constant_maps"]):
            print("  (a map is constant: the released way divides zero by zero; ours counts it)")
        else:
            agree &= abs(mine - theirs) <= TOLERANCE * max(1, abs(theirs))
    return agree


def timed_step(loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer) -> float:
    """Seconds of one whole step, optimizer included."""
    start = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    loss().backward()
    optimizer.step()
    return time.perf_counter() - start


def measure(model: nn.Module, batch: Batch, pairs: int) -> dict[str, list[float]]:
    """Seconds of each kind of step, `pairs` of each after one round to warm up."""
    plain, gradia = Supervised(), Gradia()
    gradia.prepare(model)
    steps: dict[str, Callable[[], Tensor]] = {
        "plain": lambda: plain.loss(model, batch).total,
        "gradia": lambda: gradia.loss(model, batch).total,
        "released": lambda: released_loss(model, batch),
    }
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for turn in range(pairs + 1):
        for name in names[turn % 3 :] + names[: turn % 3]:
            taken = timed_step(steps[name], optimizer)
            if turn:
                seconds[name].append(taken)
        if sys.stderr.isatty():
            print(f"\rround {turn} of {pairs}", end="", file=sys.stderr)
    return seconds


def table(seconds: dict[str, list[float]]) -> list[str]:
    """Lines of the table: median seconds, and the median of the paired ratios with its quartiles."""
    lines = [f"{'step':<10}{'median s':>10}{'÷ plain':>10}{'quartiles':>16}"]
    for name, values in seconds.items():
        ratios = [value / plain for value, plain in zip(values, seconds["plain"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        lines.append(f"{name:<10}{statistics.median(values):>10.3f}{middle:>10.2f}{low:>9.2f} – {high:.2f}")
    ratios = [theirs / ours for theirs, ours in zip(seconds["released"], seconds["gradia"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    lines.append(f"released ÷ gradia: {middle:.2f} ({low:.2f} – {high:.2f})")
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="resnet50")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--weights", type=Path, help="safetensors, npz or checkpoint; its head is replaced")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    model = build(options.architecture, CLASSES, weights=options.weights, replace_head=bool(options.weights)).train()
    batch = make_batch(options.batch, options.size, torch.Generator().manual_seed(0))
    head = closed_form_head(model, default_layer(model))
    print(
        f"{options.architecture}, batch {options.batch}, {options.size} px, {options.pairs} pairs, "
        f"{torch.get_num_threads()} threads, Grad-CAM {'in closed form' if head else 'by autograd'}"
    )
    agree = compare_losses(model, batch)
    print("\n".join(table(measure(model, batch, options.pairs))))
    if not agree:
        print("The losses differ.")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
