"""Classifying by comparison from kept features beside the published code's way, query by query.

    HARMONY_TEST_DATA=… python -m bench.correspondence [--rounds 10] [--only emd] [--threads 1]

Pictures: CUB-200-2011's 832 of the test data, squashed to 128 px; classifier: SqueezeNet 1.1 for ImageNet, whose last
cells are then 512 × 7 × 7, as a ResNet-18's of 224 px. Each picture is a query to all the others. One process; in each
round each case is timed for both ways, ours first in every second round, and values are compared; the script fails
where they differ. Times are CPU time of the process for one query, medians over the rounds; wall-clock times stand in
brackets, and are longer where the machine has other work. "Released": `bench.correspondence_released`.

search           ours: 50 neighbours by blocked products over the kept pooled features, 64 queries at once, and the vote
                 of 20. Released: the query's picture read and embedded, one cosine after the other in numpy, all
                 sorted, the vote. (The published code multiplies the gallery with all queries at once, sorts each row.)
emd, emd preset  the 50 neighbours given. Ours: their cells and the query's read from the gallery's files, EMD-Corr,
                 sorted, the vote, 16 queries at once. Released: the 51 pictures read, squashed and embedded in one
                 batch, then the released function, the vote.
emd function     the function alone: cells of the query and its 50 candidates stand in memory, scores come out; ours for
                 16 queries at once, "one": for one.
chm              as emd, with CHM-Corr (preset) under an untrained network; released: one pair after the other.
growth           what a query costs as the gallery grows, made of these features with noise.
large            100,000 × 2,048: `bench.correspondence_knn`, in a process of its own.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from bench import correspondence_released as released
from mlcore.correspondence import store
from mlcore.correspondence.base import Described, Matcher
from mlcore.correspondence.chm.network import CHMNetwork
from mlcore.correspondence.chm_corr import CHMCorr, key_points
from mlcore.correspondence.emd_corr import EMDCorr
from mlcore.correspondence.features import describe, last_spatial_layer
from mlcore.correspondence.search import index_of
from mlcore.correspondence.vote import vote
from mlcore.metrics.inputs import IMAGENET
from mlcore.training.classifiers import build

PIXELS = 128
QUERIES = 16  # at once
CANDIDATES = 50
HALF = 2e-3  # what half precision leaves of a score: the gallery keeps it, the released way never stores features
Value = TypeVar("Value")
Scored = tuple[Tensor, Tensor]  # scores (q, K) or (q, 0), predictions (q,)


@dataclass
class World:
    """Pictures, what looks at them, and their kept features."""

    paths: list[Path]
    labels: Tensor
    model: nn.Module
    layer: str
    gallery: store.Gallery
    network: CHMNetwork
    rows: Tensor  # (n, 50) neighbours of each picture

    def embed(self, pictures: Sequence[int]) -> Tensor:
        """Cells (m, C, h, w) of pictures read from their files."""
        return embed(self.model, self.layer, [self.paths[picture] for picture in pictures])

    def kept(self, query: int | Sequence[int]) -> tuple[Described, Described]:
        """Queries and their candidates from the gallery's files."""
        queries = [query] if isinstance(query, int) else list(query)
        near = self.rows[queries]
        mine = self.gallery.spatial(queries)
        theirs = self.gallery.spatial(near.flatten()).unflatten(0, near.shape)
        return Described(mine, mine), Described(theirs, theirs)


@dataclass
class Case:
    """Two ways to the same scores and predictions. queries: for each way, how many at once."""

    name: str
    ours: Callable[[list[int]], Scored]
    theirs: Callable[[int], Scored]
    queries: int
    tolerance: float


@dataclass
class Taken:
    """CPU and wall-clock seconds for one query."""

    cpu: float
    wall: float


def embed(model: nn.Module, layer: str, paths: Sequence[Path]) -> Tensor:
    pixels = []
    for path in paths:
        with Image.open(path) as opened:
            pixels.append(np.asarray(opened.convert("RGB").resize((PIXELS, PIXELS)), dtype=np.float32) / 255)
    return describe(model, layer, IMAGENET.from_unit(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)))


def world(data: Path, folder: Path) -> World:
    with (data / "cub832" / "labels.csv").open(newline="") as handle:
        listed = list(csv.DictReader(handle))
    paths = [data / "cub832" / "images" / row["file"] for row in listed]
    labels = torch.tensor([int(row["label"]) for row in listed])
    model = build("squeezenet1_1", 1000, weights=data / "weights" / "squeezenet1_1_imagenet.npz").eval()
    layer = last_spatial_layer(model)
    items = [(path.name, path.name) for path in paths]
    gallery = store.update(folder, {"layer": layer}, items, lambda at: embed(model, layer, [paths[n] for n in at]))
    torch.manual_seed(0)
    network = CHMNetwork.for_model(model).eval()
    pooled = gallery.pooled()
    rows, _ = index_of("exact", pooled).search(pooled, CANDIDATES, exclude=torch.arange(len(pooled)))
    return World(paths, labels, model, layer, gallery, network, rows)


def decide(scores: Tensor, labels: Tensor) -> Tensor:
    order = scores.sort(dim=1, descending=True, stable=True).indices
    return vote(labels.gather(1, order), ties="lowest")[0]


def cases(made: World) -> list[Case]:
    labels = made.labels.numpy()
    pooled = made.gallery.pooled()
    index = index_of("exact", made.gallery.pooled_rows)
    rows_of = [row.numpy() for row in pooled]

    def ours_by(matcher: Matcher) -> Callable[[list[int]], Scored]:
        def ours(queries: list[int]) -> Scored:
            mine, theirs = made.kept(queries)
            scores = matcher.compare(mine, theirs).scores
            return scores, decide(scores, made.labels[made.rows[queries]])

        return ours

    def theirs_by(function: Callable[[Tensor], Tensor]) -> Callable[[int], Scored]:
        def theirs(query: int) -> Scored:
            near = made.rows[query]
            scores = function(made.embed([query, *near.tolist()]))
            return scores[None], torch.tensor([released.vote(labels[near.numpy()], by_score(scores))])

        return theirs

    def searched(queries: list[int]) -> Scored:
        rows, _ = index.search(pooled[queries], CANDIDATES, exclude=torch.tensor(queries))
        return torch.zeros(len(queries), 0), vote(made.labels[rows], ties="lowest")[0]

    def searched_one_by_one(query: int) -> Scored:
        order = released.neighbours(made.embed([query])[0].mean(dim=(1, 2)).numpy(), rows_of)
        return torch.zeros(1, 0), torch.tensor([released.vote(labels, order[order != query])])

    def chm(cells: Tensor) -> Tensor:
        with torch.no_grad():
            return released.chm_scores(cells, cells, made.network, key_points())

    in_memory = {query: made.kept(query) for query in range(QUERIES)}

    def function_alone(query: int) -> Scored:
        mine, theirs = in_memory[query]
        return released.emd_scores(torch.cat([mine.cells, theirs.cells[0]]))[None], torch.zeros(0)

    def matcher_alone(matcher: Matcher) -> Callable[[list[int]], Scored]:
        together = Described(torch.cat([mine.cells for mine, _ in in_memory.values()]))
        candidates = Described(torch.cat([theirs.cells for _, theirs in in_memory.values()]))

        def alone(queries: list[int]) -> Scored:
            here = slice(queries[0], queries[-1] + 1)
            found = matcher.compare(Described(together.cells[here]), Described(candidates.cells[here]))
            return found.scores, torch.zeros(0)

        return alone

    default, preset = EMDCorr(), EMDCorr(preset="correspondence")
    exact = 1e-5  # of the same features
    loose = 1e-2  # the default goes on where the preset stops
    return [
        Case("search and vote", searched, searched_one_by_one, 64, 0),
        Case("emd", ours_by(default), theirs_by(released.emd_scores), QUERIES, loose),
        Case("emd preset", ours_by(preset), theirs_by(released.emd_scores), QUERIES, HALF),
        Case("emd function", matcher_alone(default), function_alone, QUERIES, loose),
        Case("emd function, one", matcher_alone(default), function_alone, 1, loose),
        Case("emd function, preset", matcher_alone(preset), function_alone, QUERIES, exact),
        Case("chm", ours_by(CHMCorr(made.network, preset="correspondence")), theirs_by(chm), 1, HALF),
    ]


def by_score(scores: Tensor) -> np.typing.NDArray[np.int64]:
    return torch.argsort(scores, descending=True, stable=True).numpy()


def timed(work: Callable[[], Value], queries: int) -> tuple[Value, Taken]:
    cpu, wall = time.process_time(), time.perf_counter()
    value = work()
    return value, Taken((time.process_time() - cpu) / queries, (time.perf_counter() - wall) / queries)


def measure(case: Case, rounds: int) -> tuple[list[Taken], list[Taken], float, float]:
    """Times of both ways, the largest difference of scores and the share of equal predictions."""
    ours, theirs = [], []
    apart, same = 0.0, []
    for turn in range(rounds + 1):  # the first is for warming up
        start = turn % QUERIES if case.queries == 1 else 0
        queries = list(range(start, start + case.queries))
        one = queries[turn % len(queries)]
        if turn % 2:
            other, second = timed(partial(case.theirs, one), 1)
            mine, first = timed(partial(case.ours, queries), len(queries))
        else:
            mine, first = timed(partial(case.ours, queries), len(queries))
            other, second = timed(partial(case.theirs, one), 1)
        at = queries.index(one)
        if other[0].numel():
            apart = max(apart, float((mine[0][at] - other[0][0]).abs().max()))
        if other[1].numel():
            same.append(float(mine[1][at] == other[1][0]))
        if turn:
            ours.append(first)
            theirs.append(second)
    return ours, theirs, apart, statistics.mean(same) if same else 1.0


def line(case: Case, rounds: int) -> bool:
    """Print a case's line; True where both ways agree."""
    ours, theirs, apart, same = measure(case, rounds)
    ratios = [other.cpu / mine.cpu for mine, other in zip(ours, theirs, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    cpu = [statistics.median(each.cpu for each in way) * 1e3 for way in (ours, theirs)]
    wall = [statistics.median(each.wall for each in way) * 1e3 for way in (ours, theirs)]
    print(
        f"{case.name:<22}{cpu[0]:>9.2f} ({wall[0]:>7.2f}){cpu[1]:>10.1f} ({wall[1]:>8.1f}){1e3 / cpu[0]:>9.1f}"
        f"{1e3 / cpu[1]:>8.2f}{middle:>8.1f} ({low:.1f} – {high:.1f}){apart:>11.1e}{same:>7.0%}",
        flush=True,
    )
    return apart <= case.tolerance and same >= 0.9


def growth(made: World, folder: Path, base: int, rounds: int) -> None:
    """What a query costs in galleries of 1, 4 and 16 times as many pictures, on the disk."""
    generator = torch.Generator().manual_seed(0)
    kept = made.gallery.spatial(range(len(made.gallery)))
    sizes = [base, 4 * base, 16 * base]

    def noisy(places: Sequence[int]) -> Tensor:
        cells = kept[torch.tensor(places) % len(kept)]
        return (cells * (0.8 + 0.4 * torch.rand(cells.shape, generator=generator))).relu()

    galleries = []
    for size in sizes:
        names = [str(number) for number in range(size)]
        galleries.append(store.update(folder / str(size), {"size": size}, [(name, name) for name in names], noisy))
    queries = list(range(QUERIES))
    pooled, cells = made.gallery.pooled(queries), made.gallery.spatial(queries)
    matcher = EMDCorr()

    def ranked(gallery: store.Gallery, rows: Tensor) -> Tensor:
        theirs = gallery.spatial(rows.flatten()).unflatten(0, rows.shape)
        return matcher.compare(Described(cells), Described(theirs)).scores

    taken: dict[tuple[int, str], list[float]] = {}
    for _ in range(rounds + 1):
        for size, gallery in zip(sizes, galleries, strict=True):
            index = index_of("exact", gallery.pooled_rows)
            (rows, _), search = timed(partial(index.search, pooled, CANDIDATES), len(queries))
            _, ranking = timed(partial(ranked, gallery, rows), len(queries))
            taken.setdefault((size, "search"), []).append(search.cpu)
            taken.setdefault((size, "rank"), []).append(ranking.cpu)
    print(f"\n{'gallery':>10}{'on the disk':>14}{'search ms':>12}{'emd ms':>10}   of a query, {QUERIES} at once, CPU")
    for size, gallery in zip(sizes, galleries, strict=True):
        found, ranked_in = (statistics.median(taken[size, what][1:]) * 1e3 for what in ("search", "rank"))
        print(f"{size:>10,}{gallery.nbytes / 2**20:>10.0f} MiB{found:>12.2f}{ranked_in:>10.2f}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--chm-rounds", type=int, default=2, help="a query takes half a minute")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--base", type=int, default=500, help="pictures of the smallest gallery that grows")
    parser.add_argument("--images", type=int, default=100_000, help="of the large search")
    parser.add_argument("--only", default="", help="cases whose name begins so, or growth, or large")
    options = parser.parse_args(arguments)
    data = Path(os.environ.get("HARMONY_TEST_DATA", ""))
    if not (data / "cub832" / "labels.csv").is_file():
        print("HARMONY_TEST_DATA does not name a folder with the test data (cub832 and trained weights).")
        return 1
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        made = world(data, Path(folder) / "cub")
        print(
            f"load {os.getloadavg()[0]:.1f}, {options.threads} threads, {options.rounds} rounds, one query, ms of CPU"
        )
        print(
            f"{'case':<22}{'ours':>9} {'(wall)':>9}{'released':>10} {'(wall)':>10}{'ours/s':>9}{'rel./s':>8}"
            f"{'ratio':>8}{'(quartiles)':>16}{'apart':>9}{'same':>7}"
        )
        agree = True
        for case in cases(made):
            if case.name.startswith(options.only):
                agree &= line(case, options.chm_rounds if case.name == "chm" else options.rounds)
        if "growth".startswith(options.only):
            growth(made, Path(folder), options.base, options.rounds)
    if "large".startswith(options.only):
        print(flush=True)
        large = [sys.executable, "-m", "bench.correspondence_knn", "--threads", str(options.threads)]
        large += ["--images", str(options.images)]
        agree &= subprocess.run(large, check=False).returncode == 0
    print(f"load at the end {os.getloadavg()[0]:.1f}")
    if not agree:
        print("Values differ.")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
