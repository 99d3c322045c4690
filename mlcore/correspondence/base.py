"""What is compared, and what a comparison says: one shape for every matcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor


@dataclass(frozen=True)
class Described:
    """Images as a matcher sees them, before any normalisation; leading dimensions are n, or queries × candidates.

    cells: (…, C, h, w), the last spatial features. middle: (…, C', h', w'), those of the stage that a correspondence
    network reads; None where no matcher asks for them.
    """

    cells: Tensor
    middle: Tensor | None = None


@dataclass(frozen=True)
class Compared:
    """Queries (Q) against K candidates each.

    scores: (Q, K), greater is more alike. pairs: (Q, K, P, 2) long, the P best pairs of cells, the best first: the
    query's cell and the candidate's, row · width + column; −1 in both where there are fewer. pair_scores: (Q, K, P),
    what each pair adds to the score; 0 where there is none. converged: (Q, K) bool, None where nothing is iterated.
    """

    scores: Tensor
    pairs: Tensor
    pair_scores: Tensor
    converged: Tensor | None = None


class Matcher(Protocol):
    """Compares queries with their candidates part by part."""

    needs_middle: ClassVar[bool]

    def compare(self, queries: Described, candidates: Described, marked: Tensor | None = None) -> Compared:
        """queries: cells (Q, C, h, w); candidates: (Q, K, C, h, w). marked: (Q, h, w) bool, the cells that a person
        marked on the query; only a matcher that says so can use them, the others raise ValueError."""
        ...
