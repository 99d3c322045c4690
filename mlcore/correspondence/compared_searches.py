"""What the kinds of search cost on a gallery, and how many of the nearest each finds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from mlcore.correspondence.search import KINDS, PooledSource, index_of, recall

QUERIES = 200


@dataclass(frozen=True)
class SearchCost:
    """made: seconds until it can be asked. each: seconds a query. recall: share of the exact neighbours found; 1 of the
    exact search itself."""

    kind: str
    made: float
    each: float
    recall: float


def compared_searches(
    pooled: PooledSource, *, k: int = 50, kinds: Sequence[str] = KINDS, queries: int = QUERIES
) -> Iterator[SearchCost]:
    """Each kind in turn, the exact one first: rows of the gallery, evenly over it, are the queries, and none finds
    itself. Raises ValueError as `index_of` does."""
    count = int(pooled.shape[0])
    own = torch.linspace(0, count - 1, min(queries, count)).round().long()
    asked = pooled[own].float()
    exact: torch.Tensor | None = None
    for kind in dict.fromkeys(("exact", *kinds)):
        started = time.perf_counter()
        index = index_of(kind, pooled)
        made = time.perf_counter() - started
        started = time.perf_counter()
        rows, _ = index.search(asked, min(k, max(count - 1, 1)), exclude=own)
        each = (time.perf_counter() - started) / len(own)
        exact = rows if exact is None else exact
        yield SearchCost(kind, made, each, recall(rows, exact))
