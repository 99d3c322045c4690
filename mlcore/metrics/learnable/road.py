"""ROAD as something to be tuned for: without its most relevant pixels the class goes (definitions §5).

After HARMONY; the score is that of `mlcore.metrics.road`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from mlcore.attribution.maps import upsample
from mlcore.metrics.imputation import impute
from mlcore.metrics.learnable.base import Explain
from mlcore.metrics.learnable.parts import normal, uniform
from mlcore.metrics.learnable.removal import Removal
from mlcore.metrics.learnable.values import values_of
from mlcore.metrics.perturbation import ranks
from mlcore.metrics.road import ROAD as Plain
from mlcore.metrics.road import SHARES


class ROAD(Removal):
    """x′: one of the ten shares of each image's pixels is filled in from around them, with noise."""

    name: ClassVar[str] = "road"

    def __init__(self, noise: float = 0.01, seed: int = 0) -> None:
        """noise: deviation of what is added to filled-in pixels. seed: of the score's noise.

        Raises ValueError where the noise is below 0.
        """
        super().__init__()
        if not noise >= 0:
            raise ValueError(f"The noise's deviation is 0 or more, not {noise}.")
        self.noise = noise
        self.seed = seed

    def perturb(self, images: Tensor, maps: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images (B, C, H, W) without the most relevant pixels of maps (B, H, W), each at a share of its own."""
        batch, _, height, width = images.shape
        drawn = (uniform((batch,), maps.float(), generator) * len(SHARES)).long().tolist()
        numbers = torch.tensor([height * width * SHARES[one] // 100 for one in drawn], device=maps.device)
        removed = ranks(upsample(maps.detach(), (height, width))) < numbers[:, None, None]
        filled = impute(images.detach(), removed).to(images.dtype)
        noise = self.noise * normal(tuple(images.shape), filled, generator)
        return torch.where(removed[:, None], filled + noise, images.detach())

    @torch.no_grad()
    def evaluate(
        self, model: nn.Module, images: Tensor, targets: Tensor, explain: Explain, *, masks: Tensor | None = None
    ) -> Tensor:
        """Share (B,) of the ten removals that change the prediction."""
        metric = Plain(model, noise=self.noise, seed=self.seed)
        return values_of(metric, len(images), maps=explain(images, targets), images=images, targets=targets)
