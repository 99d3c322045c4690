"""RES: robust explanation supervision (definitions §2).

Gao et al., "RES: A robust framework for guiding visual explanation", KDD 2022.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.maps import minmax, normalise_max, upsample
from mlcore.objectives.attention import AttentionObjective, count_terms
from mlcore.objectives.base import Loss, mean_over, weighted_cross_entropy
from mlcore.objectives.batch import Batch
from mlcore.objectives.targets import gaussian3, nearest

EPS = 1e-8
_KERNEL, _STRIDE, _PADDING = 64, 32, 16


class Res(AttentionObjective):
    """CE + λ·(mean|M − g(T⁺)| + ReLU(mean over cells with T ≠ 0 of |tanh(5(M − a)) − T| − η)).

    M: Grad-CAM of the true class without ReLU, min–max. T in {−1, 0, 1}: the person's map, nearest to M's
    size; T⁺ its important cells. `a`: one threshold a batch, found by `best_threshold`. Both means are over
    images with w_a > 0, weighted by it.

    smoothing: g = "gaussian" (3×3 on T⁺, then /max) or "learned" (one 64×64 convolution, stride 32, on the
    important pixels, then min–max; it starts as the plain average and belongs to the objective's parameters).
    eta: how much disagreement is forgiven.
    """

    cam_options: dict[str, Any] = {"relu": False}

    def __init__(
        self,
        *,
        attention_weight: float = 1.0,
        stop_gradient_weights: bool = True,
        layer: str | None = None,
        form: str = "auto",
        eta: float = 0.1,
        smoothing: str = "gaussian",
    ) -> None:
        super().__init__(
            attention_weight=attention_weight,
            stop_gradient_weights=stop_gradient_weights,
            layer=layer,
            form=form,
        )
        if smoothing not in ("gaussian", "learned"):
            raise ValueError(f"RES smooths by gaussian or learned, not “{smoothing}”.")
        if not eta >= 0:
            raise ValueError(f"RES needs η of 0 or more, not {eta}.")
        self.eta = float(eta)
        self.smoothing: nn.Conv2d | None = None
        if smoothing == "learned":
            self.smoothing = nn.Conv2d(1, 1, _KERNEL, stride=_STRIDE, padding=_PADDING)
            nn.init.constant_(self.smoothing.weight, 1 / _KERNEL**2)
            nn.init.zeros_(self.smoothing.bias)  # type: ignore[arg-type]

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The loss of one batch, in the model's current mode."""
        counted = self.counted(batch)
        logits, maps = self.maps(model, batch, counted)
        classification = weighted_cross_entropy(logits, batch)
        distance = nothing = classification.new_zeros(0)
        disagreement, cells = nothing, counted.sum().new_zeros(())
        if maps is not None and batch.maps is not None:
            scaled = minmax(maps, EPS)
            weight = batch.w_a[counted].to(scaled.dtype)
            drawn = batch.maps[counted]
            signs = nearest(drawn, (scaled.shape[1], scaled.shape[2])).to(scaled.dtype)
            distance = weight * (scaled - self.smooth(drawn, signs)).abs().mean(dim=(1, 2))
            known = signs != 0
            threshold = best_threshold(scaled.detach()[known], signs[known])
            single = (torch.tanh(5 * (scaled - threshold)) - signs).abs()
            disagreement = (weight[:, None, None] * single)[known]
            cells = known.sum()
        attention = mean_over(distance, counted.sum(), "maps")
        beyond = F.relu(mean_over(disagreement, cells) - self.eta)
        total = classification + self.attention_weight * (attention + beyond)
        if self.smoothing is not None and maps is None:  # every process needs a gradient for it
            total = total + 0 * sum(parameter.sum() for parameter in self.smoothing.parameters())
        terms = {
            "classification": classification.detach(),
            "attention": attention.detach(),
            "disagreement": beyond.detach(),
        }
        return Loss(total, terms | count_terms(batch, counted, maps), logits)

    def smooth(self, drawn: Tensor, signs: Tensor) -> Tensor:
        """g: the person's maps (N, H, W), and at M's size (N, h, w) → (N, h, w) in [0, 1]."""
        if self.smoothing is None:
            return normalise_max(gaussian3(signs.clamp(min=0)))
        size = (signs.shape[1], signs.shape[2])
        important = (drawn > 0).to(self.smoothing.weight.dtype)
        if min(important.shape[-2:]) < _STRIDE:
            raise ValueError("Learned smoothing needs images of 32 pixels or more on each side.")
        with torch.autocast(drawn.device.type, enabled=False):
            return minmax(upsample(self.smoothing(important[:, None])[:, 0], size), EPS).to(signs.dtype)


def best_threshold(values: Tensor, signs: Tensor) -> Tensor:
    """`a`, the threshold that maximises share{T < 0: M < a} + share{T > 0: M ≥ a}.

    values M (n,) and signs T (n,) in {−1, 1} → a scalar: one of the values (the smallest of equally good
    ones), or just above the largest where no cell should lie above. A share over no cells is 0; without any
    cells `a` is 0. One sort and a cumulative sum.
    """
    if values.numel() == 0:
        return values.new_zeros(())
    ordered, order = values.sort()
    negative = (signs[order] < 0).to(torch.int64)
    positive = (signs[order] > 0).to(torch.int64)
    zero = negative.new_zeros(1)
    below = torch.cat([zero, negative.cumsum(0)])  # negatives under the k-th smallest value
    above = positive.sum() - torch.cat([zero, positive.cumsum(0)])  # positives from the k-th upwards
    score = below / negative.sum().clamp(min=1) + above / positive.sum().clamp(min=1)
    # Only the first of several equal values splits the cells as M ≥ a does.
    first = torch.cat([ordered.new_ones(1, dtype=torch.bool), ordered[1:] > ordered[:-1]])
    score[:-1][~first] = -1
    top = torch.nextafter(ordered[-1:], ordered.new_tensor(float("inf")))
    return torch.cat([ordered, top])[score.argmax()]
