"""How long maps take beside other people's libraries, on the same weights and pictures, values compared first.

    python -m bench.attribution [--rounds 15] [--batch 4] [--size 224] [--threads 1] [--only grad_cam,tame]

Needs pytorch-grad-cam, torch-cam, captum and zennit for their rows (the environment of `make oracles` has them); a
library that is not here is named and left out. Each side has a copy of its own of one network (some libraries leave
hooks on it), set up before the clock starts. Sides of a contest take turns, the order rotates; ratios are of the
times of one round, so that a busy machine slows all sides alike. The clock is the CPU time of the calling thread (of
the process where there are several threads), which leaves out what other processes take; wall time stands beside it.
Before the clock starts, maps are compared: max |ours − theirs| over max |theirs|, after what the library itself does
to its maps; the script fails where two that have one definition differ.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mlcore.attribution import METHODS
from mlcore.attribution.attention_layers import capture_all
from mlcore.attribution.maps import minmax, upsample
from mlcore.attribution.tame import TAMEAttention
from mlcore.training.classifiers import build

CLASSES = 1000
LIBRARIES = {"pytorch-grad-cam": "pytorch_grad_cam", "torch-cam": "torchcam", "captum": "captum", "zennit": "zennit"}
CAMS = {"grad_cam": "GradCAM", "grad_cam_pp": "GradCAMPlusPlus", "layer_cam": "LayerCAM", "score_cam": "ScoreCAM"}
LAYERS = {"resnet18": "layer4", "squeezenet1_1": "features", "mobilenet_v2": "features"}
TORCHCAM = {"grad_cam": "GradCAM", "grad_cam_pp": "GradCAMpp", "layer_cam": "LayerCAM", "score_cam": "ScoreCAM"}

Maps = Callable[[], Tensor]


@dataclass
class Rival:
    """`ours` gives what `theirs` gives, up to `tolerance`; None where definitions differ, for the reason `why`."""

    name: str
    theirs: Maps
    ours: Maps
    tolerance: float | None = 1e-3
    why: str = ""
    bar: str = ""
    inverse: bool = False  # ours ÷ theirs


@dataclass
class Contest:
    title: str
    rivals: list[Rival] = field(default_factory=list)
    rounds: int | None = None


def here(library: str) -> bool:
    return importlib.util.find_spec(LIBRARIES[library]) is not None


def network(architecture: str, size: int) -> nn.Module:
    """Random weights, BatchNorm's statistics of some noise, so that features do not fade out."""
    torch.manual_seed(0)
    model = build(architecture, CLASSES).train()
    normed = any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    with torch.no_grad():
        for _ in range(5 if normed else 0):
            model(torch.randn(4, 3, min(size, 128), min(size, 128)))
    return model.eval()


def shown(maps: Tensor, size: int) -> Tensor:
    """What pytorch-grad-cam does to its maps: least and greatest to 0 and 1, enlarged, once more to 0 and 1."""
    return minmax(upsample(minmax(maps), (size, size)))


def silent(work: Callable[[], Any]) -> Any:
    """What `work` gives, without the progress bar that it draws."""
    with redirect_stderr(io.StringIO()):
        return work()


def cam_rivals(
    name: str, model: nn.Module, images: Tensor, targets: Tensor, bars: dict[str, str], layer: str = "layer4"
) -> list[Rival]:
    """pytorch-grad-cam and torch-cam at one layer."""
    size = images.shape[-1]
    ours = METHODS[name](deepcopy(model), layer)
    published = {
        "grad_cam_pp": "its denominator has a constant added",
        "score_cam": "it weighs by probabilities or scales channels otherwise",
    }.get(name, "")
    tolerance = None if published else 1e-3
    rivals = []
    if here("pytorch-grad-cam"):
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        theirs_model: Any = deepcopy(model)
        cam = getattr(pytorch_grad_cam, CAMS[name])(theirs_model, [theirs_model.get_submodule(layer)])
        asked = [ClassifierOutputTarget(int(target)) for target in targets]
        rivals.append(
            Rival(
                "pytorch-grad-cam",
                lambda: torch.from_numpy(silent(lambda: cam(images, asked))),
                lambda: shown(ours.explain(images, targets), size),
                tolerance,
                published,
                bars.get("pytorch-grad-cam", ""),
            )
        )
    if here("torch-cam"):
        from torchcam import methods

        torchcam_model: Any = deepcopy(model)
        extractor = getattr(methods, TORCHCAM[name])(torchcam_model, layer)

        def torchcam() -> Tensor:
            with torch.set_grad_enabled(name != "score_cam"):
                logits = torchcam_model(images)
                return extractor(targets.tolist(), logits)[0].detach()

        rivals.append(
            Rival(
                "torch-cam",
                torchcam,
                lambda: minmax(ours.explain(images, targets)),
                tolerance,
                published,
                bars.get("torch-cam", ""),
            )
        )
    return rivals


def grad_cam(architecture: str, images: Tensor, targets: Tensor) -> Contest:
    model, layer = network(architecture, images.shape[-1]), LAYERS[architecture]
    ours = METHODS["grad_cam"](deepcopy(model), layer)
    plain: Any = deepcopy(model)
    pooled = {} if architecture == "squeezenet1_1" else {"pytorch-grad-cam": "≥ 2.5"}  # a bar of GAP heads

    def forward() -> Tensor:
        with torch.no_grad():
            return plain(images)

    def explained() -> Tensor:
        return ours.explain(images, targets)

    rivals = [
        Rival("its own forward pass", forward, explained, None, "these are logits", "≤ 1.05", inverse=True),
        *cam_rivals("grad_cam", model, images, targets, {"torch-cam": "> 1"} | pooled, layer),
    ]
    if here("captum"):
        from captum.attr import LayerGradCam

        captum_model: Any = deepcopy(model)
        method = LayerGradCam(captum_model, captum_model.get_submodule(layer))
        rivals.append(
            Rival(
                "captum",
                lambda: method.attribute(images, targets, relu_attributions=True)[:, 0].detach(),
                explained,
                bar="> 1",
            )
        )
    return Contest(f"Grad-CAM, {architecture}", rivals)


def gradients(name: str, architecture: str, images: Tensor, targets: Tensor) -> Contest:
    """Guided backpropagation and Input × Gradient beside captum."""
    contest = Contest(f"{'Guided backprop' if name == 'guided_backprop' else 'Input × Gradient'}, {architecture}")
    model = network(architecture, images.shape[-1])
    if here("captum"):
        from captum import attr

        ours = METHODS[name](deepcopy(model))
        method = attr.GuidedBackprop if name == "guided_backprop" else attr.InputXGradient
        theirs = method(without_in_place(deepcopy(model)))
        contest.rivals.append(
            Rival(
                "captum",
                lambda: theirs.attribute(images.clone().requires_grad_(), targets).sum(1).detach(),
                lambda: ours.explain(images, targets),
                bar="≥ 1",
            )
        )
    return contest


def lrp(model: nn.Module, images: Tensor, targets: Tensor) -> Contest:
    contest = Contest("LRP ε+, ResNet-18")
    if here("zennit"):
        from zennit.attribution import Gradient
        from zennit.composites import EpsilonPlus
        from zennit.torchvision import ResNetCanonizer

        ours = METHODS["lrp"](deepcopy(model))
        attributor = Gradient(without_in_place(deepcopy(model)), EpsilonPlus(canonizers=[ResNetCanonizer()]))
        rows = torch.arange(len(targets))

        def start(logits: Tensor) -> Tensor:
            relevance = torch.zeros_like(logits)
            relevance[rows, targets] = logits.detach()[rows, targets]
            return relevance

        def zennit() -> Tensor:
            with attributor:
                return attributor(images.clone().requires_grad_(), start)[1].sum(1).detach()

        contest.rivals.append(Rival("zennit", zennit, lambda: ours.explain(images, targets), 1e-2))
    return contest


def tame(architecture: str, images: Tensor, targets: Tensor) -> Contest:
    """The attention alone, on features that the classifier gave once."""
    model = network(architecture, images.shape[-1])
    attention = TAMEAttention.for_model(model, size=images.shape[-1]).eval()
    with torch.no_grad(), capture_all(model, attention.layers) as captured:
        model(images)
    features = [layer.output for layer in captured]
    rows = torch.arange(len(targets))
    seen = [branch(feature).detach() for branch, feature in zip(attention.branches, features, strict=True)]
    fusing = deepcopy(attention)
    fusing.branches = nn.ModuleList(nn.Identity() for _ in seen)

    def every(module: TAMEAttention, values: list[Tensor]) -> Maps:
        def maps() -> Tensor:
            with torch.no_grad():
                return torch.sigmoid(module(values))[rows, targets]

        return maps

    def label(module: TAMEAttention, values: list[Tensor]) -> Maps:
        def maps() -> Tensor:
            with torch.no_grad():
                return torch.sigmoid(module(values, targets))

        return maps

    return Contest(
        f"TAME, label's map alone, {architecture}",
        [
            Rival(f"all {CLASSES} classes", every(attention, features), label(attention, features), 1e-5, bar="≥ 10"),
            Rival("all classes, fusing alone", every(fusing, seen), label(fusing, seen), 1e-5, bar="≥ 10"),
        ],
    )


def without_in_place(model: nn.Module) -> nn.Module:
    """Libraries that hook ReLU modules need them out of place."""
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model


def difference(rival: Rival) -> float:
    theirs, ours = rival.theirs().double(), rival.ours().double()
    if theirs.shape != ours.shape:
        return float("nan")
    return float((theirs - ours).abs().max() / theirs.abs().max().clamp(min=1e-12))


@dataclass
class Times:
    """Seconds of one side, a value a round."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def take(self, side: Maps) -> None:
        clock = time.thread_time if torch.get_num_threads() == 1 else time.process_time
        wall, cpu = time.perf_counter(), clock()
        side()
        self.cpu.append(clock() - cpu)
        self.wall.append(time.perf_counter() - wall)


def measure(rival: Rival, rounds: int) -> tuple[Times, Times]:
    """Times of ours and theirs, in turns, after one round to warm up."""
    warm, ours, theirs = Times(), Times(), Times()
    for turn in range(rounds + 1):
        pair = [(rival.ours, ours), (rival.theirs, theirs)]
        for side, found in pair if turn % 2 else pair[::-1]:
            (found if turn else warm).take(side)
    return ours, theirs


def quartiles(ours: list[float], theirs: list[float], inverse: bool) -> list[float]:
    """Of the paired ratios theirs ÷ ours, or ours ÷ theirs."""
    return statistics.quantiles([a / b if inverse else b / a for a, b in zip(ours, theirs, strict=True)], n=4)


def report(contest: Contest, rounds: int) -> bool:
    """Print a line for each rival; True where values agree wherever they must."""
    agree = True
    for rival in contest.rivals:
        apart = difference(rival)
        right = rival.tolerance is None or apart <= rival.tolerance
        agree &= right
        ours, theirs = measure(rival, contest.rounds or rounds)
        low, middle, high = quartiles(ours.cpu, theirs.cpu, rival.inverse)
        wall = quartiles(ours.wall, theirs.wall, rival.inverse)[1]
        mine, other = statistics.median(ours.cpu), statistics.median(theirs.cpu)
        ratio = f"{middle:.2f} ({low:.2f} – {high:.2f})" + (" ours ÷ it" if rival.inverse else "")
        value = "–" if rival.inverse else f"{apart:.1e}" + ("" if right else " DIFFERS")
        value += f" ({rival.why})" if rival.why and not rival.inverse else ""
        print(
            f"| {contest.title} | {rival.name} | {1000 * mine:.0f} | {1000 * other:.0f} | {ratio} | {wall:.2f} | "
            f"{rival.bar} | {value} |",
            flush=True,
        )
    return agree


def contests(wanted: set[str], batch: int, size: int) -> list[Callable[[], Contest]]:
    """Contests by name, each made when its turn comes, so that one's copies are gone before the next."""
    draw = torch.Generator().manual_seed(1)
    images = torch.randn(batch, 3, size, size, generator=draw)
    targets = torch.randint(CLASSES, (batch,), generator=draw)

    def cams(name: str) -> Contest:
        return Contest(f"{METHODS_TITLES[name]}, ResNet-18", cam_rivals(name, network("resnet18", size), images,
                                                                       targets, {}))  # fmt: skip

    def score_cam() -> Contest:
        small = images[:1, :, :64, :64]
        rivals = cam_rivals("score_cam", network("resnet18", 64), small, targets[:1], {}, "layer2")
        return Contest("Score-CAM, ResNet-18's layer2 (128 channels), one picture of 64 px", rivals, rounds=3)

    made: dict[str, Callable[[], Contest]] = {
        "grad_cam": lambda: grad_cam("resnet18", images, targets),
        "grad_cam_squeezenet": lambda: grad_cam("squeezenet1_1", images, targets),
        "grad_cam_mobilenet": lambda: grad_cam("mobilenet_v2", images, targets),
        "grad_cam_pp": lambda: cams("grad_cam_pp"),
        "layer_cam": lambda: cams("layer_cam"),
        "score_cam": score_cam,
        "guided_backprop": lambda: gradients("guided_backprop", "squeezenet1_1", images, targets),
        "guided_backprop_resnet18": lambda: gradients("guided_backprop", "resnet18", images, targets),
        "input_x_gradient": lambda: gradients("input_x_gradient", "squeezenet1_1", images, targets),
        "input_x_gradient_resnet18": lambda: gradients("input_x_gradient", "resnet18", images, targets),
        "lrp": lambda: lrp(network("resnet18", size), images, targets),
        "tame": lambda: tame("vgg16", images, targets),
        "tame_resnet50": lambda: tame("resnet50", images, targets),
    }
    return [made[name] for name in made if not wanted or name in wanted]


METHODS_TITLES = {"grad_cam_pp": "Grad-CAM++", "layer_cam": "Layer-CAM"}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--only", default="", help="names of contests, separated by commas")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")  # captum says at every call that it sets hooks
    absent = [name for name in LIBRARIES if not here(name)]
    print(
        f"batch {options.batch}, {options.size} px, {options.rounds} rounds, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}" + (f"; not here: {', '.join(absent)}" if absent else "")
    )
    print("| method | beside | ours CPU ms | it | it ÷ ours: median (quartiles) | wall | bar | max difference |")
    print("|---|---|---|---|---|---|---|---|")
    wanted = {name for name in options.only.split(",") if name}
    agree = True
    for make in contests(wanted, options.batch, options.size):
        agree &= report(make(), options.rounds)
    if not agree:
        print("Some maps differ.")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
