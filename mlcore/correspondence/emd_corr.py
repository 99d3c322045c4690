"""EMD-Corr: a candidate is alike where little of the query has to be moved far (definitions §6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mlcore.correspondence import emd_released
from mlcore.correspondence.base import Compared, Described
from mlcore.correspondence.marginals import Kind, cross_marginals, uniform_marginals
from mlcore.correspondence.products import products
from mlcore.correspondence.sinkhorn import sinkhorn

Preset = Literal["default", "correspondence"]
TOLERANCE = 1e-4
PAIRS_SHOWN = 5  # pairs that are named where all of them count
BYTES_AT_ONCE = 48 << 20  # of tables of cells by cells: 870 pairs of pictures with 7 × 7, 54 with 14 × 14
TABLES = 6  # that stand in memory for a pair


class EMDCorr:
    """Re-ranks candidates by Sinkhorn's plan between the cells of the last layer (Taesiri et al., NeurIPS 2022).

    score = Σ T · s over the `num_patch` entries with the largest T (0: all), s the cosine of the cells.

    preset: "correspondence" balances the query, itself included as pair 0, and all its candidates together, as
    published: `emd_released`; marginals may be negative. "default": each pair to its own convergence, marginals
    clamped at 0.
    marginals: "cross", what a cell has in common with the other picture, or "uniform".
    mixed: adds the products of the cells at equal places. Default: their cosine over the whole picture. Preset: as
    published, their un-normalised sum, divided by the largest of the query itself and its candidates.
    unequal_weights: both sides' marginals are divided by the sum of the candidate's. Without clamping both sums are
    the same, so that it changes the default alone.
    epsilon: weight of the entropy; under 0.05 computed in logarithms. tolerance: `sinkhorn`'s.

    Raises ValueError for an unknown preset or marginals, numbers out of range, and for epsilon, iterations or tolerance
    of one's own under preset "correspondence", which has none.
    """

    needs_middle: ClassVar[bool] = False

    def __init__(
        self,
        *,
        preset: Preset = "default",
        marginals: Kind = "cross",
        num_patch: int = 5,
        mixed: bool = False,
        unequal_weights: bool = False,
        epsilon: float = emd_released.EPSILON,
        iterations: int = emd_released.ITERATIONS,
        tolerance: float = TOLERANCE,
    ) -> None:
        if preset not in ("default", "correspondence"):
            raise ValueError(f"EMD-Corr has the presets default and correspondence, not “{preset}”.")
        if marginals not in ("cross", "uniform"):
            raise ValueError(f"EMD-Corr has the marginals cross and uniform, not “{marginals}”.")
        if num_patch < 0 or iterations < 1 or not epsilon > 0 or not tolerance >= 0:
            raise ValueError("EMD-Corr needs num_patch ≥ 0, iterations ≥ 1, epsilon > 0 and tolerance ≥ 0.")
        own = (epsilon, iterations, tolerance) != (emd_released.EPSILON, emd_released.ITERATIONS, TOLERANCE)
        if preset == "correspondence" and own:
            raise ValueError("Preset correspondence has its own epsilon, iterations and stop: leave them as they are.")
        self.preset, self.marginals, self.num_patch = preset, marginals, num_patch
        self.mixed, self.unequal_weights = mixed, unequal_weights
        self.epsilon, self.iterations, self.tolerance = epsilon, iterations, tolerance

    @torch.no_grad()
    def compare(self, queries: Described, candidates: Described, marked: Tensor | None = None) -> Compared:
        """See `Matcher`. A picture without features (all cells 0) has score 0 and no pairs.

        Raises ValueError for marked cells, shapes that do not fit, and cells that are not finite numbers.
        """
        if marked is not None:
            raise ValueError("EMD-Corr cannot use marked cells; CHM-Corr can.")
        query, candidate = queries.cells, candidates.cells
        check_shapes(query, candidate)
        count = candidate.shape[1]
        table = 4 * query.shape[2:].numel() ** 2
        at_once = max(1, BYTES_AT_ONCE // max(1, TABLES * table * count))
        parts = [
            self._compare(mine.flatten(2).float(), theirs.flatten(3).float(), start)
            for start, mine, theirs in _parts(query, candidate, at_once)
        ]
        if not parts:
            shown = min(self.num_patch or PAIRS_SHOWN, query.shape[2:].numel() ** 2)
            nothing = query.new_zeros(len(query), count, dtype=torch.float32)
            no_pairs = nothing.new_zeros(len(query), count, shown)
            return Compared(nothing, no_pairs.new_zeros(*no_pairs.shape, 2).long(), no_pairs, nothing.bool())
        scores, pairs, pair_scores, converged = (torch.cat(each) for each in zip(*parts, strict=True))
        return Compared(scores, pairs, pair_scores, converged)

    def _compare(self, query: Tensor, candidate: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """query: (q, C, R); candidate: (q, K, C, R). Query `start` of the whole is the first of these."""
        released = self.preset == "correspondence"
        seen = products(query, candidate)
        if released:
            seen = _beside(products(query, query[:, None]), seen)
        dots, of_candidates, sums = seen
        count, norms = dots.shape[1], (query.square().sum(dim=1).sqrt(), of_candidates)
        similar = (dots / norms[0].clamp(min=1e-12)[:, None, :, None]).div_(norms[1].clamp(min=1e-12)[:, :, None])
        check_finite(similar, start, own=int(released))
        cosine, dots = similar.flatten(0, 1), dots.flatten(0, 1)
        if self.marginals == "uniform":
            u, v = uniform_marginals(dots)
            there = (norms[0].any(dim=1)[:, None] & norms[1].any(dim=2)).flatten()[:, None]
            u, v = u * there, v * there
        else:
            whole = query.sum(dim=2).norm(dim=1)[:, None] * sums.norm(dim=2)
            u, v = cross_marginals(dots, whole.flatten(), clamp=not released, unequal=self.unequal_weights)
        if released:
            kernel = torch.exp((1 - cosine) / -self.epsilon)
            each = [
                emd_released.balance_together(*(whole[first : first + count] for whole in (kernel, u, v)))
                for first in range(0, len(kernel), count)
            ]
            plan = torch.cat([plans for plans, _ in each])
            converged = torch.tensor([stopped for _, stopped in each], device=plan.device).repeat_interleave(count)
        else:
            moved = sinkhorn(
                1 - cosine, u, v,
                epsilon=self.epsilon, iterations=self.iterations, tolerance=self.tolerance,
            )  # fmt: skip
            plan, converged = moved.plan, moved.converged
        scores, pairs, pair_scores = best_pairs(plan, cosine, self.num_patch)
        scores = scores.unflatten(0, (-1, count))
        if self.mixed:
            scores = scores + _in_place(query, candidate, norms, released)
        first = int(released)  # the query with itself was there for the others' sake
        return (
            scores[:, first:],
            pairs.unflatten(0, (-1, count))[:, first:],
            pair_scores.unflatten(0, (-1, count))[:, first:],
            converged.unflatten(0, (-1, count))[:, first:],
        )


def best_pairs(plan: Tensor, cosine: Tensor, num_patch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Σ T · s over the entries with the largest T, and which they are.

    plan and cosine: (N, R, S). Gives scores (N,), pairs (N, P, 2) and what each adds (N, P): `Compared`'s. Entries
    without any mass are no pairs.
    """
    columns = plan.shape[2]
    entries = plan.shape[1] * columns
    mass, place = plan.flatten(1).topk(min(num_patch or PAIRS_SHOWN, entries), dim=1)
    adds = mass * cosine.flatten(1).gather(1, place)
    scores = adds.sum(dim=1) if num_patch else (plan * cosine).sum(dim=(1, 2))
    pairs = torch.stack([place // columns, place % columns], dim=2)
    return scores, pairs.masked_fill((mass <= 0)[:, :, None], -1), adds.masked_fill(mass <= 0, 0)


def check_shapes(query: Tensor, candidate: Tensor) -> None:
    """Raises ValueError unless query is (Q, C, h, w) and candidate (Q, K, C, h, w)."""
    if query.dim() != 4 or candidate.dim() != 5 or len(query) != len(candidate):
        raise ValueError(
            f"Cells must be (Q, C, h, w) and (Q, K, C, h, w), not {tuple(query.shape)} and {tuple(candidate.shape)}."
        )
    if query.shape[1:] != candidate.shape[2:]:
        mine, theirs = ("×".join(map(str, shape)) for shape in (query.shape[1:], candidate.shape[2:]))
        raise ValueError(
            f"The query's cells are {mine}, the candidates' {theirs}: they must come from one layer at one size."
        )


def check_finite(similar: Tensor, start: int = 0, own: int = 0) -> None:
    """Raises ValueError naming the pair, where a cosine is no number: the cells it is of hold infinity or NaN.

    similar: (q, K, R, S), of query `start` and those after it; its first `own` candidates are the query itself.
    """
    good = similar.sum(dim=(2, 3)).isfinite()
    if bool(good.all()):
        return
    query, candidate = (~good).nonzero()[0].tolist()
    if not good[query].any():
        raise ValueError(f"Cells of query {start + query} are not finite numbers.")
    raise ValueError(f"Cells of candidate {candidate - own} of query {start + query} are not finite numbers.")


def _beside(first: tuple[Tensor, ...], rest: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    dots, norms, sums = (torch.cat(each, dim=1) for each in zip(first, rest, strict=True))
    return dots, norms, sums


def _in_place(query: Tensor, candidate: Tensor, norms: tuple[Tensor, Tensor], released: bool) -> Tensor:
    """(q, K): products of the cells at equal places, summed over the picture and normalised."""
    found = torch.einsum("qcr,qkcr->qk", query, candidate)
    if released:
        found = torch.cat([query.square().sum(dim=(1, 2))[:, None], found], dim=1)
        largest = found.amax(dim=1, keepdim=True)
    else:
        largest = norms[0].norm(dim=1)[:, None] * norms[1].norm(dim=2)
    return torch.where(largest == 0, 0, found / torch.where(largest == 0, 1, largest))


def _parts(query: Tensor, candidate: Tensor, at_once: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    if candidate.shape[1] == 0:
        return
    for start in range(0, len(query), at_once):
        yield start, query[start : start + at_once], candidate[start : start + at_once]
