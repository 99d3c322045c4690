"""What TAME's label map alone saves beside the maps of all classes, where it is fused and in a training step.

    python -m bench.tame [--architecture resnet50] [--classes 1000] [--batch 4] [--size 224] [--rounds 5] [--only fuse]
        [--channels-last]

In one process, in turns, on the same features, weights and batch:

fuse   what follows the branches: each layer enlarged and all of them fused to the maps of every class, of which the
       label's is taken, against the label's row fused before its one map is enlarged;
map    the same with the branches in front, which both need;
step   a training step, its optimiser included: all classes' maps and of them every pair of image and label, the
       classifier in train mode with gradients for its weights switched off (the released way) against
       `mlcore.objectives.tame`, default options;
kept   that step with everything computed against the same with the features of the first pass kept (fixed views).

Before the clock starts values are compared: maps to 1e-5, the released way's loss with preset "tame", the loss of kept
features bit by bit. The bench fails where they differ. Processor seconds of the thread, so that other processes take
nothing.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.attention_layers import capture_all
from mlcore.attribution.tame import MOST_CELLS, TAMEAttention
from mlcore.metrics.inputs import IMAGENET
from mlcore.objectives.batch import Batch
from mlcore.objectives.feature_store import FeatureStore
from mlcore.objectives.tame import TAMETraining
from mlcore.training.attention import optimizer_of
from mlcore.training.classifiers import build

BAR = 10.0


def enlarged(maps: Tensor, side: int) -> Tensor:
    """Bilinear to (side, side)."""
    return F.interpolate(maps, (side, side), mode="bilinear", align_corners=False)


def fuse_every_class(attention: TAMEAttention, seen: list[Tensor]) -> Tensor:
    """c of all classes (B, K, s, s), as the module is defined."""
    side = min(max(seen[0].shape[-2:]), MOST_CELLS)
    return attention.fuse(torch.cat([enlarged(part, side) for part in seen], dim=1))


class Seen(nn.Module):
    """A branch that has been gone through already."""

    def forward(self, feature: Tensor) -> Tensor:
        return feature


def label_alone(attention: TAMEAttention, seen: list[Tensor], labels: Tensor) -> Tensor:
    """c of the labels (B, s, s) by the module itself, whose branches let what they are given through."""
    return attention(seen, labels)


def released_loss(model: nn.Module, attention: TAMEAttention, images: Tensor) -> Tensor:
    """The loss over all pairs of image and label, from the maps of all classes."""
    with torch.no_grad(), capture_all(model, attention.layers) as captured:
        labels = model(images).argmax(dim=1)
    every = torch.sigmoid(attention([layer.output for layer in captured]))
    maps = every[:, labels]
    own = F.interpolate(
        maps[torch.arange(len(images)), torch.arange(len(images))][:, None], images.shape[-2:], mode="bilinear"
    )
    classification = F.cross_entropy(model(IMAGENET.from_unit(own * IMAGENET.to_unit(images))), labels)
    border = sum(part.square().sum() for part in (maps[..., 0], maps[..., -1], maps[..., 0, :], maps[..., -1, :]))
    steps = maps.diff(dim=-1).square().sum() + maps.diff(dim=-2).square().sum()
    variation = (steps + 0.3 * border) / (2 * len(images))
    return 1.5 * classification + 2 * (maps + 5e-4).pow(0.3).mean() + 0.01 * variation


def in_turns(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Thread seconds of each work, `rounds` of each after one to warm up; the order turns."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for turn in range(rounds + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.thread_time()
            works[name]()
            if turn:
                seconds[name].append(time.thread_time() - start)
    return seconds


def line(what: str, seconds: dict[str, list[float]]) -> float:
    """Print medians and the median ratio of the two works, the first ÷ the second, which is returned."""
    (_, theirs), (_, ours) = seconds.items()
    ratios = sorted(a / b for a, b in zip(theirs, ours, strict=True))
    ratio = statistics.median(ratios)
    spread = f"{ratios[0]:.1f} – {ratios[-1]:.1f}"
    print(
        f"{what:<8}{statistics.median(theirs) * 1000:>14.1f}{statistics.median(ours) * 1000:>14.1f}{ratio:>9.1f}"
        f"{spread:>16}"
    )
    return ratio


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="resnet50")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("fuse", "map", "step", "kept"))
    parser.add_argument("--channels-last", action="store_true", help="of classifier and pictures")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # thread seconds hold the work of one
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    model = build(options.architecture, options.classes).eval().to(memory_format=layout)
    objective = TAMETraining()
    objective.prepare(model)
    attention = objective.attention
    assert isinstance(attention, TAMEAttention)
    images = torch.randn(options.batch, 3, options.size, options.size).contiguous(memory_format=layout)
    good = True
    print(f"{options.architecture}, {options.classes} classes, batch {options.batch}, {options.size} px, one thread")
    print(f"{'':<8}{'all, ms':>14}{'label, ms':>14}{'ratio':>9}{'of all rounds':>16}")
    labels = torch.randint(options.classes, (options.batch,))
    rows = torch.arange(options.batch)
    attention.eval()
    with torch.no_grad():
        with capture_all(model, attention.layers) as captured:
            model(images)
        features = [layer.output for layer in captured]
        seen = [branch(feature) for branch, feature in zip(attention.branches, features, strict=True)]
        through = copy.deepcopy(attention)
        through.branches = nn.ModuleList(Seen() for _ in seen)
        pairs = (fuse_every_class(attention, seen)[rows, labels], label_alone(through, seen, labels))
        good &= torch.allclose(*(torch.sigmoid(scores) for scores in pairs), atol=1e-5, rtol=0)
        if options.only in (None, "fuse"):
            ratio = line("fuse", in_turns({
                "all": lambda: fuse_every_class(attention, seen)[rows, labels],
                "label": lambda: label_alone(through, seen, labels),
            }, options.rounds))  # fmt: skip
            good &= ratio >= BAR
        if options.only in (None, "map"):
            line("map", in_turns({
                "all": lambda: attention(features)[rows, labels],
                "label": lambda: attention(features, labels),
            }, options.rounds))  # fmt: skip
    if options.only in (None, "step"):
        good &= compare_steps(model, objective, images, options.rounds)
    if options.only in (None, "kept"):
        good &= compare_kept(model, objective, images, options.rounds)
    if not good:
        print("The values differ, or the bar is missed.")
    return 0 if good else 1


def compare_steps(model: nn.Module, objective: TAMETraining, images: Tensor, rounds: int) -> bool:
    """Print the line of a training step; True where the released loss is that of preset "tame"."""
    attention, batch = objective.attention.train(), Batch.plain(images, torch.zeros(len(images), dtype=torch.int64))
    assert isinstance(attention, TAMEAttention)
    twin = copy.deepcopy(model).requires_grad_(False).train()
    for module in twin.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    # Without dropout, and with the batch's own statistics in every pass, the two cannot differ by chance or order.
    preset = TAMETraining(preset="tame", attention=attention)
    ours, theirs = preset.loss(twin, batch).total, released_loss(twin, attention, images)
    alike = torch.allclose(ours, theirs, atol=1e-4, rtol=1e-4)
    step = stepping(attention)
    line("step", in_turns({
        "all": lambda: step(lambda: released_loss(twin, attention, images)),
        "label": lambda: step(lambda: objective.loss(model, batch).total),
    }, rounds))  # fmt: skip
    return alike


def compare_kept(model: nn.Module, objective: TAMETraining, images: Tensor, rounds: int) -> bool:
    """Print the line of a step whose features are kept; True where its loss is the one of a step that computes them."""
    attention, labels = objective.attention.train(), torch.zeros(len(images), dtype=torch.int64)
    batch = Batch.plain(images, labels, [str(number) for number in range(len(images))])
    keeping = TAMETraining(attention=attention)
    keeping.store = FeatureStore()
    alike = all(torch.equal(keeping.loss(model, batch).total, objective.loss(model, batch).total) for _ in range(2))
    step = stepping(attention)
    line("kept", in_turns({
        "computed": lambda: step(lambda: objective.loss(model, batch).total),
        "kept": lambda: step(lambda: keeping.loss(model, batch).total),
    }, rounds))  # fmt: skip
    return alike and keeping.store.reads > rounds


def stepping(attention: nn.Module) -> Callable[[Callable[[], Tensor]], None]:
    """A training step on what a function gives as loss."""
    optimizer = optimizer_of(attention, 1e-6)

    def step(loss: Callable[[], Tensor]) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    sys.exit(main())
