"""What every search shares: what it is asked, and how what it found is scored and ranked.

Whatever finds the candidates, their scores are computed by `cosines`, each pair by itself and in float64: a query has
the same answer alone and among others, and equal pictures have equal scores. Of equal scores the lower row is first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import torch
from torch import Tensor

NOBODY = -1  # where there are fewer candidates than were asked for
SPARE = 16  # candidates beyond those asked for, so that rounding decides none
_PAIR_BYTES = 8 << 20


class PooledSource(Protocol):
    """Rows (n, C) in any precision, of which a part can be had: a tensor, or `Gallery.pooled_rows`."""

    @property
    def shape(self) -> Any: ...

    def __getitem__(self, rows: Any) -> Tensor: ...


class Index(ABC):
    """Finds the rows of a gallery that are most alike."""

    def __init__(self, pooled: PooledSource) -> None:
        self.pooled = pooled
        self.count, self.channels = (int(size) for size in pooled.shape)
        if not self.count:
            raise ValueError("A gallery without rows cannot be searched.")

    def search(self, queries: Tensor, k: int, exclude: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Rows (q, k) long and cosines (q, k) float32 of queries (q, C), the most alike first; −1 and −∞ where there
        are fewer than k. exclude: (q,) a row that is left out for each query, −1 for none.

        Raises ValueError for queries of another width, or k < 1.
        """
        if queries.dim() != 2 or queries.shape[1] != self.channels:
            raise ValueError(f"Queries are (q, {self.channels}), as the gallery's rows, not {tuple(queries.shape)}.")
        if k < 1:
            raise ValueError(f"At least one neighbour is asked for, not {k}.")
        queries = queries.detach().float().cpu()
        out = torch.full((len(queries),), NOBODY) if exclude is None else exclude.long().cpu()
        found = self._candidates(queries, min(k + SPARE, self.count), out)
        found = found.masked_fill(found == out.unsqueeze(1), NOBODY)
        return _ranked(found, self._cosines(queries, found), k)

    @abstractmethod
    def _candidates(self, queries: Tensor, count: int, exclude: Tensor) -> Tensor:
        """Rows (q, ≥ k) in any order, −1 where there is none; the excluded ones may be among them if more are given."""

    def _cosines(self, queries: Tensor, rows: Tensor) -> Tensor:
        step = max(_PAIR_BYTES // (8 * self.channels * max(rows.shape[1], 1)), 1)
        parts = [
            cosines(some, self.pooled[these.clamp(min=0).flatten()].view(*these.shape, -1))
            for some, these in zip(queries.split(step), rows.split(step), strict=True)
        ]
        scores = torch.cat(parts) if parts else torch.zeros(rows.shape)
        return scores.masked_fill(rows == NOBODY, -torch.inf)


def unit(rows: Tensor) -> Tensor:
    """Rows of length 1, float32; one without length stays zero, and is alike to nothing."""
    return torch.nn.functional.normalize(rows.float(), dim=-1)


def cosines(queries: Tensor, candidates: Tensor) -> Tensor:
    """(q, k) float32 of queries (q, C) and candidates (q, k, C); 0 where either has no length."""
    one, other = queries.double().unsqueeze(1), candidates.double()
    lengths = one.square().sum(dim=2).sqrt() * other.square().sum(dim=2).sqrt()
    return ((one * other).sum(dim=2) / lengths.clamp(min=torch.finfo(torch.float64).tiny)).float()


def _ranked(rows: Tensor, scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The best k by score, of equal ones the lower row first; filled up with nobody."""
    scores = scores.masked_fill(rows == NOBODY, -torch.inf)
    short = k - rows.shape[1]
    if short > 0:
        rows = torch.cat([rows, rows.new_full((len(rows), short), NOBODY)], dim=1)
        scores = torch.cat([scores, scores.new_full((len(rows), short), -torch.inf)], dim=1)
    # Nobody is −1, and comes first here; its score moves it to the end.
    rows, order = rows.sort(dim=1)
    scores, order = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    return rows.gather(1, order)[:, :k], scores[:, :k]
