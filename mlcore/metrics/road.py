"""ROAD: does removing the most relevant pixels change the prediction? (definitions §5)

Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", ICML 2022. The
⌊HW·p/100⌋ most relevant pixels, p = 5, 14, …, 86, are filled in from around them (mlcore.metrics.imputation), with
noise on what is filled in, on the normalised input. The value is the share of the ten that change the class.

Where tools differ: Quantus reports the share that keep the class, averaged over images for each p (1 − ours when
averaged over p), with unseeded noise; pytorch-grad-cam reports the change of the class's probability, and solves for
other shares. With noise 0 and one ranking the filled-in pixels agree with Quantus' to 1e-5.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mlcore.attribution.maps import upsample
from mlcore.metrics.imputation import impute
from mlcore.metrics.perturbation import PerturbationMetric, content_seed, ranks

SHARES = tuple(range(5, 87, 9))


class ROAD(PerturbationMetric):
    """Share of removals after which the predicted class is not the target; mean over images. High is good."""

    name = "road"

    def __init__(self, model: nn.Module, noise: float = 0.01, seed: int = 0, **options: Any) -> None:
        """noise: deviation of what is added to filled-in pixels, drawn from the seed and the image's content."""
        super().__init__(model, **options)
        if not noise >= 0:
            raise ValueError(f"The noise's deviation is 0 or more, not {noise}.")
        self.noise = noise
        self.seed = seed

    def values(self, maps: Tensor, images: Tensor, targets: Tensor) -> list[float | str]:
        """Share of each image's removals."""
        height, width = images.shape[2:]
        places = ranks(upsample(maps, (height, width)))
        numbers = torch.tensor([height * width * share // 100 for share in SHARES], device=images.device)

        def copies(index: int, first: int, end: int) -> Tensor:
            removed = places[index] < numbers[first:end, None, None]
            image = images[index].float()
            filled = impute(image.expand(end - first, -1, -1, -1), removed)
            return filled if not self.noise else filled + self._noise(image, first, end) * removed[:, None]

        answers = self.engine.series(images, targets, [len(SHARES)] * len(images), copies)
        changed = (answers.predicted != targets[:, None]).float().mean(1)
        return list(torch.where(torch.isfinite(answers.probability).all(1), changed, torch.nan).tolist())

    def _noise(self, image: Tensor, first: int, end: int) -> Tensor:
        """(end − first, C, H, W): each share has its own, whichever are asked for together."""
        start = content_seed(image, self.seed, "road")
        drawn = [
            torch.randn(image.shape, generator=torch.Generator().manual_seed((start + at) % 2**63))
            for at in range(first, end)
        ]
        return self.noise * torch.stack(drawn).to(image.device)
