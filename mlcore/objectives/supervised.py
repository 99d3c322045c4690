"""Plain supervised training."""

from __future__ import annotations

from torch import nn

from mlcore.objectives.base import Loss, Objective, weighted_cross_entropy
from mlcore.objectives.batch import Batch


class Supervised(Objective):
    """mean_i(w_p · CE_i). Phase 1, and the control of phase 2 (w_a has no say)."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The loss of one batch, in the model's current mode."""
        output = model(batch.images)
        logits = getattr(output, "logits", output)
        total = weighted_cross_entropy(logits, batch)
        return Loss(total, {"classification": total.detach()}, logits)
