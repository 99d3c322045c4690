"""Input stability (IS) and relative input stability (RIS) as something to be tuned for (definitions §5).

After HARMONY; the scores are those of `mlcore.metrics.stability`. A term looks at one noisy copy of each image, maps
divided by their sum; the clean map has no graph, the copy's map has.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from mlcore.metrics import stability as plain
from mlcore.metrics.learnable.base import Explain, LearnableMetric, Step
from mlcore.metrics.learnable.parts import laid_out, normal, uniform, with_value
from mlcore.metrics.learnable.values import values_of
from mlcore.objectives.base import mean_over

EPS = 1e-9


class _Stability(LearnableMetric):
    """Mean over images of the relative change from the clean map to one noisy copy's."""

    better_higher: ClassVar[bool] = False
    trains_maps: ClassVar[bool] = False

    def loss(self, step: Step) -> Tensor:
        """The term, a scalar; 0 where no image counts."""
        clean = step.maps.detach()
        counted = with_value(clean)
        changes = step.logits.new_zeros(0)
        if bool(counted.any()):
            images = step.images.detach()[counted]
            copies = self.perturb(step.images, clean, step.generator)[counted]
            noisy = step.explain(laid_out(copies), step.targets[counted])
            changes = self.changes(_shares(clean[counted]), _shares(noisy), images, copies - images)
        return mean_over(changes, counted.sum())

    @abstractmethod
    def changes(self, clean: Tensor, noisy: Tensor, images: Tensor, noise: Tensor) -> Tensor:
        """Relative change (B,) of maps (B, H, W) against that of images (B, C, H, W)."""


class InputStability(_Stability):
    """Σ|Δr/(r + 1e-9)| ÷ (Σ|Δx/(x + 1e-9)| + 1e-9), one copy with N(0, noise²)."""

    name: ClassVar[str] = "input_stability"

    def __init__(self, copies: int = 20, noise: float = 0.05, seed: int = 0) -> None:
        """copies, seed: of the score. noise: its deviation. Raises ValueError below 1 copy or with noise below 0."""
        super().__init__()
        _check(copies)
        if not noise >= 0:
            raise ValueError(f"The noise's deviation is 0 or more, not {noise}.")
        self.copies, self.noise, self.seed = copies, noise, seed

    def perturb(self, images: Tensor, maps: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One noisy copy of each image (B, C, H, W)."""
        images = images.detach()
        return images + self.noise * normal(tuple(images.shape), images, generator)

    @torch.no_grad()
    def evaluate(
        self, model: nn.Module, images: Tensor, targets: Tensor, explain: Explain, *, masks: Tensor | None = None
    ) -> Tensor:
        """The largest relative change (B,) over the copies."""
        metric = plain.InputStability(model, explain, copies=self.copies, noise=self.noise, seed=self.seed)
        return values_of(metric, len(images), maps=explain(images, targets), images=images, targets=targets)

    def changes(self, clean: Tensor, noisy: Tensor, images: Tensor, noise: Tensor) -> Tensor:
        """By sums of absolute values."""
        of_maps = ((noisy - clean) / (clean + EPS)).abs().flatten(1).sum(1)
        return of_maps / ((noise / (images + EPS)).abs().flatten(1).sum(1) + EPS)


class RelativeInputStability(_Stability):
    """‖Δr/r‖₂ ÷ ‖Δx/x‖₂, 1e-6 in the place of zeros, one copy with U(0.02, 0.2)."""

    name: ClassVar[str] = "relative_input_stability"

    def __init__(self, copies: int = 200, seed: int = 0) -> None:
        """copies, seed: of the score. Raises ValueError below 1 copy."""
        super().__init__()
        _check(copies)
        self.copies, self.seed = copies, seed

    def perturb(self, images: Tensor, maps: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One noisy copy of each image (B, C, H, W)."""
        images = images.detach()
        low, high = plain.RelativeInputStability.low, plain.RelativeInputStability.high
        return images + low + (high - low) * uniform(tuple(images.shape), images, generator)

    @torch.no_grad()
    def evaluate(
        self, model: nn.Module, images: Tensor, targets: Tensor, explain: Explain, *, masks: Tensor | None = None
    ) -> Tensor:
        """The largest relative change (B,) over the copies."""
        metric = plain.RelativeInputStability(model, explain, copies=self.copies, seed=self.seed)
        return values_of(metric, len(images), maps=explain(images, targets), images=images, targets=targets)

    def changes(self, clean: Tensor, noisy: Tensor, images: Tensor, noise: Tensor) -> Tensor:
        """By L2 norms."""
        of_maps = ((noisy - clean) / _no_zeros(clean)).flatten(1).norm(dim=1)
        return of_maps / _no_zeros((noise / _no_zeros(images)).flatten(1).norm(dim=1))


def _shares(maps: Tensor) -> Tensor:
    """Each map (B, H, W) ÷ Σ|r|; a map that is zero stays zero."""
    total = maps.abs().sum(dim=(1, 2), keepdim=True)
    return maps / torch.where(total == 0, 1.0, total)


def _no_zeros(values: Tensor) -> Tensor:
    """1e-6 in the place of zeros."""
    return torch.where(values == 0, plain.RelativeInputStability.eps, values)


def _check(copies: int) -> None:
    if copies < 1:
        raise ValueError(f"There must be 1 noisy copy or more, not {copies}.")
