"""How much of each cell takes part when one picture is moved onto another (definitions §6)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Kind = Literal["cross", "uniform"]
STABILITY = 1e-5  # added to every sum that divides, as published


def cross_marginals(
    dots: Tensor, lengths: Tensor, *, clamp: bool = True, unequal: bool = False
) -> tuple[Tensor, Tensor]:
    """Weights of a query's and a candidate's cells by what each has in common with the whole other picture.

    dots: (N, R, S), products ⟨a_i, b_j⟩ of un-normalised cells: their row sums are ⟨a_i, Σ_j b_j⟩, their column sums
    ⟨b_j, Σ_i a_i⟩. lengths: (N,), ‖Σ a‖ · ‖Σ b‖: the sum of all weights is then the cosine of the pooled features,
    and 1e-5 has the size that it was published with. clamp: weights below 0 become 0. unequal: the query's weights
    are divided by the candidate's sum too.

    Gives (N, R) and (N, S). Zeros where a picture has no features at all.
    """
    lengths = lengths.clamp(min=1e-30)[:, None]
    query, candidate = dots.sum(dim=2) / lengths, dots.sum(dim=1) / lengths
    if clamp:
        query, candidate = query.clamp(min=0), candidate.clamp(min=0)
    of_candidate = candidate.sum(dim=1, keepdim=True) + STABILITY
    of_query = of_candidate if unequal else query.sum(dim=1, keepdim=True) + STABILITY
    return query / of_query, candidate / of_candidate


def uniform_marginals(dots: Tensor) -> tuple[Tensor, Tensor]:
    """The same weight for every cell of a picture. dots: (N, R, S); gives (N, R) and (N, S)."""
    pairs, rows, columns = dots.shape
    return dots.new_full((pairs, rows), 1 / rows), dots.new_full((pairs, columns), 1 / columns)
