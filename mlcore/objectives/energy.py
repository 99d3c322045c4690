"""Energy: how much of the positive map lies inside the person's mask or boxes (definitions §2).

Rao et al., "Studying how to efficiently and effectively guide models with explanations", ICCV 2023.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlcore.attribution.maps import upsample
from mlcore.objectives.attention import AttentionObjective, count_terms
from mlcore.objectives.base import Loss, mean_over, weighted_cross_entropy
from mlcore.objectives.batch import Batch

SMALLEST_ENERGY = 1e-7


class Energy(AttentionObjective):
    """mean_i(w_p·CE_i) + λ · mean of w_a · (1 − ΣA⁺m / ΣA⁺).

    A⁺: Grad-CAM of the true class with its ReLU, bilinear to the size of the mask. m: important pixels, drawn
    or filled from boxes. The mean is over images with w_a > 0 whose ΣA⁺ exceeds 1e-7; the others are counted.
    Second order by default: α is differentiated too.
    """

    def __init__(
        self,
        *,
        attention_weight: float = 1.0,
        stop_gradient_weights: bool = False,
        layer: str | None = None,
        form: str = "auto",
    ) -> None:
        super().__init__(
            attention_weight=attention_weight,
            stop_gradient_weights=stop_gradient_weights,
            layer=layer,
            form=form,
        )

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The loss of one batch, in the model's current mode."""
        counted = self.counted(batch)
        logits, maps = self.maps(model, batch, counted)
        classification = weighted_cross_entropy(logits, batch)
        outside, lit = classification.new_zeros(0), counted.sum().new_zeros(())
        if maps is not None and batch.maps is not None:
            share, usable = energy_inside(maps, batch.maps[counted] > 0)
            outside = (batch.w_a[counted].to(share.dtype) * (1 - share))[usable]
            lit = usable.sum()
        attention = mean_over(outside, lit)
        total = classification + self.attention_weight * attention
        terms = {"classification": classification.detach(), "attention": attention.detach()}
        counts = count_terms(batch, counted, maps)
        return Loss(total, terms | counts | {"dark_maps": counted.sum() - lit}, logits)


def energy_inside(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """ΣA⁺m / ΣA⁺ of maps (N, h, w) in masks (N, H, W) → shares (N,), and (N,) bool: ΣA⁺ > 1e-7 and finite."""
    size = (masks.shape[1], masks.shape[2])
    large = upsample(maps.clamp(min=0), size)
    whole = large.detach().sum(dim=(1, 2))
    usable = (whole > SMALLEST_ENERGY) & torch.isfinite(whole)
    # Replaced before the division: a NaN that torch.where hides afterwards still poisons the gradient.
    large = torch.where(usable[:, None, None], large, torch.zeros_like(large))
    whole = large.sum(dim=(1, 2))
    inside = (large * masks.to(large.dtype)).sum(dim=(1, 2))
    return inside / torch.where(usable, whole, torch.ones_like(whole)), usable
