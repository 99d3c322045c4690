"""Does a correspondence network trained on warps find points better than the plain cosine matcher? (docs/chm-corr.md)

    HARMONY_TEST_DATA=... python -m bench.correspondence_network --out FOLDER [--seeds 1 2 3]

Birds of cub832 and their synthetic warps, features of MobileNetV2 (iNaturalist birds), 240 px. Of each seed: other
images to train, choose and test on, other warps, another beginning. Test images and test warps are never trained on,
nor is any butterfly. A seed's figures are kept in FOLDER and computed once; the table is printed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mlcore.correspondence.chm.learning import PairBatch, measured, train_network
from mlcore.correspondence.chm.network import CHMNetwork
from mlcore.correspondence.chm.pck import by_cosine, by_soft_cosine, pck
from mlcore.correspondence.chm.warps import Warps
from mlcore.correspondence.features import describe
from mlcore.metrics.intervals import mean_interval
from mlcore.training.classifiers import build
from mlcore.training.data import Frames, to_input
from mlcore.training.job import Item
from mlcore.training.keyed import draw, shuffled
from mlcore.training.pictures import Geometry

LAYER = "features.13"
SIZE = 240
POINTS = 20
TRAIN, CHOOSE, TEST, OTHERS = 240, 40, 150, 100
SHARPNESS = (20.0, 40.0, 80.0, 160.0)
COSINES = {
    "plain cosine: nearest cell": {},
    "plain cosine, cells from edge to edge": {"corners": True},
    "plain cosine at 30 × 30": {"side": 30},
    "plain cosine at 30 × 30, cells from edge to edge": {"side": 30, "corners": True},
}


class Birds:
    """Pictures of one folder, their features, and pairs with warps of them."""

    def __init__(self, model: nn.Module, files: Sequence[Path], seed: int) -> None:
        items = [Item(id=path.name, path=str(path)) for path in files]
        self.model, self.seed = model, seed
        self.names = [item.id for item in items]
        self.frames = Frames(items, Geometry(SIZE, "squash"))
        self.frames.keep()
        self.features: dict[int, Tensor] = {}

    def pictures(self, places: Sequence[int]) -> Tensor:
        return to_input(torch.stack([torch.tensor(self.frames[place].image) for place in places]), "imagenet")

    def pairs(self, places: Sequence[int], view: str) -> PairBatch:
        """Pictures with a warp each; another `view`, other warps."""
        chances = [draw(self.seed, 0, self.names[place], view) for place in places]
        warps = Warps.drawn(chances)
        points, true = warps.key_points(chances, POINTS)
        pictures = self.pictures(places)
        missing = [place for place in places if place not in self.features]
        rows = [list(places).index(place) for place in missing]
        found = describe(self.model, LAYER, torch.cat([warps.apply(pictures), pictures[rows]]))
        self.features |= dict(zip(missing, found[len(places) :], strict=True))
        source = torch.stack([self.features[place] for place in places])
        return PairBatch.whole(source, found[: len(places)], points, true)

    def batches(self, places: Sequence[int], view: str, size: int) -> Iterator[PairBatch]:
        for start in range(0, len(places), size):
            yield self.pairs(places[start : start + size], view)


def by_matchers(batches: Sequence[PairBatch], sharpness: float) -> dict[str, Tensor]:
    """PCK@0.1 of each pair by the matchers that learn nothing."""
    found = {"points left where they were": [pck(one.points, one.true) for one in batches]}
    for name, options in COSINES.items():
        found[name] = [pck(by_cosine(one.source, one.target, one.points, **options), one.true) for one in batches]
    found["cosine read as the network's scores"] = [
        pck(by_soft_cosine(one.source, one.target, one.points, sharpness=sharpness), one.true) for one in batches
    ]
    return {name: torch.cat(values) for name, values in found.items()}


def one_seed(data: Path, seed: int, given: argparse.Namespace) -> dict[str, object]:
    """Train with a seed and keep the network; PCK of every test pair by every matcher."""
    weights = data / "weights" / "mobilenet_v2_inat_bird.npz"
    model = build("mobilenet_v2", 965, weights=weights, padding="tensorflow").eval()
    files = sorted((data / "cub832" / "images").iterdir())
    files = [files[place] for place in shuffled([path.name for path in files], seed, 0)]
    birds = Birds(model, files[: TRAIN + CHOOSE + TEST], seed)
    train, choose = list(range(TRAIN)), list(range(TRAIN, TRAIN + CHOOSE))
    test = list(birds.batches(range(TRAIN + CHOOSE, TRAIN + CHOOSE + TEST), "test", 10))
    files = sorted((data / "butterflies" / "images").iterdir())
    files = [files[place] for place in shuffled([path.name for path in files], seed, 0)]
    others = list(Birds(model, files[:OTHERS], seed).batches(range(OTHERS), "test", 10))
    validation = list(birds.batches(choose, "choose", 10))
    sharpness = max(SHARPNESS, key=lambda one: float(soft(validation, one).mean()))
    torch.manual_seed(seed)
    network = CHMNetwork.for_model(model, LAYER, width=given.width).eval()
    found = {"birds": by_matchers(test, sharpness), "butterflies": by_matchers(others, sharpness)}
    for name, batches in (("birds", test), ("butterflies", others)):
        found[name]["network, untrained"] = measured(network, batches)
    began = time.monotonic()

    def epoch(number: int) -> Iterator[PairBatch]:
        order = [train[place] for place in shuffled([birds.names[place] for place in train], seed, number)]
        yield from birds.batches(order, f"epoch {number}", given.batch)

    def said(number: int, figures: dict[str, float]) -> None:
        seconds = time.monotonic() - began
        print(f"seed {seed}, epoch {number}: {figures}, {seconds:.0f} s", file=sys.stderr, flush=True)

    told = train_network(network, epoch, validation, epochs=given.epochs, learning_rate=given.rate, on_epoch=said)
    seconds = time.monotonic() - began
    network.save(given.out / f"seed-{seed}.safetensors")
    for name, batches in (("birds", test), ("butterflies", others)):
        found[name]["network, trained on warps of birds"] = measured(network, batches)
    return {
        "seed": seed, "epochs": told, "seconds": seconds, "sharpness": sharpness,
        "pck": {part: {name: values.tolist() for name, values in rows.items()} for part, rows in found.items()},
    }  # fmt: skip


def soft(batches: Sequence[PairBatch], sharpness: float) -> Tensor:
    return by_matchers(batches, sharpness)["cosine read as the network's scores"]


def table(rows: Sequence[dict]) -> str:
    """PCK@0.1 in % of every matcher and seed, and how much better the trained network is, pair by pair."""
    lines = []
    for part in ("birds", "butterflies"):
        lines += ["", f"| {part}, PCK@0.1 in % | " + " | ".join(f"seed {row['seed']}" for row in rows) + " | mean |"]
        lines += ["|---|" + "---|" * (len(rows) + 1)]
        names = list(rows[0]["pck"][part])
        for name in names:
            means = [100 * sum(row["pck"][part][name]) / len(row["pck"][part][name]) for row in rows]
            lines.append(f"| {name} | " + " | ".join(f"{one:.1f}" for one in [*means, sum(means) / len(means)]) + " |")
        for name in names[1:-1]:
            cells, gains = [], []
            for row in rows:
                pairs = zip(row["pck"][part][names[-1]], row["pck"][part][name], strict=True)
                gain = [100 * (ours - theirs) for ours, theirs in pairs]
                low, high = mean_interval(gain) or (0.0, 0.0)
                gains.append(sum(gain) / len(gain))
                cells.append(f"{gains[-1]:+.1f} ({low:+.1f} … {high:+.1f})")
            lines.append(f"| trained network − {name} | {' | '.join(cells)} | {sum(gains) / len(gains):+.1f} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--rate", type=float, default=2e-3)
    given = parser.parse_args()
    data = Path(os.environ.get("HARMONY_TEST_DATA", ""))
    if not (data / "cub832").is_dir():
        print("HARMONY_TEST_DATA must name a folder with cub832, butterflies and weights.", file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in given.seeds:
        file = given.out / f"seed-{seed}.json"
        if not file.exists():
            file.write_text(json.dumps(one_seed(data, seed, given)))
        rows.append(json.loads(file.read_text()))
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
