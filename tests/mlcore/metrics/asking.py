"""Classifiers whose answers to altered pictures can be worked out, and a method that goes with them."""

import torch
from torch import Tensor, nn


class Brightness(nn.Module):
    """Class 0 scores Σ weight·x, class 1 scores 0: p₀ = σ(Σ weight·x). Counts the images it is asked about."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.drop = nn.Dropout(0.5)
        self.asked = 0

    def forward(self, images: Tensor) -> Tensor:
        self.asked += len(images)
        score = (self.drop(images) * self.weight).sum(dim=(1, 2, 3))
        return torch.stack([score, torch.zeros_like(score)], dim=1)


class ChannelMeans(nn.Module):
    """The score of class k is the mean of channel k."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, images: Tensor) -> Tensor:
        return self.scale * images.mean(dim=(2, 3))


def own_channel(images: Tensor, targets: Tensor) -> Tensor:
    """A method for ChannelMeans: the channel of the class."""
    return images[torch.arange(len(images)), targets]


def pictures(count: int = 3, size: int = 12, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def maps_of(count: int = 3, size: int = 12, seed: int = 1) -> Tensor:
    return torch.rand(count, size, size, generator=torch.Generator().manual_seed(seed))
