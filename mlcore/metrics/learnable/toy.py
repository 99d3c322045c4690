"""A small classifier of coloured patches that learns its classes at once: what learnable metrics are tried on."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 24
# Red, green, blue, yellow.
COLOURS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 0.0))
CLASSES = len(COLOURS)


class ToyClassifier(nn.Module):
    """Two convolutions with BatchNorm, a dropout and a head with a hidden layer: (B, 3, H, W) → (B, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Sequential(
            nn.Linear(8 * 16, 16), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Linear(16, CLASSES)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(F.adaptive_avg_pool2d(self.features(images), 4).flatten(1))


def pictures(count: int = 8, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Grey noise with one patch in the colour of the class, normalised: images (count, 3, 24, 24) float64, labels
    (count,), masks (count, 24, 24) bool of the patches. Classes come one after another, so that the images i, b + i,
    2b + i, 3b + i of 4b are of four classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) * CLASSES // max(count, 1)
    images = 0.3 * torch.randn(count, 3, SIZE, SIZE, generator=generator, dtype=torch.float64)
    masks = torch.zeros(count, SIZE, SIZE, dtype=torch.bool)
    places = torch.randint(1, SIZE - 10, (count, 2), generator=generator)
    for mask, (row, column) in zip(masks, places.tolist(), strict=True):
        mask[row : row + 9, column : column + 9] = True
    images += 2.0 * masks[:, None] * torch.tensor(COLOURS, dtype=torch.float64)[labels][:, :, None, None]
    return images, labels, masks


def classifier() -> ToyClassifier:
    """A classifier of its own that knows the classes, float64, in eval mode; each call gives the same weights."""
    return deepcopy(_learned())


@cache
def _learned() -> ToyClassifier:
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(0)
        model = ToyClassifier().train()
        images, labels, _ = pictures(24, seed=1)
        images = images.float()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(40):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
    for parameter in model.parameters():
        parameter.grad = None
    return model.double().eval()
