"""Mean average precision: how well class scores sort the images that have a class before those that have not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mlcore.metrics.accuracy import NONFINITE_SCORES
from mlcore.metrics.base import Metric, check_lengths


class MeanAveragePrecision(Metric):
    """Mean over classes of the average precision; classes that no counted image has are left out of the mean.

    It is a figure of all images together: none has a value of its own, and there is no interval.
    `per_class` holds each class's average precision, by index.
    """

    name = "mean_average_precision"
    takes = ("logits", "targets", "names")

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, tuple[Tensor, Tensor]] = {}

    def update(self, logits: Tensor, targets: Tensor, names: Sequence[str]) -> None:
        """logits, targets (B, K), targets > 0 where an image has the class; names of the B images."""
        check_lengths(logits=logits, targets=targets, names=names)
        if logits.shape != targets.shape:
            raise ValueError(f"Scores and targets differ: {tuple(logits.shape)} and {tuple(targets.shape)}.")
        scores, there = logits.detach().float().cpu(), targets.detach().cpu() > 0
        usable = torch.isfinite(scores).flatten(1).all(dim=1).tolist()
        for row, (good, name) in enumerate(zip(usable, names, strict=True)):
            self._rows.pop(name, None)
            if good:
                self._rows[name] = scores[row], there[row]
                self._reasons.pop(name, None)
            else:
                self.leave_out(name, NONFINITE_SCORES)

    def leave_out(self, name: str, reason: str) -> None:
        """The image does not count, for this reason."""
        self._rows.pop(name, None)
        super().leave_out(name, reason)

    def reset(self) -> None:
        """Forget every image."""
        super().reset()
        self._rows = {}

    @property
    def per_class(self) -> dict[int, float]:
        """Average precision of each class that at least one image has."""
        if not self._rows:
            return {}
        scores, there = (torch.stack(column) for column in zip(*self._rows.values(), strict=True))
        had = there.any(dim=0).nonzero()[:, 0].tolist()
        return {one: average_precision(scores[:, one], there[:, one]) for one in had}

    def mean(self) -> float | None:
        """Mean over classes; None where no image has a class."""
        found = self.per_class.values()
        return sum(found) / len(found) if found else None

    def compute(self) -> dict[str, Any]:
        """As every metric's; n counts images."""
        return super().compute() | {"n": len(self._rows)}


def average_precision(scores: Tensor, there: Tensor) -> float:
    """Σ (R_n − R_{n−1})·P_n over the thresholds, from the highest score down; images of equal score come together.

    scores (N,) finite; there (N,) bool. P, R: precision and recall of the images at or above a threshold; nothing is
    interpolated. NaN where no image has the class.
    """
    order = scores.argsort(descending=True)
    ranked, hits = scores[order], there[order].double().cumsum(0)
    last = torch.ones(len(ranked), dtype=torch.bool)  # of its group of equal scores
    last[:-1] = ranked[1:] != ranked[:-1]
    seen = torch.arange(1, len(ranked) + 1, dtype=torch.float64)[last]
    hits = hits[last]
    gained = hits.diff(prepend=torch.zeros(1, dtype=torch.float64))
    return float((gained * hits / seen).sum() / hits[-1])
