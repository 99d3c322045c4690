"""What every learnable metric is: a score of maps, and a term that a copy of the classifier is tuned by.

After HARMONY (definitions §5). The tuned copy and the original see each batch once; whatever a term needs of that pass
stands in `Step`, so that nothing is computed twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

Explain = Callable[[Tensor, Any], Tensor]
"""(images (B, 3, H, W), targets (B,)) → maps (B, H, W): clamped at 0, bilinear at the images' size.

Instead of classes, targets may be a function of the logits (B, K) that gives them: one pass then does for both.
"""


@dataclass
class Step:
    """One batch of the tuning, as one pass of both classifiers left it.

    images (B, 3, H, W) normalised; targets (B,) the original's predictions; original (B, K) its logits, without graph;
    logits (B, K) of the tuned copy, with graph; maps (B, H, W) of the tuned copy for `targets`, clamped at 0, at the
    images' size, with a graph where the metric's `trains_maps` says so; masks (B, H, W) bool or None, the objects.
    model: the tuned copy in eval mode; explain: its maps of other images, with graph; agreement: share of the previous
    batch on which both classifiers said the same (1 before the first). generator: this step's chance, seeded, on the
    CPU whatever device the images are on.
    """

    model: nn.Module
    images: Tensor
    targets: Tensor
    original: Tensor
    logits: Tensor
    maps: Tensor
    explain: Explain
    masks: Tensor | None = None
    agreement: float = 1.0
    generator: torch.Generator | None = None


class LearnableMetric(ABC):
    """A metric that a copy of a classifier can be tuned for.

    better_higher: whether a high score is good. trains_maps: whether the term goes back through `Step.maps`.
    uses_maps: whether it looks at them at all; where not, they are not made and stand there as zeros.
    needs_masks: whether score and term need the objects. group: how many images are scored together, as a mosaic's
    four are: i, b + i, 2b + i, … of a batch of group · b; fewer have no score. options: the metric's own (`fields` of
    its spec).
    """

    name: ClassVar[str]
    better_higher: ClassVar[bool]
    trains_maps: ClassVar[bool] = True
    uses_maps: ClassVar[bool] = True
    needs_masks: ClassVar[bool] = False
    group: ClassVar[int] = 1

    def __init__(self, **options: Any) -> None:
        if options:
            raise TypeError(f"{type(self).__name__} has no option {', '.join(options)}.")

    @abstractmethod
    def perturb(self, images: Tensor, maps: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What the metric shows the classifier besides the images, without graph; the images where it shows nothing."""

    @abstractmethod
    def evaluate(
        self, model: nn.Module, images: Tensor, targets: Tensor, explain: Explain, *, masks: Tensor | None = None
    ) -> Tensor:
        """Score of each image (B,), float64, NaN where there is none; equal to the plain metric's values.

        No graph; model in eval mode. Raises ValueError where masks are needed and missing.
        """

    @abstractmethod
    def loss(self, step: Step) -> Tensor:
        """The term, a scalar with graph; its weight c is not in it. Images without a value count as nothing."""
