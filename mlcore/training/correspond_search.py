"""The candidates of every query: the nearest of the gallery by the cosine of pooled features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mlcore.correspondence.search import index_of, recall
from mlcore.training.correspond_features import Features, FirstRows
from mlcore.training.errors import JobError
from mlcore.training.events import Reporter
from mlcore.training.job import Item, Job

EXACT = "exact"
SAMPLE = 200  # queries on which an approximate search is compared with the exact one


@dataclass
class Found:
    """rows: (Q, K) long, places in the gallery, nearest first (−1: none); scores: (Q, K), their cosines."""

    rows: Tensor
    scores: Tensor
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        return int(self.rows.shape[1])

    def of(self, places: Sequence[int]) -> Found:
        """Of some queries only."""
        return Found(self.rows[list(places)], self.scores[list(places)], self.told)


def search(job: Job, features: Features, queries: Sequence[Item], reporter: Reporter) -> Found:
    """No query finds itself. Raises JobError where the index needs a library that is not installed."""
    kind = str(job.option("index", EXACT))
    pooled = features.last.pooled
    asked = features.last.pooled_of([item.id for item in queries])
    own = torch.tensor([features.last.place_of(item.id) for item in queries], dtype=torch.long)
    most = pooled.shape[0] - int(bool((own >= 0).any()))
    wanted = min(int(job.option("candidates", 50)), most)
    reporter.progress("searching", 0, 1)
    try:
        found = index_of(kind, pooled).search(asked, wanted, exclude=own)
    except ValueError as error:
        raise JobError(str(error)) from error
    told: dict[str, Any] = {"index": kind, "candidates": wanted}
    if kind != EXACT and len(queries):
        told |= _checked(pooled, asked, own, found[0], wanted)
        reporter.log(
            f"The approximate search found {100 * told['recall']:.1f} % of the {wanted} nearest, "
            f"measured on {told['sample']} queries against the exact one."
        )
    return Found(found[0].cpu().long(), found[1].cpu().float(), told)


def _checked(pooled: FirstRows, asked: Tensor, own: Tensor, rows: Tensor, wanted: int) -> dict[str, Any]:
    step = max(1, len(asked) // SAMPLE)
    chosen = torch.arange(0, len(asked), step)[:SAMPLE]
    exact, _ = index_of(EXACT, pooled).search(asked[chosen], wanted, exclude=own[chosen])
    return {"recall": float(recall(rows.cpu()[chosen], exact.cpu())), "sample": len(chosen)}
