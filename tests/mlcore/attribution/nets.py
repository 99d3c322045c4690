"""Small networks whose maps can be worked out, and losses that can be differentiated by hand."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.objectives.batch import Batch


def trunk(width: int = 6) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3)
    )


class PoolLinear(nn.Module):
    """Global average pool, dropout, linear."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.features = trunk()
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(6, classes)

    def forward(self, images: Tensor) -> Tensor:
        features = F.adaptive_avg_pool2d(self.features(images), (1, 1))
        return self.fc(self.drop(features.view(features.size(0), -1)))


class MeanLinear(PoolLinear):
    """The same by `.mean`, as MNASNet does."""

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.features(images).mean([2, 3]))


class ReluPool(PoolLinear):
    """A ReLU before the pool, in place, as in DenseNet."""

    def forward(self, images: Tensor) -> Tensor:
        features = F.relu(self.features(images), inplace=True)
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(features, (1, 1)), 1))


class ConvPool(nn.Module):
    """1×1 convolution and pool; with a ReLU between them it is SqueezeNet's head."""

    def __init__(self, classes: int = 4, *, relu: bool) -> None:
        super().__init__()
        self.features = trunk()
        between = [nn.ReLU(inplace=True)] if relu else []
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), nn.Conv2d(6, classes, 1), *between, nn.AdaptiveAvgPool2d((1, 1))
        )

    def forward(self, images: Tensor) -> Tensor:
        return torch.flatten(self.classifier(self.features(images)), 1)


class PoolConv(nn.Module):
    """Pool, then a 1×1 convolution as the linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = trunk()
        self.classifier = nn.Conv2d(6, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(F.adaptive_avg_pool2d(self.features(images), 1)).flatten(1)


class Curved(nn.Module):
    """A head with a bend in it: no closed form. Smooth, so that finite differences hold."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(4, 3, 3))
        self.hidden = nn.Linear(3, 5)
        self.fc = nn.Linear(5, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(torch.tanh(self.hidden(self.features(images).mean((2, 3)))))


class Straight(Curved):
    """The same features with a linear head."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__(classes)
        self.hidden = nn.Identity()
        self.fc = nn.Linear(3, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.features(images).mean((2, 3)))


class Transparent(nn.Module):
    """Features = the image's own channels, score of class k = mean of channel k: all worked out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)
        self.fc = nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.eye(3)[:, :, None, None])
            self.fc.weight.copy_(torch.eye(3))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.features(images).mean((2, 3)))


def images(count: int = 3, size: int = 20, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 3, size, size, dtype=dtype, generator=torch.Generator().manual_seed(5))


def drawn_batch(count: int = 3, size: int = 20, classes: int = 3, dtype: torch.dtype = torch.float64) -> Batch:
    """Every image with a drawn rectangle, unimportant around it, an unknown strip; different weights."""
    batch = Batch.plain(images(count, size, dtype), torch.arange(count) % classes)
    batch.maps = torch.full((count, size, size), -1, dtype=torch.int8)
    for index in range(count):
        batch.maps[index, 2 + index : 9 + index, 4 : 12 + index] = 1
    batch.maps[:, :, size - 4 :] = 0
    batch.has_map = torch.ones(count, dtype=torch.bool)
    batch.w_p = torch.linspace(0.4, 1.0, count, dtype=dtype)
    batch.w_a = torch.linspace(1.6, 0.2, count, dtype=dtype)
    return batch


def finite_differences(value: Callable[[], float], parameter: Tensor, step: float = 1e-6) -> Tensor:
    """∂value/∂parameter, entry by entry, from both sides."""
    flat = parameter.data.view(-1)
    result = torch.zeros_like(flat)
    for index in range(len(flat)):
        kept = float(flat[index])
        flat[index] = kept + step
        above = value()
        flat[index] = kept - step
        below = value()
        flat[index] = kept
        result[index] = (above - below) / (2 * step)
    return result.view_as(parameter)
