"""IROF as something to be tuned for: without its most relevant segments the class goes (definitions §5).

After HARMONY; the score is that of `mlcore.metrics.irof`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from mlcore.attribution.maps import upsample
from mlcore.metrics.irof import IROF as Plain
from mlcore.metrics.irof import removal_steps
from mlcore.metrics.learnable.base import Explain
from mlcore.metrics.learnable.parts import uniform
from mlcore.metrics.learnable.removal import Removal
from mlcore.metrics.learnable.values import values_of
from mlcore.metrics.segments import superpixels

LOW, HIGH = 0.05, 0.95


class IROF(Removal):
    """x′: a share u ~ U(0.05, 0.95) of each image's segments has the image's mean by channel."""

    name: ClassVar[str] = "irof"

    def __init__(self, segments: int = 100) -> None:
        """segments: about how many. Raises ValueError below 2."""
        super().__init__()
        if segments < 2:
            raise ValueError(f"An image is cut into 2 segments or more, not {segments}.")
        self.segments = segments

    def perturb(self, images: Tensor, maps: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images (B, C, H, W) without ⌊u·S⌋ of their S segments, at least one, by mean relevance in maps (B, H, W)."""
        images = images.detach()
        shares = LOW + (HIGH - LOW) * uniform((len(images),), maps.float(), generator)
        heat = upsample(maps.detach(), (images.shape[2], images.shape[3]))
        removed = []
        for image, one, share in zip(images, heat, shares.tolist(), strict=True):
            steps = removal_steps(one, superpixels(image, self.segments))
            removed.append(steps < max(1, int(share * (int(steps.max()) + 1))))
        return torch.where(torch.stack(removed)[:, None], images.mean(dim=(2, 3), keepdim=True), images)

    @torch.no_grad()
    def evaluate(
        self, model: nn.Module, images: Tensor, targets: Tensor, explain: Explain, *, masks: Tensor | None = None
    ) -> Tensor:
        """Mean loss of probability (B,) while segments are removed."""
        metric = Plain(model, segments=self.segments)
        return values_of(metric, len(images), maps=explain(images, targets), images=images, targets=targets)
