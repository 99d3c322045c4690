"""Nearest neighbours by cosine on pooled features (definitions §6): exact, or behind the same interface by faiss.

    index = index_of("exact", gallery.pooled_rows)
    rows, scores = index.search(queries, 50, exclude=own)

What both share stands in `mlcore.correspondence.index`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mlcore.correspondence.faiss_search import FlatIndex, GraphIndex, InvertedIndex
from mlcore.correspondence.index import NOBODY, Index, PooledSource, cosines, unit

__all__ = ["KINDS", "NOBODY", "ExactIndex", "Index", "PooledSource", "cosines", "index_of", "recall", "unit"]

KINDS = ("exact", "flat", "ivf", "hnsw")
BLOCK_BYTES = 16 << 20  # of gallery rows that stand in memory in float32 at once
TILE = 256  # queries that meet such a block at once


class ExactIndex(Index):
    """Every row is looked at: blocks of rows × tiles of queries, with a running best; memory does not grow with n."""

    def __init__(self, pooled: PooledSource, *, device: torch.device | str = "cpu") -> None:
        super().__init__(pooled)
        self.device = torch.device(device)
        self._rows = max(min(BLOCK_BYTES // (4 * self.channels), self.count), 1)
        self._inverse: dict[int, Tensor] = {}  # one over the lengths of a block's rows, by its first row

    def _candidates(self, queries: Tensor, count: int, exclude: Tensor) -> Tensor:
        units = unit(queries).to(self.device)
        out = exclude.to(self.device)
        best = torch.full((len(queries), count), -torch.inf, device=self.device)
        rows = torch.full((len(queries), count), NOBODY, device=self.device)
        for start in range(0, self.count, self._rows):
            block = self.pooled[start : start + self._rows].to(self.device).float()
            if start not in self._inverse:
                lengths = block.norm(dim=1)
                self._inverse[start] = torch.where(lengths > 0, 1 / lengths, 0)
            for first in range(0, len(queries), TILE):
                here = slice(first, first + TILE)
                scores = (units[here] @ block.T).mul_(self._inverse[start])
                own = out[here] - start
                asked = ((own >= 0) & (own < len(block))).nonzero().squeeze(1)
                scores[asked, own[asked]] = -torch.inf
                values, places = _top(scores, min(count, len(block)))
                # Lower rows stand before, so that a stable order leaves them there.
                values, order = torch.cat([best[here], values], dim=1).sort(dim=1, descending=True, stable=True)
                places = torch.cat([rows[here], places + start], dim=1)
                best[here], rows[here] = values[:, :count], places.gather(1, order[:, :count])
        return rows.cpu()


def index_of(kind: str, pooled: PooledSource, **options: Any) -> Index:
    """An index of one of `KINDS` over a gallery's pooled rows; options are those of its class.

    Raises ValueError with a sentence for another kind, for options that it does not have, and where faiss is asked for
    and not installed.
    """
    made: dict[str, type[Index]] = {
        "exact": ExactIndex,
        "flat": FlatIndex,
        "ivf": InvertedIndex,
        "hnsw": GraphIndex,
    }
    if kind not in made:
        raise ValueError(f"A search is one of {', '.join(KINDS)}, not “{kind}”.")
    try:
        return made[kind](pooled, **options)
    except TypeError as error:
        raise ValueError(f"The search “{kind}” refuses its options: {error}") from error


def recall(found_rows: Tensor, exact_rows: Tensor) -> float:
    """Share of the exact neighbours (q, k) that are among those found (q, any number); −1 is nobody.

    Raises ValueError where there are no exact neighbours, or not as many queries.
    """
    if len(found_rows) != len(exact_rows):
        raise ValueError(f"Found rows are of {len(found_rows)} queries, the exact ones of {len(exact_rows)}.")
    there = exact_rows != NOBODY
    if not there.any():
        raise ValueError("There are no exact neighbours to be found.")
    hits = (exact_rows.unsqueeze(2) == found_rows.unsqueeze(1)).any(dim=2) & there
    return float(hits.sum() / there.sum())


def _top(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The greatest `count` of each row and their places, of equal ones the lower place first (`topk` takes any)."""
    values, places = scores.topk(count, dim=1)
    last = values[:, -1:]
    cut = (scores == last).sum(dim=1) > (values == last).sum(dim=1)
    if cut.any():
        places[cut] = scores[cut].sort(dim=1, descending=True, stable=True).indices[:, :count]
    places = places.sort(dim=1).values
    values, order = scores.gather(1, places).sort(dim=1, descending=True, stable=True)
    return values, places.gather(1, order)
