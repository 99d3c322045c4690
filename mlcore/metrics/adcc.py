"""ADCC: one number from average drop, coherency and complexity (definitions §7).

Poppi et al., "Revisiting the Evaluation of Class Activation Mapping for Explainability", CVPR Workshops 2021:
3 / (1/coherency + 1/(1 − complexity) + 1/(1 − average drop)), each in [0, 1].
Coherency: Pearson's ρ, pixel by pixel, of the map and of the map of what the map shows, as (ρ + 1)/2, as the paper and
its code do. Complexity: mean of the map, min–max. Average drop: as in mlcore.metrics.average_drop, as a share.

The released code masks the normalised input (normalisation="none"), and writes 3·(…) for 3/(…); a second map without
a correlation counts there as coherency 0, and so here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mlcore.attribution.maps import evaluation_map, status
from mlcore.metrics.perturbation import NO_PROBABILITY, Explain, PerturbationMetric, explained_part


class ADCC(PerturbationMetric):
    """Harmonic mean of coherency, 1 − complexity and 1 − average drop, in %; mean over images."""

    name = "adcc"

    def __init__(self, model: nn.Module, explain: Explain, **options: Any) -> None:
        """explain: (images, targets) → maps (B, h, w), the method that the maps are from."""
        super().__init__(model, **options)
        self.explain = explain

    def values(self, maps: Tensor, images: Tensor, targets: Tensor) -> list[float | str]:
        """% of each image."""
        whole = self.unaltered(images, targets)
        parts = explained_part(maps, images, self.normalisation).to(images.dtype)
        shown = self.engine.series(images, targets, [1] * len(images), lambda index, *_: parts[index : index + 1])
        at_once = self.engine.size_for(images)
        again = torch.cat(
            [
                self.explain(some, classes).detach().to(images.device).float()
                for some, classes in zip(parts.split(at_once), targets.split(at_once), strict=True)
            ]
        )
        size = (images.shape[2], images.shape[3])
        heat = evaluation_map(maps, size, relu=False)
        coherency = coherencies(heat, evaluation_map(again, size, relu=False))
        usable = torch.tensor([state == "ok" for state in status(again)], device=images.device)
        simplicity = 1 - heat.mean(dim=(1, 2))
        kept = 1 - (whole - shown.probability[:, 0]).clamp(min=0) / whole
        parts_of_mean = torch.stack([torch.where(usable, coherency, 0.0), simplicity, kept])
        # With a zero among them the harmonic mean is zero: 1/0 is infinite, 3/∞ is 0.
        found = (100 * 3 / (1 / parts_of_mean).sum(0)).tolist()
        return [
            value if before > 0 or before != before else NO_PROBABILITY
            for value, before in zip(found, whole.tolist(), strict=True)
        ]


def coherencies(first: Tensor, second: Tensor) -> Tensor:
    """(ρ + 1)/2 of maps (B, H, W), pixel by pixel; NaN where one is constant."""
    a = first.flatten(1) - first.flatten(1).mean(1, keepdim=True)
    b = second.flatten(1) - second.flatten(1).mean(1, keepdim=True)
    rho = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return (rho.clamp(-1, 1) + 1) / 2
