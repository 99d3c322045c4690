"""Preset "correspondence": how the published code balances a query with its candidates (Taesiri et al., 2022)."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 0.05
ITERATIONS = 100
THRESHOLD = 0.1


def balance_together(kernel: Tensor, query: Tensor, candidates: Tensor) -> tuple[Tensor, bool]:
    """Plans of all pairs of one query, in linear space, stopped together.

    kernel: (N, R, S), exp(−(1 − s)/0.05), pair 0 the query with itself. query: (N, R) and candidates: (N, S), the
    marginals, as they are. Each iteration fits the candidates' cells (their scalings are r), then the query's, and all
    pairs stop when the mean of |r − r of the iteration before| over all of them is under 0.1. In float64: marginals
    below 0 make the iteration sensitive to rounding. Plans that are no numbers, and those of a picture without
    features, whose marginals are all zero, become zeros; the published code gives NaN.

    Gives the plans (N, R, S), and whether they stopped before the hundredth iteration.
    """
    plans = torch.zeros_like(kernel)
    live = query.any(dim=1) & candidates.any(dim=1)
    if not live.any():
        return plans, True
    kernel, query, candidates = kernel[live].double(), query[live].double(), candidates[live].double()
    r, c = torch.ones_like(candidates), torch.ones_like(query)
    stopped = False
    for iteration in range(1, ITERATIONS + 1):
        before = r
        r = candidates / torch.bmm(c[:, None], kernel)[:, 0]
        c = query / torch.bmm(kernel, r[:, :, None])[:, :, 0]
        if float((r - before).abs().mean()) < THRESHOLD:
            stopped = iteration < ITERATIONS
            break
    found = c[:, :, None] * kernel * r[:, None]
    plans[live] = torch.where(found.isfinite().all(dim=(1, 2), keepdim=True), found, 0).to(plans.dtype)
    return plans, stopped
