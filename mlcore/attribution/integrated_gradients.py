"""Integrated Gradients, computed by captum (definitions §1).

Sundararajan et al., "Axiomatic attribution for deep networks", ICML 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlcore.attribution.base import Attribution, Targets, class_scores, resolve_targets, to_one_map
from mlcore.attribution.pixel_gradient import check_channels, own_copy, without_nonfinite

_AT_ONCE = 32


class IntegratedGradients(Attribution):
    """x ⊙ ∫₀¹ ∂y_t(a·x)/∂x da, from zero (grey, in normalised colours) to the picture, Gauss–Legendre.

    steps: points on the way. channels: "sum" (signed), "abs_sum" or "max_abs".
    Maps (B, H, W) at the picture's size; a signed map sums to y_t(x) − y_t(0) but for the integral's error. An image
    whose class scores are not finite gets a map of NaN.
    """

    def __init__(self, model: nn.Module, *, steps: int = 50, channels: str = "sum") -> None:
        super().__init__(model)
        if steps < 2:
            raise ValueError(f"Integrated Gradients needs two points on the way or more, not {steps}.")
        self.steps = steps
        self.channels = check_channels(channels)

    def _explain_several(self, images: Tensor, targets: Tensor) -> Tensor:
        return self._explain(images, targets)

    def _explain(self, images: Tensor, targets: Targets) -> Tensor:
        from captum.attr import IntegratedGradients as Captum  # heavy: loaded by whoever asks for a map

        logits = class_scores(self.model(images))
        chosen = resolve_targets(logits, targets)
        columns = chosen[:, None] if chosen.dim() == 1 else chosen
        if not len(images):
            return images.new_zeros(0, *chosen.shape[1:], *images.shape[2:])
        method = Captum(lambda pictures: class_scores(self.model(pictures)))
        maps = []
        for column in columns.unbind(1):
            with torch.enable_grad():
                values = method.attribute(
                    own_copy(images),
                    target=column,
                    n_steps=self.steps,
                    internal_batch_size=max(_AT_ONCE, len(images)),
                )
            maps.append(without_nonfinite(to_one_map(values.detach(), self.channels), logits))
        return maps[0] if chosen.dim() == 1 else torch.stack(maps, dim=1)
