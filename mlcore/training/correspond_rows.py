"""Candidates that were compared, as rows: whose picture, how alike, and which parts match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mlcore.correspondence.base import Compared
from mlcore.training.job import Item
from mlcore.training.pictures import Geometry, size_of

MOST_PATCHES = 9
DIGITS = 6

Corners = list[float]


class Places:
    """Cells of the last layer as corners on the whole picture, in shares of its sides, also where the classifier saw a
    part of it only."""

    def __init__(self, geometry: Geometry, grid: tuple[int, int]) -> None:
        self.geometry, self.grid = geometry, grid
        self._windows: dict[str, tuple[float, float, float, float]] = {}

    def corners(self, item: Item, cell: int) -> Corners:
        """[x0, y0, x1, y1] of a cell, row · width + column."""
        height, width = self.grid
        row, column = divmod(cell, width)
        left, top, right, bottom = self._window(item)
        across, down = (right - left) / width, (bottom - top) / height
        corners = (left + column * across, top + row * down, left + (column + 1) * across, top + (row + 1) * down)
        return [round(min(max(one, 0.0), 1.0), DIGITS) for one in corners]

    def _window(self, item: Item) -> tuple[float, float, float, float]:
        if self.geometry.resize == "squash":  # the whole picture, whatever its size
            return 0.0, 0.0, 1.0, 1.0
        if item.id not in self._windows:
            width, height = size_of(item.path)
            left, top, right, bottom = self.geometry.window((width, height))
            self._windows[item.id] = (left / width, top / height, right / width, bottom / height)
        return self._windows[item.id]


def neighbour_rows(
    query: Item,
    gallery: Sequence[Item],
    rows: Tensor,
    scores: Tensor,
    order: Tensor,
    labels: Tensor,
    compared: Compared | None,
    line: int,
    most: int,
    places: Places,
) -> list[dict[str, Any]]:
    """The first `most` candidates of one query as `mlcore.exchange.correspondences` says, greater scores first.

    rows, scores, order: (K,), places in the gallery (−1: none), how alike, and the ranking. compared: what a matcher
    found, the query at `line` of it; None: neighbours without patches.
    """
    found = []
    for candidate in order[:most].tolist():
        place = int(rows[candidate])
        if place < 0:
            break
        other = gallery[place]
        one: dict[str, Any] = {
            "image": other.id, "label": int(labels[place]), "score": round(float(scores[candidate]), DIGITS),
        }  # fmt: skip
        if compared is not None:
            one["patches"] = _patches(query, other, compared, line, candidate, places)
        found.append(one)
    return found


def _patches(
    query: Item, other: Item, compared: Compared, line: int, candidate: int, places: Places
) -> list[dict[str, Any]]:
    pairs = compared.pairs[line, candidate].tolist()
    worth = compared.pair_scores[line, candidate].tolist()
    return [
        {
            "query": places.corners(query, mine),
            "neighbour": places.corners(other, theirs),
            "score": round(float(score), DIGITS),
        }
        for (mine, theirs), score in list(zip(pairs, worth, strict=True))[:MOST_PATCHES]
        if mine >= 0 and theirs >= 0
    ]
