"""Krippendorff's α of many answers beside the krippendorff package, values compared first.

    python -m bench.alpha [--answers 1000000] [--people 1000] [--each 10] [--rounds 3]

Needs the krippendorff package (the environment of `make oracles` has it). Ours reads the rows as the analysis holds
them: who, about what, which choice. Theirs reads a matrix raters × items, made before the clock starts, and, its other
door, counts of values an item, for which ours' counting stands outside its clock. Sides take turns; CPU time of the
thread, medians. The script fails where values differ, where ours takes more than 3 s, or where the package's ordinary
door is not 10 times slower.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from annotation.statistics.alignment import reliability
from annotation.statistics.alignment.majority import item_counts
from annotation.statistics.alignment.rows import Rows

SECONDS, TIMES, TOLERANCE = 3.0, 10.0, 1e-10
LEVELS = ("nominal", "ordinal")
OURS, MATRIX, COUNTS = "ours, from answers", "krippendorff, raters × items", "krippendorff, counts"


def made_up(answers: int, people: int, each: int) -> Rows:
    """`each` different people about every item, with something in common about an item; in no order."""
    random = np.random.default_rng(0)
    items = answers // each
    image = np.repeat(np.arange(items, dtype=np.int32), each)
    rater = (np.repeat(random.integers(0, people, items), each) + np.tile(np.arange(each), items)) % people
    value = np.repeat(random.normal(0, 0.8, items), each) + random.normal(size=len(image))
    order = random.permutation(len(image))
    return Rows(
        rater=rater.astype(np.int32)[order],
        image=image[order],
        cell=np.zeros(len(image), dtype=np.int32),
        choice=np.clip(np.round(value), -1, 1).astype(np.int8)[order],
        left=np.full(len(image), -1, dtype=np.int8),
        milliseconds=np.full(len(image), -1, dtype=np.int32),
        raters=tuple(f"p{place}" for place in range(people)),
        kinds=("simulated",) * people,
        images=tuple(f"i{place}" for place in range(items)),
        cells=("",),
    )


def ours(rows: Rows) -> list[float | None]:
    pairs = reliability.coincidences(item_counts(rows)[1])
    return [reliability.alpha_of(pairs, level) for level in LEVELS]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--answers", type=int, default=1_000_000)
    arguments.add_argument("--people", type=int, default=1000)
    arguments.add_argument("--each", type=int, default=10, help="answers an item")
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()
    import krippendorff

    rows = made_up(given.answers, given.people, given.each)
    said = np.full((given.people, len(rows.images)), np.nan)
    said[rows.rater, rows.image] = rows.choice
    counts = item_counts(rows)[1]

    def theirs(**values: Any) -> list[float]:
        return [krippendorff.alpha(**values, value_domain=[-1, 0, 1], level_of_measurement=level) for level in LEVELS]

    sides: dict[str, Callable[[], list[Any]]] = {
        OURS: lambda: ours(rows),
        MATRIX: lambda: theirs(reliability_data=said),
        COUNTS: lambda: theirs(value_counts=counts),
    }
    values = {name: work() for name, work in sides.items()}
    worst = max(abs(one - other) for found in values.values() for one, other in zip(values[OURS], found, strict=True))
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(given.rounds):
        for name, work in sides.items():
            started = time.thread_time()
            work()
            times[name].append(time.thread_time() - started)
    print(f"{len(rows)} answers of {given.people} people about {len(rows.images)} items; nominal and ordinal α")
    print(f"values differ by {worst:.1e} at most\n")
    print(f"{'':<30} {'s':>8} {'÷ ours':>8}")
    for name, kept in times.items():
        ratio = statistics.median(one / other for one, other in zip(kept, times[OURS], strict=True))
        print(f"{name:<30} {statistics.median(kept):>8.3f} {ratio:>8.1f}")
    own, slower = (statistics.median(times[name]) for name in (OURS, MATRIX))
    return 0 if worst <= TOLERANCE and own <= SECONDS and slower >= TIMES * own else 1


if __name__ == "__main__":
    sys.exit(main())
