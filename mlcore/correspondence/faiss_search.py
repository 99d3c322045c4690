"""faiss behind the interface of `mlcore.correspondence.index`: for galleries that are too large to look at whole.

faiss is optional: whoever asks for it where it is missing is told so. It brings an OpenMP of its own beside PyTorch's;
each stays with its own threads, and both are used in one process.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlcore.correspondence.index import Index, PooledSource, unit

MISSING = "The library faiss is not installed here: choose the exact search, or “pip install faiss-cpu”."
PROBES = 32
ROUNDS = 10  # of learning the centres; faiss's 25 take longer than the searches of most runs
_ROWS = 8192  # that are handed over at once
_TRAINED = 64  # rows for each inverted list that its centre is learned from


def faiss_module() -> Any:
    """The library. Raises ValueError where it is missing."""
    loader = logging.getLogger("faiss.loader")
    if not loader.level:  # it tells at length which processor it looks for
        loader.setLevel(logging.WARNING)
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise ValueError(MISSING) from error


class FaissIndex(Index):
    """Rows of length 1 in an index that compares by inner product, in float32 in memory."""

    def __init__(self, pooled: PooledSource) -> None:
        super().__init__(pooled)
        self.faiss = faiss_module()

    def _filled(self, index: Any) -> Any:
        for start in range(0, self.count, _ROWS):
            index.add(_array(self.pooled[start : start + _ROWS]))
        return index

    def _candidates(self, queries: Tensor, count: int, exclude: Tensor) -> Tensor:
        # One more: the row that is left out may be among them.
        _, rows = self.index.search(_array(queries), min(count + 1, self.count))
        return torch.from_numpy(rows.astype(np.int64))

    index: Any


class FlatIndex(FaissIndex):
    """Looks at every row, as the exact search does."""

    def __init__(self, pooled: PooledSource) -> None:
        super().__init__(pooled)
        self.index = self._filled(self.faiss.IndexFlatIP(self.channels))


class InvertedIndex(FaissIndex):
    """Inverted lists: rows are sorted by the nearest of `lists` centres, and the lists of `probes` centres are looked
    through. Defaults: 4√n lists (at most n/39, which faiss asks to learn them from); 32 are probed, or 1 in 8."""

    def __init__(
        self, pooled: PooledSource, *, lists: int | None = None, probes: int | None = None, seed: int = 0
    ) -> None:
        super().__init__(pooled)
        count = lists or max(min(round(4 * self.count**0.5), self.count // 39), 1)
        if not 1 <= count <= self.count:
            raise ValueError(f"{self.count} rows cannot be sorted into {count} lists.")
        centres = self.faiss.IndexFlatIP(self.channels)
        index = self.faiss.IndexIVFFlat(centres, self.channels, count, self.faiss.METRIC_INNER_PRODUCT)
        index.cp.seed, index.cp.niter = seed + 1, ROUNDS
        index.cp.min_points_per_centroid = 1  # it warns on the terminal below 39
        index.train(_array(self.pooled[_spread(self.count, count * _TRAINED, seed)]))
        index.nprobe = min(probes or max(round(count / 8), PROBES), count)
        self._centres = centres  # faiss keeps no reference of its own
        self.index = self._filled(index)


class GraphIndex(FaissIndex):
    """A graph of near rows (HNSW) that is walked towards the query. links: of a row; built, searched: how many rows are
    kept in view meanwhile."""

    def __init__(self, pooled: PooledSource, *, links: int = 32, built: int = 100, searched: int = 200) -> None:
        super().__init__(pooled)
        index = self.faiss.IndexHNSWFlat(self.channels, links, self.faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = built, searched
        self.index = self._filled(index)

    def _candidates(self, queries: Tensor, count: int, exclude: Tensor) -> Tensor:
        self.index.hnsw.efSearch = max(self.index.hnsw.efSearch, count + 1)
        return super()._candidates(queries, count, exclude)


def _array(rows: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    return unit(rows).contiguous().numpy()


def _spread(count: int, wanted: int, seed: int) -> Tensor:
    """Rows by chance, in order, at most as many as there are."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=generator)[:wanted].sort().values
