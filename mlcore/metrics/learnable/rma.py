"""Relevance mass accuracy as something to be tuned for: the map's mass lies on the object (definitions §5).

The score is the content heat map's (`mlcore.metrics.content_heat_map`); HARMONY's released name for it is IoU.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from mlcore.metrics.content_heat_map import ContentHeatMap
from mlcore.metrics.learnable.base import Explain, LearnableMetric, Step
from mlcore.metrics.learnable.values import values_of
from mlcore.objectives.base import mean_over

EPS = 1e-9


class RMA(LearnableMetric):
    """Mean of 1 − Σ r·m / Σ(r + 1e-9) over images with an object and a map that is finite and not zero."""

    name: ClassVar[str] = "rma"
    better_higher: ClassVar[bool] = True
    needs_masks: ClassVar[bool] = True

    def perturb(self, images: Tensor, maps: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The images: nothing else is shown."""
        return images

    def evaluate(
        self, model: nn.Module, images: Tensor, targets: Tensor, explain: Explain, *, masks: Tensor | None = None
    ) -> Tensor:
        """Share (B,) of each map's mass that lies on the object."""
        if masks is None:
            raise ValueError("Relevance mass accuracy needs masks or boxes of the objects.")
        return values_of(ContentHeatMap(), len(images), maps=explain(images, targets), masks=masks)

    def loss(self, step: Step) -> Tensor:
        """The term, a scalar; 0 where no image counts."""
        if step.masks is None:
            raise ValueError("Relevance mass accuracy needs masks or boxes of the objects.")
        total = step.maps.detach().sum(dim=(1, 2))
        counted = step.masks.flatten(1).any(dim=1) & torch.isfinite(total) & (total > 0)
        # Replaced before the division: a NaN that torch.where hides afterwards still poisons the gradient.
        maps = torch.where(counted[:, None, None], step.maps, torch.zeros_like(step.maps))
        inside = (maps * step.masks).sum(dim=(1, 2)) / (maps + EPS).sum(dim=(1, 2))
        return mean_over(torch.where(counted, 1 - inside, torch.zeros_like(inside)), counted.sum())
