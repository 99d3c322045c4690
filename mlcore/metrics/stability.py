"""How much does the map change when the image hardly does? (definitions §5)

Input stability (IS), as HARMONY computes it, and relative input stability (RIS), Agarwal et al., "Rethinking Stability
for Attribution-based Explanations", 2022. Maps are clamped at 0 and bilinear at the image's size. Noise is drawn
from the seed and the image's content, so that it does not depend on the batch.

Where tools differ: Quantus' RIS becomes NaN when one noisy copy changes the prediction, unless it is told not to
(return_nan_when_prediction_changes=False); ours keeps the class that is asked about. The objective of given copies
and maps is the same (1e-5, relative).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mlcore.attribution.base import untouched
from mlcore.attribution.maps import upsample
from mlcore.metrics.base import ZERO_MAP
from mlcore.metrics.perturbation import Explain, PerturbationMetric, content_seed

UNSTABLE = "non-finite map of a noisy copy"


class _Stability(PerturbationMetric):
    """The largest relative change over noisy copies of each image."""

    purpose: ClassVar[str]

    def __init__(self, model: nn.Module, explain: Explain, copies: int, seed: int = 0, **options: Any) -> None:
        """explain: (images, targets) → maps (B, h, w), the method that the maps are from. copies: how many."""
        super().__init__(model, **options)
        if copies < 1:
            raise ValueError(f"There must be 1 noisy copy or more, not {copies}.")
        self.explain = explain
        self.copies = copies
        self.seed = seed

    def values(self, maps: Tensor, images: Tensor, targets: Tensor) -> list[float | str]:
        """The largest change of each image's map."""
        found: list[float | str] = []
        with untouched(self.engine.model):
            for heat, image, target in zip(maps, images, targets, strict=True):
                clean = self._comparable(heat[None], image)[0]
                if not bool(clean.any()):
                    found.append(ZERO_MAP)
                    continue
                largest = self._largest(clean, image, target)
                found.append(largest if largest is not None else UNSTABLE)
        return found

    def _largest(self, clean: Tensor, image: Tensor, target: Tensor) -> float | None:
        generator = torch.Generator().manual_seed(content_seed(image, self.seed, self.purpose))
        whole = image.float()
        prepared = self.prepare(clean, whole)
        largest = torch.zeros((), device=image.device)
        done = 0
        while done < self.copies:
            count = min(self.engine.size_for(image[None]), self.copies - done)
            noise = self.draw(count, whole.shape, generator).to(image.device)
            copies = whole + noise
            maps = self.explain(copies.to(image.dtype), target.expand(count))
            heat = self._comparable(maps.detach().to(image.device).float(), image)
            largest = torch.maximum(largest, self.changes(prepared, heat, copies, noise).amax())
            done += count
        return float(largest) if bool(torch.isfinite(largest)) else None

    @staticmethod
    def _comparable(maps: Tensor, image: Tensor) -> Tensor:
        return upsample(maps.clamp(min=0), (image.shape[1], image.shape[2]))

    @abstractmethod
    def draw(self, count: int, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """Noise (count, C, H, W), the same however many are drawn at a time."""

    @abstractmethod
    def prepare(self, clean: Tensor, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What does not change from copy to copy: the clean map, and what relative changes of map and image are
        divided by, inverted."""

    @abstractmethod
    def changes(self, prepared: tuple[Tensor, Tensor, Tensor], maps: Tensor, copies: Tensor, noise: Tensor) -> Tensor:
        """Relative change (count,) of each copy's map (count, H, W)."""


class InputStability(_Stability):
    """Σ|Δr/(r + 1e-9)| ÷ (Σ|Δx/(x + 1e-9)| + 1e-9), maps ÷ max|r|; the largest of the copies. Low is good."""

    name = "input_stability"
    purpose = "input stability"

    def __init__(
        self, model: nn.Module, explain: Explain, copies: int = 20, noise: float = 0.05, seed: int = 0, **options: Any
    ) -> None:
        """noise: its deviation, on the normalised input. Raises ValueError below 0 or without a copy."""
        super().__init__(model, explain, copies, seed, **options)
        if not noise >= 0:
            raise ValueError(f"The noise's deviation is 0 or more, not {noise}.")
        self.noise = noise

    def draw(self, count: int, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """N(0, noise²)."""
        return self.noise * torch.stack([torch.randn(shape, generator=generator) for _ in range(count)])

    def prepare(self, clean: Tensor, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The clean map ÷ its maximum, 1/(r + 1e-9), 1/(x + 1e-9)."""
        clean = clean / clean.amax()
        return clean, 1 / (clean + 1e-9), 1 / (image + 1e-9)

    def changes(self, prepared: tuple[Tensor, Tensor, Tensor], maps: Tensor, copies: Tensor, noise: Tensor) -> Tensor:
        """By sums of absolute values. A copy's map that is zero stays zero."""
        clean, by_map, by_image = prepared
        top = maps.amax(dim=(1, 2), keepdim=True)
        maps = maps / torch.where(top == 0, 1.0, top)
        map_change = ((maps - clean) * by_map).abs().sum(dim=(1, 2))
        return map_change / ((noise * by_image).abs().sum(dim=(1, 2, 3)) + 1e-9)


class RelativeInputStability(_Stability):
    """‖Δr/r‖₂ ÷ ‖Δx/x‖₂, 1e-6 in the place of zeros; noise U(0.02, 0.2); the largest of the copies. Low is good."""

    name = "relative_input_stability"
    purpose = "relative input stability"
    low, high, eps = 0.02, 0.2, 1e-6

    def __init__(self, model: nn.Module, explain: Explain, copies: int = 200, seed: int = 0, **options: Any) -> None:
        super().__init__(model, explain, copies, seed, **options)

    def draw(self, count: int, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """U(0.02, 0.2)."""
        return torch.rand(count, *shape, generator=generator).mul_(self.high - self.low).add_(self.low)

    def prepare(self, clean: Tensor, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The clean map, 1/r and 1/x with 1e-6 in the place of zeros."""
        return clean, 1 / torch.where(clean == 0, self.eps, clean), 1 / torch.where(image == 0, self.eps, image)

    def changes(self, prepared: tuple[Tensor, Tensor, Tensor], maps: Tensor, copies: Tensor, noise: Tensor) -> Tensor:
        """By L2 norms."""
        clean, by_map, by_image = prepared
        map_change = (maps - clean).mul_(by_map).flatten(1).norm(dim=1)
        image_change = (noise * by_image).flatten(1).norm(dim=1)
        return map_change / torch.where(image_change == 0, self.eps, image_change)
