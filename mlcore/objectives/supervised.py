"""Plain supervised training."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from mlcore.objectives.base import Loss, Objective
from mlcore.objectives.batch import Batch
from mlcore.objectives.classification import classification_loss


class Supervised(Objective):
    """mean_i(w_p · CE_i). Phase 1, and the control of phase 2 (w_a has no say).

    Where images have several labels: bce_weight · mean_i(w_p · mean_k BCE_ik), over images and classes.
    """

    compiles: ClassVar[bool] = True

    def __init__(self, *, bce_weight: float = 80.0) -> None:
        super().__init__()
        self.bce_weight = float(bce_weight)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The loss of one batch, in the model's current mode."""
        output = model(batch.images)
        logits = getattr(output, "logits", output)
        total = classification_loss(logits, batch, self.bce_weight)
        return Loss(total, {"classification": total.detach()}, logits)
