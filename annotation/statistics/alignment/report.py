"""All figures of an alignment analysis as one dictionary of plain values: no NaN, nothing of numpy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from annotation.statistics.alignment import (
    bootstrap,
    bradley_terry,
    majority,
    mixed,
    position,
    reliability,
    scores,
)
from annotation.statistics.alignment.gain import Gain, gain_and_preference
from annotation.statistics.alignment.gain import summary as gain_summary
from annotation.statistics.alignment.holm import holm
from annotation.statistics.alignment.rows import Rows
from annotation.statistics.alignment.words import sentences

VERSION = 1
MOST_IMAGES = 2000
ALL_CELLS = "all cells"


@dataclass(frozen=True)
class Cell:
    """What one arm compares. cell: its name in Rows.cells. original, tuned: the names of the two conditions.

    declared: whether it belonged to the study before it was published; Holm's correction is over those.
    """

    cell: str
    metric: str = ""
    method: str = ""
    classifier: str = ""
    original: str = "original"
    tuned: str = "tuned"
    declared: bool = True


def report(
    rows: Rows,
    cells: Sequence[Cell],
    gains: Mapping[str, Gain | None],
    kinds: Sequence[str],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """The figures of these answers (docs/alignment.md says what each is).

    cells: one for each of rows.cells, in the order in which they are shown. gains: by the name of the cell. kinds:
    whose answers were asked for. options: `draws` and `seed` of the bootstraps, `without`: raters who are left out in
    a second look at the alignment, under the key `without`. ValueError where `cells` are others than those of the rows.
    """
    if sorted(cell.cell for cell in cells) != sorted(rows.cells):
        raise ValueError("Cells that are described are not the cells that were answered.")
    drawing = {"draws": int(options.get("draws", bootstrap.DRAWS)), "seed": int(options.get("seed", 0))}
    parts = [rows.of_cell(cell.cell) for cell in cells]
    found = []
    for cell, part in zip(cells, parts, strict=True):
        gain = gains.get(cell.cell)
        figures = _figures(part, drawing) | {"gain": gain_summary(gain) if gain else None}
        found.append(asdict(cell) | figures)
    _correct(found)
    whole = asdict(_together(cells)) | {"p_holm": None} | _figures(rows, drawing)
    who = people(rows)
    for one, part in zip((*found, whole), (*parts, rows), strict=True):
        one["text"] = sentences(one, people(part))
    result = {
        "version": VERSION,
        "kinds": list(kinds),
        "people": who,
        "answers": len(rows),
        "images": whole["images"],
        "cells": found,
        "overall": whole,
        "gain_and_preference": gain_and_preference(rows, gains, **drawing),
        "text": whole["text"],
    }
    if options.get("without"):
        result["without"] = _without(rows, cells, [str(name) for name in options["without"]])
    return result


def people(rows: Rows) -> dict[str, int]:
    """How many raters of each kind answered."""
    answered, _ = scores.rater_counts(rows)
    return dict(sorted(Counter(rows.kinds[place] for place in answered).items()))


def _figures(rows: Rows, drawing: Mapping[str, int]) -> dict[str, Any]:
    return {
        **scores.summary(rows),
        **_images_table(rows),
        "majority": majority.summary(rows),
        "bootstrap": bootstrap.interval(rows, **drawing),
        "mixed_model": mixed.summary(rows),
        "bradley_terry": bradley_terry.summary(rows),
        "agreement": reliability.summary(rows),
        "position": position.summary(rows),
    }


def _images_table(rows: Rows) -> dict[str, Any]:
    """The table of images, or, of too many, how many were left out."""
    number = len(majority.item_counts(rows)[0])
    if number > MOST_IMAGES:
        return {"images_table": [], "images_table_omitted": number}
    return {"images_table": majority.images_table(rows), "images_table_omitted": 0}


def _together(cells: Sequence[Cell]) -> Cell:
    """What all cells have in common."""

    def common(values: Sequence[str], otherwise: str = "") -> str:
        return values[0] if len(set(values)) == 1 else otherwise

    return Cell(
        ALL_CELLS,
        common([cell.metric for cell in cells]),
        common([cell.method for cell in cells]),
        common([cell.classifier for cell in cells]),
        common([cell.original for cell in cells], "original"),
        common([cell.tuned for cell in cells], "tuned"),
        declared=False,
    )


def _correct(found: Sequence[dict[str, Any]]) -> None:
    """Write each declared cell's `p_holm`."""
    declared = [one for one in found if one["declared"]]
    for one in found:
        one["p_holm"] = None
    for one, adjusted in zip(declared, holm([one["p"] for one in declared]), strict=True):
        one["p_holm"] = adjusted


def _without(rows: Rows, cells: Sequence[Cell], raters: Sequence[str]) -> dict[str, Any]:
    """The alignment of every cell as if these raters had not answered."""
    rest = rows.without(raters)
    kept = ("people", "images", "answers", "counts", "shares", "alignment", "p")

    def part(name: str, some: Rows) -> dict[str, Any]:
        found = scores.summary(some)
        return {"cell": name, **{key: found[key] for key in kept}}

    found = [part(cell.cell, rest.of_cell(cell.cell)) | {"declared": cell.declared} for cell in cells]
    _correct(found)
    return {
        "raters": sorted(set(raters) & set(rows.raters)),
        "unknown": sorted(set(raters) - set(rows.raters)),
        "people": people(rest),
        "cells": found,
        "overall": part(ALL_CELLS, rest),
    }
