"""Average drop and increase in confidence: does the part that the map shows carry the prediction? (definitions §4, §7)

Chattopadhay et al., "Grad-CAM++", WACV 2018; at 50 and 15 % kept: Ntrougkas et al., "TAME", ISM 2022. Give the
predicted class as target. The picture is masked in [0, 1], so that what is not shown is black; pytorch-grad-cam
and the code of ADCC mask the normalised input, where it becomes ImageNet's mean: normalisation="none" does so.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mlcore.metrics.perturbation import NO_PROBABILITY, PerturbationMetric, explained_part


class _Part(PerturbationMetric):
    """Compares the class's probability for the explained part with that for the whole image."""

    base: str

    def __init__(self, model: nn.Module, keep: float = 100.0, **options: Any) -> None:
        """keep: how many % of the pixels are kept, the map's highest. Raises ValueError outside 0 < keep ≤ 100."""
        super().__init__(model, **options)
        if not 0 < keep <= 100:
            raise ValueError(f"Between 0 and 100 % of the pixels can be kept, not {keep}.")
        self.keep = keep
        self.name = self.base if keep == 100 else f"{self.base}_{keep:g}"

    def values(self, maps: Tensor, images: Tensor, targets: Tensor) -> list[float | str]:
        """% of each image."""
        whole = self.unaltered(images, targets)

        def part(index: int, first: int, end: int) -> Tensor:
            one = slice(index, index + 1)
            return explained_part(maps[one], images[one], self.normalisation, self.keep)

        shown = self.engine.series(images, targets, [1] * len(images), part).probability[:, 0]
        found = self.compare(whole, shown).tolist()
        return [
            value if before > 0 or before != before else NO_PROBABILITY
            for value, before in zip(found, whole.tolist(), strict=True)
        ]

    @staticmethod
    def compare(whole: Tensor, shown: Tensor) -> Tensor:
        """% from the probabilities (B,) of the whole images and of what is shown."""
        raise NotImplementedError


class AverageDrop(_Part):
    """100·max(0, p − p′)/p, mean over images."""

    base = "average_drop"

    @staticmethod
    def compare(whole: Tensor, shown: Tensor) -> Tensor:
        """% of its probability that the class loses."""
        return 100 * (whole - shown).clamp(min=0) / whole


class IncreaseInConfidence(_Part):
    """100·[p′ > p], mean over images."""

    base = "increase_in_confidence"

    @staticmethod
    def compare(whole: Tensor, shown: Tensor) -> Tensor:
        """100 where the class gains probability, else 0; not a number stays so."""
        return torch.where(torch.isfinite(shown) & torch.isfinite(whole), 100.0 * (shown > whole), torch.nan)


class AverageDrop50(AverageDrop):
    """Average drop when the lowest 50 % of the pixels are set to zero."""

    def __init__(self, model: nn.Module, **options: Any) -> None:
        super().__init__(model, 50.0, **options)


class AverageDrop15(AverageDrop):
    """Average drop when the lowest 85 % of the pixels are set to zero."""

    def __init__(self, model: nn.Module, **options: Any) -> None:
        super().__init__(model, 15.0, **options)


class IncreaseInConfidence50(IncreaseInConfidence):
    """Increase in confidence when the lowest 50 % of the pixels are set to zero."""

    def __init__(self, model: nn.Module, **options: Any) -> None:
        super().__init__(model, 50.0, **options)


class IncreaseInConfidence15(IncreaseInConfidence):
    """Increase in confidence when the lowest 85 % of the pixels are set to zero."""

    def __init__(self, model: nn.Module, **options: Any) -> None:
        super().__init__(model, 15.0, **options)
