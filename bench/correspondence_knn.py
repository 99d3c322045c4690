"""Exact and approximate nearest neighbours in a large gallery, read from the files: time, memory, recall.

    python -m bench.correspondence_knn [--images 100000] [--channels 2048] [--queries 256] [--threads 1] [--growth]

Features are made up and written as a gallery of one cell an image, so that pooled features are mapped from the disk as
those of pictures are: images of a class lie together, a thousand classes, values rectified. Queries are images of the
gallery with a little noise; 50 neighbours each.

exact     blocks of rows × all queries at once, from the memory map; "one by one": the same, a query a call.
loop      numpy, a query at a time: the dot product with every row (in float32, which stands in memory whole), all of it
          sorted. Rows and cosines of the two are compared, and the script fails where they differ.
flat, …   faiss, whose index stands in memory; how long it takes to make, and its recall against exact.

Each way is timed in a process of its own, whose private memory (what is mapped from a file is not it) is read every
5 ms: the peak is what it had more than before the search was made. Times are CPU time of the process, the least of
--rounds, after a warm-up on the first rows; wall-clock times stand in brackets, and are longer where the machine has
other work. "one by one" and "loop" are asked the first 32 queries only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mlcore.correspondence.search import index_of, recall
from mlcore.correspondence.store import Gallery, update

FEW, SLOW = 32, ("one by one", "loop")
WAYS = ("exact", "one by one", "loop", "flat", "ivf", "hnsw")
CLASSES, NEIGHBOURS = 1000, 50
NOISE = 0.3
SAME = 1e-5


def features(rows: Sequence[int], channels: int) -> Tensor:
    """(m, channels): each row from its own number, whatever it is asked with."""
    centres = torch.rand(CLASSES, channels, generator=torch.Generator().manual_seed(0))
    made = torch.empty(len(rows), channels)
    for place, row in enumerate(rows):
        made[place].normal_(generator=torch.Generator().manual_seed(row + 1))
    return (centres[torch.tensor(rows) % CLASSES] + NOISE * made).relu()


def write(folder: Path, images: int, channels: int) -> None:
    """A gallery of 1 × 1 cells."""
    update(
        folder,
        {"made up": channels},
        [(str(row), str(row)) for row in range(images)],
        lambda rows: features(rows, channels)[:, :, None, None],
        batch=4096,
    )


def queries_of(images: int, channels: int, count: int) -> tuple[Tensor, Tensor]:
    """Queries (count, channels) and the row of each."""
    rows = torch.linspace(0, images - 1, count).round().long()
    noise = torch.randn(count, channels, generator=torch.Generator().manual_seed(1))
    return features(rows.tolist(), channels) + 0.1 * noise, rows


def loop(rows: np.ndarray, queries: Tensor) -> tuple[Tensor, Tensor]:
    """One query after the other in numpy; `rows` have length 1."""
    found = np.empty((len(queries), NEIGHBOURS), dtype=np.int64)
    scores = np.empty((len(queries), NEIGHBOURS), dtype=np.float32)
    for place, query in enumerate(queries.numpy()):
        cosines = rows @ (query / np.linalg.norm(query))
        found[place] = np.argsort(-cosines, kind="stable")[:NEIGHBOURS]
        scores[place] = cosines[found[place]]
    return torch.from_numpy(found), torch.from_numpy(scores)


def private_bytes() -> int:
    """Memory of this process that is no file's: all that it allocated and touched."""
    with open("/proc/self/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


@contextmanager
def peak() -> Iterator[Callable[[], int]]:
    """Asked inside the block: the most private bytes so far beyond those at its start."""
    before, ends = private_bytes(), threading.Event()
    most = [before]

    def watch() -> None:
        while not ends.wait(0.005):
            most[0] = max(most[0], private_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: max(most[0], private_bytes()) - before
    finally:
        ends.set()
        watcher.join()


def made(way: str, gallery: Gallery) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The search, ready to be asked."""
    if way == "loop":
        rows = gallery.pooled().numpy()
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return lambda queries: loop(rows, queries)
    index = index_of("exact" if way == "one by one" else way, gallery.pooled_rows)
    if way == "one by one":
        return lambda queries: together([index.search(query[None], NEIGHBOURS) for query in queries])
    return lambda queries: index.search(queries, NEIGHBOURS)


def together(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return torch.cat([rows for rows, _ in parts]), torch.cat([scores for _, scores in parts])


def alone(arguments: argparse.Namespace) -> None:
    """One way, in this process; what it found is written beside the gallery."""
    torch.set_num_threads(arguments.threads)
    folder = Path(arguments.folder)
    gallery = Gallery.open(folder)
    gallery.pooled(range(0, len(gallery), 1000))  # looked through for damage, which is done once
    queries, _ = queries_of(len(gallery), gallery.shape[0], arguments.queries)
    if arguments.way in SLOW:
        queries = queries[:FEW]
    index_of("exact", gallery.pooled(range(min(len(gallery), 512)))).search(queries[:2], NEIGHBOURS)
    with peak() as most:
        started = time.process_time()
        search = made(arguments.way, gallery)
        ready = time.process_time() - started
        seconds, wall = [], []
        for _ in range(arguments.rounds):
            started, clock = time.process_time(), time.perf_counter()
            rows, scores = search(queries)
            seconds.append(time.process_time() - started)
            wall.append(time.perf_counter() - clock)
        used = most()
    torch.save((rows, scores), folder / f"{arguments.way}.found")
    each = {"each": min(seconds) / len(queries), "wall": min(wall) / len(queries)}
    print(json.dumps({"ready": ready, "bytes": used} | each))


def measure(way: str, folder: Path, arguments: argparse.Namespace, queries: int) -> dict[str, float]:
    """`alone` in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.correspondence_knn", "--way", way, "--folder", str(folder)]
    command += ["--queries", str(queries), "--threads", str(arguments.threads), "--rounds", str(arguments.rounds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def found(way: str, folder: Path) -> tuple[Tensor, Tensor]:
    rows, scores = torch.load(folder / f"{way}.found", weights_only=True)
    return rows, scores


def table(folder: Path, arguments: argparse.Namespace) -> bool:
    """A line a way; whether exact and loop say the same."""
    print(f"{'':<12}{'ready':>10}{'a query':>24}{'queries/s':>12}{'peak memory':>14}{'recall':>10}")
    for way in arguments.ways:
        took = measure(way, folder, arguments, arguments.queries)
        rows = found(way, folder)[0]
        share = recall(rows, found("exact", folder)[0][: len(rows)])
        print(
            f"{way:<12}{took['ready']:>8.1f} s{in_ms(took):>24}{1 / took['each']:>12.0f}"
            f"{took['bytes'] / 1e6:>11.0f} MB{100 * share:>8.2f} %",
            flush=True,
        )
    return all(same(way, folder) for way in arguments.ways if way in ("one by one", "loop", "flat"))


def in_ms(took: dict[str, float]) -> str:
    """CPU time of a query, and wall-clock."""
    return f"{1000 * took['each']:.2f} ms ({1000 * took['wall']:.0f})"


def same(way: str, folder: Path) -> bool:
    """The same cosines, and the same rows wherever no other is as near."""
    others, wanted = found(way, folder)
    rows, scores = (each[: len(others)] for each in found("exact", folder))
    difference = float((scores - wanted).abs().max())
    moved = float((rows != others).float().mean())
    print(f"exact beside {way}: cosines differ by at most {difference:.1e}, {100 * moved:.3f} % of the rows")
    return difference <= SAME and moved < 0.01


def growth(folder: Path, arguments: argparse.Namespace) -> None:
    """A sixteenth, a quarter and the whole."""
    print(f"\n{'images':<12}{'a query':>24}{'× the line above':>18}{'peak memory':>14}")
    before = 0.0
    for share in (16, 4, 1):
        images = arguments.images // share
        part = folder if share == 1 else folder.with_name(f"{folder.name}-{share}")
        if share != 1:
            write(part, images, arguments.channels)
        took = measure("exact", part, arguments, arguments.queries)
        times = f"{took['each'] / before:.2f}" if before else "–"
        print(f"{images:<12}{in_ms(took):>24}{times:>18}{took['bytes'] / 1e6:>11.0f} MB", flush=True)
        before = took["each"]


def main() -> int:
    """The exit status: 1 where two complete searches differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--channels", type=int, default=2048)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ways", type=lambda text: text.split(","), default=list(WAYS), help=", ".join(WAYS))
    parser.add_argument("--growth", action="store_true", help="also a sixteenth and a quarter of the images")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        alone(arguments)
        return 0
    with tempfile.TemporaryDirectory() as made_here:
        folder = Path(made_here) / "gallery"
        write(folder, arguments.images, arguments.channels)
        size = sum(path.stat().st_size for path in folder.glob("*.block")) / 2e6
        print(
            f"{arguments.images} × {arguments.channels} in half precision: {size:.0f} MB mapped, "
            f"{4e-6 * arguments.images * arguments.channels:.0f} MB in float32; {arguments.queries} queries, "
            f"{NEIGHBOURS} neighbours, {arguments.threads} threads"
        )
        agrees = table(folder, arguments)
        if arguments.growth:
            growth(folder, arguments)
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
