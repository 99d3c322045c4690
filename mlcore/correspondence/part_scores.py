"""What matchers that compare part by part share: which parts of the query count, and how their cosines make a score."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mlcore.correspondence.base import Compared

THRESHOLD = 0.55
BEST = 5
ZERO = 1e-6
PRESETS = ("default", "correspondence")


def cross_correlation(queries: Tensor, candidates: Tensor) -> Tensor:
    """queries (Q, C, h, w), candidates (Q, K, C, h', w'): how much each cell of the query is like the whole candidate,
    ⟨a_i, Σ_j b_j⟩, scaled from its least, 0, to its greatest, 1, in each pair: (Q, K, h · w). NaN where all are equal.
    """
    found = torch.einsum("qci,qkc->qki", queries.flatten(2), candidates.flatten(3).sum(dim=3))
    least = found.amin(dim=2, keepdim=True)
    return (found - least) / (found.amax(dim=2, keepdim=True) - least)


def cosines(queries: Tensor, candidates: Tensor, of_query: Tensor, of_candidate: Tensor) -> Tensor:
    """Cosine of the cells that correspond: of_query (P,) and of_candidate (Q, K, P), row · width + column; (Q, K, P).
    A cell of nothing but zeros is like no other: 0."""
    ours = F.normalize(queries.flatten(2), dim=1, eps=ZERO)[:, :, of_query]
    theirs = F.normalize(candidates.flatten(3), dim=2, eps=ZERO)
    theirs = theirs.gather(3, of_candidate[:, :, None].expand(-1, -1, theirs.shape[2], -1))
    return torch.einsum("qcp,qkcp->qkp", ours, theirs)


def mean_of_best(
    found: Tensor, counts: Tensor, of_query: Tensor, of_candidate: Tensor, *, best: int = BEST, zeros: bool = False
) -> Compared:
    """The mean of the `best` greatest cosines found (Q, K, P) among the parts that count (Q, K, P) bool.

    Where fewer count, their own mean; zeros (as released): parts that do not count are 0, and enter.
    """
    best = min(best, found.shape[2])
    if zeros:
        values, places = torch.where(counts, found, 0.0).topk(best, dim=2)
        there = counts.gather(2, places)
        share = torch.full_like(values[..., :1], 1 / best)
    else:
        values, places = torch.where(counts, found, -torch.inf).topk(best, dim=2)
        there = torch.isfinite(values)
        values = torch.where(there, values, 0.0)
        share = 1 / there.sum(dim=2, keepdim=True).clamp(min=1)
    return _compared(values * share, places, there, of_query, of_candidate)


def sum_of_marked(found: Tensor, marked: Tensor, of_query: Tensor, of_candidate: Tensor) -> Compared:
    """CHM-Corr+: the sum of the cosines found (Q, K, P) over the parts that a person marked (Q, P), / P."""
    most = max(int(marked.sum(dim=1).max()), 1)
    counts = marked[:, None].expand_as(found)
    values, places = torch.where(counts, found, -torch.inf).topk(most, dim=2)
    there = torch.isfinite(values)
    return _compared(torch.where(there, values, 0.0) / found.shape[2], places, there, of_query, of_candidate)


def _compared(adds: Tensor, places: Tensor, there: Tensor, of_query: Tensor, of_candidate: Tensor) -> Compared:
    cells = torch.stack([of_query[places], of_candidate.gather(2, places)], dim=3)
    return Compared(adds.sum(dim=2), torch.where(there[..., None], cells, -1), torch.where(there, adds, 0.0))


def check_options(preset: str, threshold: float, best: int) -> None:
    """Raises ValueError with a sentence for options that cannot be."""
    if preset not in PRESETS:
        raise ValueError(f"The presets are {' and '.join(PRESETS)}, not “{preset}”.")
    if not 0 <= threshold <= 1:
        raise ValueError(f"The threshold of parts that count lies between 0 and 1, not at {threshold}.")
    if best < 1:
        raise ValueError(f"The score is the mean of 1 part or more, not of {best}.")
