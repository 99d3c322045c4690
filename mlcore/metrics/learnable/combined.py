"""Combined: a weighted sum of learnable metrics (definitions §5; HARMONY's released one is a copy of RMA)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from mlcore.catalogue.learnable import parts_of
from mlcore.metrics.learnable.base import Explain, LearnableMetric, Step
from mlcore.metrics.learnable.registry import make
from mlcore.metrics.learnable.values import Remembered


class Combined(LearnableMetric):
    """Term: Σ w·term. Score: Σ ±w·score, minus where low is good; NaN where one of them has none.

    parts: "name=weight, name=weight"; a weight is that of the metric's term, each with its own default options.
    All terms look at one and the same pass. Raises ValueError where parts cannot be read.
    """

    name: ClassVar[str] = "combined"
    better_higher: ClassVar[bool] = True

    def __init__(self, parts: str = "rma=0.05,focus=0.01") -> None:
        super().__init__()
        self.parts: list[tuple[float, LearnableMetric]] = [
            (weight, make(name)) for name, weight in parts_of(parts).items()
        ]
        metrics = [metric for _, metric in self.parts]
        self.trains_maps = any(metric.trains_maps for metric in metrics)  # type: ignore[misc]
        self.uses_maps = any(metric.uses_maps for metric in metrics)  # type: ignore[misc]
        self.needs_masks = any(metric.needs_masks for metric in metrics)  # type: ignore[misc]
        self.group = math.lcm(*(metric.group for metric in metrics))  # type: ignore[misc]

    def perturb(self, images: Tensor, maps: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The images: what its parts show is theirs."""
        return images

    def evaluate(
        self, model: nn.Module, images: Tensor, targets: Tensor, explain: Explain, *, masks: Tensor | None = None
    ) -> Tensor:
        """Weighted sum (B,) of the scores, signed so that high is good."""
        once = Remembered(explain)
        return torch.stack(
            [
                (weight if metric.better_higher else -weight)
                * metric.evaluate(model, images, targets, once, masks=masks)
                for weight, metric in self.parts
            ]
        ).sum(0)

    def loss(self, step: Step) -> Tensor:
        """Weighted sum of the terms, a scalar."""
        return torch.stack([weight * metric.loss(step) for weight, metric in self.parts]).sum()
