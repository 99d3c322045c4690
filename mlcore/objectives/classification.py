"""The classification loss of a batch, whether its images have one label each or several (definitions §2, §3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mlcore.objectives.base import mean_over, weighted_cross_entropy
from mlcore.objectives.batch import Batch


def classification_loss(logits: Tensor, batch: Batch, bce_weight: float) -> Tensor:
    """A scalar: mean_i(w_p · CE_i), or where the batch has targets `bce_weight` · mean_i(w_p · mean_k BCE_ik).

    logits (B, K). Raises ValueError where logits and targets differ in their number of classes.
    """
    if batch.targets is None:
        return weighted_cross_entropy(logits, batch)
    single = binary_cross_entropy(logits, batch.targets)
    count = torch.as_tensor(float(len(batch)), device=single.device)
    return bce_weight * mean_over(batch.w_p.to(single.dtype) * single, count, "images")


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """(B,): the mean over classes of −t·ln σ(z) − (1 − t)·ln(1 − σ(z)), from logits and targets (B, K)."""
    if logits.shape != targets.shape:
        raise ValueError(f"Each class needs a target: {tuple(logits.shape)} logits, {tuple(targets.shape)} targets.")
    logits = logits.float() if logits.dtype.itemsize < 4 else logits
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none").mean(dim=1)
