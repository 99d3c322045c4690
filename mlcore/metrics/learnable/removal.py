"""Terms that take the most relevant part of each image away: the class shall go with it (definitions §5)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mlcore.attribution.base import class_scores
from mlcore.metrics.learnable.base import LearnableMetric, Step
from mlcore.metrics.learnable.parts import laid_out, with_value
from mlcore.objectives.base import mean_over

EPS = 1e-9


class Removal(LearnableMetric):
    """agreement · mean over images of p(x′)/(p(x) + 1e-9), both probabilities the tuned copy's.

    x′, the image without what its map calls most relevant, has no graph: the term teaches what is said of x and x′,
    not the maps. It costs one forward pass. Images without a usable map are left out of the mean.
    """

    better_higher: ClassVar[bool] = True
    trains_maps: ClassVar[bool] = False

    def loss(self, step: Step) -> Tensor:
        """The term, a scalar; 0 where no image counts."""
        maps = step.maps.detach()
        counted = with_value(maps)
        ratio = step.logits.new_zeros(0)
        if bool(counted.any()):
            altered = laid_out(self.perturb(step.images, maps, step.generator)[counted])
            targets = step.targets[counted]
            after = _probability(class_scores(step.model(altered)), targets)
            ratio = after / (_probability(step.logits[counted], targets) + EPS)
        return step.agreement * mean_over(ratio, counted.sum())


def _probability(logits: Tensor, targets: Tensor) -> Tensor:
    """Softmax (B,) of the target classes, at least float32."""
    wide = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    return wide.softmax(1).gather(1, targets[:, None])[:, 0]
