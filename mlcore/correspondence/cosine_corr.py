"""The plain cosine matcher: each cell of the query goes to the candidate's cell that is most like it."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from mlcore.correspondence.base import Compared, Described
from mlcore.correspondence.part_scores import (
    BEST,
    THRESHOLD,
    check_options,
    cosines,
    cross_correlation,
    mean_of_best,
    sum_of_marked,
)


class CosineCorr:
    """Scores as CHM-Corr does, without a trained network: what that is measured by.

    Cells of the query count whose scaled cross-correlation is `threshold` or more; the score is the mean of their
    `best` greatest cosines. With cells that a person marked it is the sum of their cosines over the number
    of all cells.
    """

    needs_middle: ClassVar[bool] = False

    def __init__(self, *, threshold: float = THRESHOLD, best: int = BEST) -> None:
        check_options("default", threshold, best)
        self.threshold, self.best = threshold, best

    def compare(self, queries: Described, candidates: Described, marked: Tensor | None = None) -> Compared:
        """See `Matcher`. Equal cosines: the first cell by rows."""
        ours, theirs = queries.cells, candidates.cells
        of_query = torch.arange(ours.shape[2] * ours.shape[3], device=ours.device)
        alike = torch.einsum(
            "qci,qkcj->qkij", F.normalize(ours.flatten(2), dim=1), F.normalize(theirs.flatten(3), dim=2)
        )
        of_candidate = alike.argmax(dim=3)
        found = cosines(ours, theirs, of_query, of_candidate)
        if marked is not None:
            return sum_of_marked(found, marked.flatten(1), of_query, of_candidate)
        crossed = cross_correlation(ours, theirs)
        counts = (crossed >= self.threshold) | ~torch.isfinite(crossed)
        return mean_of_best(found, counts, of_query, of_candidate, best=self.best)
