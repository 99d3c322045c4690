"""Complexity as something to be tuned for: the map is small and sparse (definitions §5).

The score is that of `mlcore.metrics.complexity`: the share of pixels with |r| > 1e-5.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from mlcore.metrics.complexity import Complexity as Plain
from mlcore.metrics.learnable.base import Explain, LearnableMetric, Step
from mlcore.metrics.learnable.values import values_of
from mlcore.objectives.base import mean_over


class Complexity(LearnableMetric):
    """Mean over pixels of |r| / max|r|, then over images whose map is finite and not zero."""

    name: ClassVar[str] = "complexity"
    better_higher: ClassVar[bool] = False

    def perturb(self, images: Tensor, maps: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The images: nothing else is shown."""
        return images

    def evaluate(
        self, model: nn.Module, images: Tensor, targets: Tensor, explain: Explain, *, masks: Tensor | None = None
    ) -> Tensor:
        """Share (B,) of each map's pixels with |r| > 1e-5."""
        return values_of(Plain(), len(images), maps=explain(images, targets))

    def loss(self, step: Step) -> Tensor:
        """The term, a scalar; 0 where no image counts."""
        top = step.maps.detach().abs().amax(dim=(1, 2))
        counted = torch.isfinite(top) & (top > 0)
        # Replaced before the division: a NaN that torch.where hides afterwards still poisons the gradient.
        strength = torch.where(counted[:, None, None], step.maps, torch.ones_like(step.maps)).abs()
        shares = strength.mean(dim=(1, 2)) / strength.amax(dim=(1, 2))
        return mean_over(torch.where(counted, shares, torch.zeros_like(shares)), counted.sum())
