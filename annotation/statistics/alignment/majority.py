"""What most people said of each pair of maps: descriptive, for a pair is no sample of people (definitions §8)."""

from typing import Any

import numpy as np

from annotation.statistics.alignment.binomial import share
from annotation.statistics.alignment.rows import Rows, by_choice
from annotation.statistics.alignment.scores import NAMES, counts_of

TIED = "tied"


def item_counts(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """(items,) the place in `rows` of one answer of each pair of maps, and (items, 3) its counts."""
    items = rows.items
    number = int(items.max()) + 1 if len(items) else 0
    place = np.zeros(number, dtype=np.int64)
    place[items] = np.arange(len(items))
    return place, by_choice(items, rows.choice, number)


def majorities(counts: np.ndarray) -> list[str]:
    """(items, 3) → original, neither or tuned where that one was said most often, else tied."""
    highest = counts.max(axis=1, initial=0)
    alone = (counts == highest[:, None]).sum(axis=1) == 1
    return [NAMES[place] if only else TIED for place, only in zip(counts.argmax(axis=1), alone, strict=True)]


def summary(rows: Rows) -> dict[str, Any]:
    """How many pairs' majority is which. `share_tuned`, Wilson's interval and the exact test of one half: of the pairs
    whose majority is tuned or original."""
    found = majorities(item_counts(rows)[1])
    numbers = {name: found.count(name) for name in ("tuned", "original", "neither", TIED)}
    decided = share(numbers["tuned"], numbers["tuned"] + numbers["original"])
    return numbers | {"share_tuned": decided.pop("share"), **decided}


def images_table(rows: Rows) -> list[dict[str, Any]]:
    """One row a pair of maps, by cell and name."""
    places, counts = item_counts(rows)
    table = [
        {"cell": rows.cells[rows.cell[place]], "image": rows.images[rows.image[place]], **counts_of(own), "majority": m}
        for place, own, m in zip(places, counts, majorities(counts), strict=True)
    ]
    return sorted(table, key=lambda one: (rows.cells.index(str(one["cell"])), str(one["image"])))
