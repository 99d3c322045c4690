"""What a comparison needs of raw cells, in one pass over them."""

from __future__ import annotations

import torch
from torch import Tensor

CACHE_BYTES = 1 << 19  # of candidates that a CPU goes through three times before the next


def products(query: Tensor, candidate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """query: (Q, C, R); candidate: (Q, K, C, S), float32. Gives products of the cells (Q, K, R, S), norms of the
    candidates' cells (Q, K, S), and the candidates' sums over cells (Q, K, C).

    Memory, not arithmetic, is what candidates cost: on a CPU they are read in parts that stay in its cache.
    """
    queries, count, channels, cells = candidate.shape
    dots = candidate.new_empty(queries, count, query.shape[2], cells)
    norms, sums = candidate.new_empty(queries, count, cells), candidate.new_empty(queries, count, channels)
    fits = CACHE_BYTES // (4 * channels * cells) if candidate.device.type == "cpu" else count
    step = min(max(fits, 1), max(count, 1))
    ones = candidate.new_ones(cells)
    squares = candidate.new_empty(step, channels, cells)
    for one in range(queries):
        turned = query[one].T
        for start in range(0, count, step):
            here = candidate[one, start : start + step]
            part, stop = len(here), start + len(here)
            # `matmul` would copy the query once for every candidate.
            torch.bmm(turned.expand(part, -1, -1), here, out=dots[one, start:stop])
            torch.sum(torch.mul(here, here, out=squares[:part]), dim=1, out=norms[one, start:stop])
            torch.mv(here.reshape(-1, cells), ones, out=sums[one, start:stop].view(-1))
    return dots, norms.sqrt_(), sums
