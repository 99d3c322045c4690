"""Accuracy of predictions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mlcore.metrics.base import Metric, check_lengths

NONFINITE_SCORES = "non-finite class scores"


class Accuracy(Metric):
    """Share of images whose highest class score (the first of equal ones) is their label's."""

    name = "accuracy"
    takes = ("logits", "labels", "names")

    def update(self, logits: Tensor, labels: Tensor, names: Sequence[str]) -> None:
        """logits (B, K), or predicted classes (B,); labels (B,); names of the B images."""
        check_lengths(logits=logits, labels=labels, names=names)
        if logits.dim() == 1:
            predicted, finite = logits, torch.ones(len(logits), dtype=torch.bool)
        else:
            predicted, finite = logits.argmax(dim=1), torch.isfinite(logits).all(dim=1)
        right = (predicted.cpu() == labels.cpu()).tolist()
        for hit, usable, name in zip(right, finite.tolist(), names, strict=True):
            if usable:
                self.record(name, float(hit))
            else:
                self.leave_out(name, NONFINITE_SCORES)
