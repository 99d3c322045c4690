"""How fast metrics that ask the classifier again are beside Quantus, and an exact expectation beside samples of it.

    .venv-oracles/bin/python -m bench.metrics [--rounds 5] [--images 2] [--weights squeezenet1_1.npz] [--only road]

One process, the same tensors, each pair in turn (ours first in every second round), values compared at the same time;
the script fails where they differ. Ratios are theirs ÷ ours.

road            filling in ten shares of a 224×224×3 image, noise 0, ours in one call
irof            100 segments, classifier that costs nothing (superpixels are the same function: kept from before on our
                side, as for a second method, and left out of Quantus' time) and SqueezeNet, superpixels on both sides
deletion        28 steps, pixel flipping, classifier that costs nothing, and SqueezeNet
insertion       the same from the blurred image, each step showing pixels of the image; both sides blur with our
                function, since Quantus has none
ris             20 noisy copies, maps and classifier that cost nothing, and SqueezeNet with its input as map
stochastic      exact stochastic pointing game against 100 points drawn from the map, each a game of its own or all
                looked up in one distance transform, and against the same expectation by such a transform

Both sides ask SqueezeNet about the same copies, each once, in float32. Quantus leaves the unaltered image out of pixel
flipping's curve: it is asked there too, through Quantus' own wrapper. What differs is how many copies are asked about
together (Quantus: one of each image; ours: four of 224 px on a CPU, of one image or several) and, on a CPU, how they
lie in memory (Quantus: colour after colour; ours: a pixel's colours together). RIS' copies lie alike on both sides.
"""

from __future__ import annotations

import argparse
import copy
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from mlcore.attribution.maps import upsample
from mlcore.metrics.imputation import impute
from mlcore.metrics.insertion_deletion import Deletion, Insertion, blur
from mlcore.metrics.irof import IROF
from mlcore.metrics.perturbation import ranks
from mlcore.metrics.road import SHARES
from mlcore.metrics.segments import superpixels
from mlcore.metrics.stability import RelativeInputStability
from mlcore.metrics.stochastic_pointing import StochasticPointingGame
from mlcore.training.classifiers import build

SIZE = 224
STEPS = 28
Work = Callable[[], Any]
Case = tuple[str, Work, Work, Callable[[Any, Any], float], float]


class Free(nn.Module):
    """A classifier that costs nothing."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, :4]


def maps_of(count: int, cells: int) -> Tensor:
    """Smooth (few cells) or rough maps at the images' size."""
    cells_of = torch.rand(count, cells, cells, generator=torch.Generator().manual_seed(cells))
    return upsample(cells_of, (SIZE, SIZE))


def largest(ours: Any, theirs: Any) -> float:
    """Largest difference, relative to the largest value where this is above 1."""
    mine, other = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    return float(np.abs(mine - other).max() / max(1.0, np.abs(other).max()))


def road_cases(images: Tensor) -> Iterator[Case]:
    from quantus.functions.perturb_func import noisy_linear_imputation

    image = images[0].double().numpy()
    for kind, cells in (("smooth map", 7), ("rough map", SIZE)):
        places = ranks(maps_of(1, cells))
        removed = torch.cat([places < SIZE * SIZE * share // 100 for share in SHARES])
        indices = [gone.flatten().nonzero()[:, 0].numpy() for gone in removed]
        yield (
            f"road, {kind}",
            lambda removed=removed: impute(images[:1].expand(len(SHARES), -1, -1, -1), removed).numpy(),
            lambda indices=indices: np.stack([noisy_linear_imputation(image, some, noise=0.0) for some in indices]),
            largest,
            1e-5,
        )


def quiet(made: Callable[..., Any], **options: Any) -> Any:
    return made(normalise=False, abs=False, disable_warnings=True, display_progressbar=False, **options)


def irof_cases(images: Tensor, net: nn.Module, targets: Tensor) -> Iterator[Case]:
    import quantus

    def blank(arr: Any, mask: Any, **_: object) -> Any:
        return np.where(mask, np.float32(0), arr)

    maps = maps_of(1, 7)
    theirs = quiet(quantus.IROF, perturb_func=blank)
    image, label = images[:1], targets[:1]
    for kind, model in (("free", Free().eval()), ("SqueezeNet", net)):
        ours = IROF(model)
        known = superpixels(image[0]).numpy()

        def mine(ours: IROF = ours, cold: bool = kind != "free") -> list[float]:
            if cold:
                from mlcore.metrics import segments

                segments._kept.clear()
            row = ours.curve(maps, image, label)[0] / ours.unaltered(image, label)[0]
            return [len(row) - float(torch.trapezoid(row))]

        def other(model: nn.Module = model, known: Any = known, cold: bool = kind != "free") -> Any:
            def run() -> Any:
                return theirs(model, image.numpy(), label.numpy(), maps[:, None].numpy(), device="cpu", softmax=True)

            if cold:
                return run()
            with mock.patch("quantus.helpers.utils.get_superpixel_segments", return_value=known):
                return run()

        yield f"irof, {kind}", mine, other, largest, 1e-3


def for_grey(net: nn.Module) -> nn.Module:
    """The same SqueezeNet for grey pictures, its first weights summed over colours: Quantus counts features of colours,
    ours pixels; here both are the same."""
    net = copy.deepcopy(net)
    first = net.get_submodule("features.0")
    first.weight = nn.Parameter(first.weight.sum(dim=1, keepdim=True))  # type: ignore[union-attr, operator]
    first.in_channels = 1  # type: ignore[assignment]
    return net.eval()


def flipping(perturb: Any) -> Callable[..., Any]:
    """Quantus' pixel flipping in 28 steps: (model, start, targets, maps) → probabilities (B, 29), start included."""
    import quantus
    from quantus.helpers.model.pytorch_model import PyTorchModel

    steps = quiet(quantus.PixelFlipping, features_in_step=SIZE * SIZE // STEPS, perturb_func=perturb)

    def curve(model: nn.Module, start: Any, targets: Any, maps: Any) -> Any:
        first = PyTorchModel(model, channel_first=True, softmax=True, device="cpu").predict(start)
        rest = steps(model, start, targets, maps, device="cpu", softmax=True)
        return np.column_stack([first[np.arange(len(targets)), targets], rest])

    return curve


def deletion_cases(images: Tensor, net: nn.Module, targets: Tensor) -> Iterator[Case]:
    def zero(arr: Any, indices: Any, **_: object) -> Any:
        arr = arr.copy()
        arr[np.arange(len(arr))[:, None], indices] = 0.0
        return arr

    maps, grey, theirs = maps_of(len(images), SIZE), images[:, :1].contiguous(), flipping(zero)
    for kind, model in (("free", Free().eval()), ("SqueezeNet", for_grey(net))):
        yield (
            f"deletion, {kind}",
            lambda model=model: Deletion(model, steps=STEPS).curve(maps, grey, targets).numpy(),
            lambda model=model: theirs(model, grey.numpy(), targets.numpy(), maps[:, None].numpy()),
            largest,
            1e-4,
        )


def insertion_cases(images: Tensor, net: nn.Module, targets: Tensor) -> Iterator[Case]:
    maps, grey = maps_of(len(images), SIZE), images[:, :1].contiguous()
    whole = grey.flatten(1).numpy()

    def show(arr: Any, indices: Any, **_: object) -> Any:
        arr, rows = arr.copy(), np.arange(len(arr))[:, None]
        arr[rows, indices] = whole[rows, indices]
        return arr

    theirs = flipping(show)
    for kind, model in (("free", Free().eval()), ("SqueezeNet", for_grey(net))):
        yield (
            f"insertion, {kind}",
            lambda model=model: Insertion(model, steps=STEPS).curve(maps, grey, targets).numpy(),
            lambda model=model: theirs(model, blur(grey).numpy(), targets.numpy(), maps[:, None].numpy()),
            largest,
            1e-4,
        )


def ris_cases(images: Tensor, net: nn.Module, targets: Tensor) -> Iterator[Case]:
    import quantus

    copies = 20
    noise = torch.rand(copies, len(images), 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 0.18 + 0.02

    def explain(model: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
        def of(asked: Tensor, _: Tensor) -> Tensor:
            if not isinstance(model, Free):
                with torch.no_grad():
                    model(asked)
            return asked[:, 0].clamp(min=0.1)

        return of

    class Drawn(RelativeInputStability):
        """With the noise that Quantus draws too, as a test of equal values; drawn anew for the clock."""

        given: Iterator[Tensor]

        def draw(self, count: int, shape: torch.Size, generator: torch.Generator) -> Tensor:
            super().draw(count, shape, generator)
            return torch.stack([next(self.given) for _ in range(count)])

    for kind, model in (("free", Free().eval()), ("SqueezeNet", net)):
        of = explain(model)

        def mine(model: nn.Module = model, of: Any = of) -> list[float]:
            metric = Drawn(model, of, copies=copies)
            metric.given = iter(noise.transpose(0, 1).flatten(0, 1))
            return list(metric.values(of(images, targets), images, targets))  # type: ignore[arg-type]

        def other(model: nn.Module = model, of: Any = of) -> Any:
            from quantus.functions.perturb_func import batch_uniform_noise

            left = iter(noise.flatten(2).numpy())

            def replay(arr: Any, indices: Any, **_: object) -> Any:
                batch_uniform_noise(arr, indices, lower_bound=0.02, upper_bound=0.2)
                return arr + next(left)

            def theirs_explain(model: nn.Module, inputs: Any, targets: Any, **_: object) -> Any:
                return of(torch.as_tensor(inputs), torch.as_tensor(targets))[:, None].numpy()

            metric = quiet(
                quantus.RelativeInputStability, nr_samples=copies, perturb_func=replay,
                return_nan_when_prediction_changes=False,
            )  # fmt: skip
            return metric(model, images.numpy(), targets.numpy(), explain_func=theirs_explain, device="cpu")

        yield f"ris, {kind}", mine, other, largest, 1e-3


def stochastic_cases(images: Tensor) -> Iterator[Case]:
    from scipy.ndimage import distance_transform_edt

    maps = maps_of(8, 7)
    masks = torch.zeros(8, SIZE, SIZE, dtype=torch.bool)
    masks[:, 60:150, 80:170] = True
    names = [str(number) for number in range(8)]
    rows, columns = torch.arange(SIZE)[:, None], torch.arange(SIZE)

    def mine() -> float:
        metric = StochasticPointingGame()
        metric.update(maps, masks, names)
        return float(metric.compute()["value"])

    def hit(mask: Tensor, point: int) -> bool:
        """The game of one point, as published: a disc among all pixels of the image, and is any of the object in it."""
        row, column = divmod(point, SIZE)
        return bool((mask & ((rows - row) ** 2 + (columns - column) ** 2 < 15**2)).any())

    def sampled(hits_of: Callable[[Tensor, Any], Any]) -> float:
        rng, found = np.random.default_rng(0), []
        for heat, mask in zip(maps.numpy(), masks, strict=True):
            chances = heat.clip(min=0).ravel().astype(float)
            drawn = rng.choice(chances.size, 100, p=chances / chances.sum())
            found.append(np.mean(hits_of(mask, drawn)))
        return float(np.mean(found))

    def near(mask: Tensor) -> Any:
        return distance_transform_edt(~mask.numpy()).ravel() < 15

    def expected() -> float:
        pairs = zip(maps.numpy(), masks, strict=True)
        return float(np.mean([np.average(near(mask), weights=heat.ravel()) for heat, mask in pairs]))

    yield (
        "stochastic, 100 games of one point",
        mine,
        lambda: sampled(lambda mask, drawn: [hit(mask, int(point)) for point in drawn]),
        largest,
        0.1,
    )
    yield (
        "stochastic, 100 points, one transform",
        mine,
        lambda: sampled(lambda mask, drawn: near(mask)[drawn]),
        largest,
        0.1,
    )
    yield "stochastic, exact by one transform", mine, expected, largest, 1e-6


def measure(case: Case, rounds: int) -> tuple[list[float], list[float], float]:
    """Seconds of ours and theirs, in turn, after one call of each; the difference of their values."""
    _, ours, theirs, compare, _ = case
    difference = compare(ours(), theirs())
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 else (1, 0):
            start = time.perf_counter()
            (ours, theirs)[which]()
            seconds[which].append(time.perf_counter() - start)
    return seconds[0], seconds[1], difference


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--weights", type=Path, help="SqueezeNet 1.1 for ImageNet; without it, untrained")
    parser.add_argument("--only", default="", help="cases whose name begins so")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    if not hasattr(np, "trapz"):  # Quantus 0.6 calls it by the name that numpy 2.4 took away
        np.trapz = np.trapezoid  # type: ignore[attr-defined]
    torch.manual_seed(0)
    net = build("squeezenet1_1", 1000, weights=options.weights).eval()
    images = upsample(torch.randn(3 * options.images, 28, 28), (SIZE, SIZE)).view(-1, 3, SIZE, SIZE)
    images -= images.mean(dim=(2, 3), keepdim=True)  # Quantus fills with one number; here it is the image's mean too
    targets = torch.arange(options.images) % 4
    print(f"{SIZE} px, {options.images} images, {options.rounds} rounds, {torch.get_num_threads()} threads")
    print(f"{'case':<40}{'ours s':>9}{'theirs s':>10}{'ratio':>8}{'quartiles':>16}{'difference':>12}")
    agree = True
    for made in (
        road_cases(images),
        irof_cases(images, net, targets),
        deletion_cases(images, net, targets),
        insertion_cases(images, net, targets),
        ris_cases(images, net, targets),
        stochastic_cases(images),
    ):
        for case in made:
            if not case[0].startswith(options.only):
                continue
            ours, theirs, difference = measure(case, options.rounds)
            ratios = [other / mine for mine, other in zip(ours, theirs, strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
            print(
                f"{case[0]:<40}{statistics.median(ours):>9.3f}{statistics.median(theirs):>10.3f}{middle:>8.1f}"
                f"{low:>8.1f} – {high:<5.1f}{difference:>12.1e}",
                flush=True,
            )
            agree &= difference <= case[4]
    if not agree:
        print("Values differ.")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
