"""Focus as something to be tuned for: on a mosaic of four pictures, the map looks at the right one (definitions §5).

The score is that of `mlcore.metrics.focus`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from mlcore.metrics.focus import Focus as Plain
from mlcore.metrics.focus import mosaics, quadrant_of, share_in
from mlcore.metrics.learnable.base import Explain, LearnableMetric, Step
from mlcore.metrics.learnable.values import values_of
from mlcore.objectives.base import mean_over


class Focus(LearnableMetric):
    """Mean of 1 − F over the batch's mosaics; what makes no four is left out.

    F: share of a mosaic's relevance, for the class predicted on it, in the quadrant of the image whose own full-size
    version gives this class the highest probability. A mosaic is seen once: class and map come of one pass.
    """

    name: ClassVar[str] = "focus"
    better_higher: ClassVar[bool] = True
    trains_maps: ClassVar[bool] = False
    uses_maps: ClassVar[bool] = False
    group: ClassVar[int] = 4

    def perturb(self, images: Tensor, maps: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The mosaics (b, C, 2⌊H/2⌋, 2⌊W/2⌋) of the first 4b of the images."""
        return mosaics(images.detach()[: len(images) // 4 * 4])

    def evaluate(
        self, model: nn.Module, images: Tensor, targets: Tensor, explain: Explain, *, masks: Tensor | None = None
    ) -> Tensor:
        """Each image's (B,) mosaic's share; NaN for those that make no four."""
        return values_of(Plain(model, explain), len(images), images=images)

    def loss(self, step: Step) -> Tensor:
        """The term, a scalar; 0 where no mosaic counts."""
        if len(step.images) < 4:
            return mean_over(step.logits.new_zeros(0), torch.zeros((), device=step.logits.device))
        pictures = self.perturb(step.images, step.maps)
        own = step.logits.detach()[: 4 * len(pictures)]
        own = (own.float() if own.dtype.itemsize < 4 else own).softmax(1)
        seen: list[Tensor] = []

        def class_on_the_mosaic(logits: Tensor) -> Tensor:
            seen.append(logits.detach().argmax(1))
            return seen[-1]

        maps = step.explain(pictures, class_on_the_mosaic)
        quadrant = quadrant_of(own, seen[-1])
        total = maps.detach().sum(dim=(1, 2))
        counted = torch.isfinite(total) & (total > 0)
        # Replaced before the division: a NaN that torch.where hides afterwards still poisons the gradient.
        maps = torch.where(counted[:, None, None], maps, torch.zeros_like(maps))
        away = torch.where(counted, 1 - share_in(maps, quadrant), torch.zeros_like(total))
        return mean_over(away, counted.sum())
