"""Small networks with what real ones have: BatchNorm, in-place ReLUs, a residual, pools, a head with a bend in it."""

import torch
from torch import Tensor, nn


class Plain(nn.Module):
    """VGG-like: convolutions with BatchNorm, max pool, two linear layers; every layer a module of its own."""

    def __init__(self, *, norm: bool = True, bias: bool = True) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, bias=bias),
            nn.BatchNorm2d(6) if norm else nn.Identity(),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, bias=bias),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.ReLU(inplace=True),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((3, 3))
        self.classifier = nn.Sequential(nn.Linear(72, 10, bias=bias), nn.ReLU(), nn.Linear(10, 4, bias=bias))

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(images)), 1))


class Add(nn.Module):
    """Both branches of a residual added; a library that works on modules puts its own in its place."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return first + second


class Residual(nn.Module):
    """A residual around two convolutions, then global average pool and linear."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU())
        self.first = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.add = Add()
        self.last = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        kept = self.stem(images)
        return self.fc(torch.flatten(self.avgpool(self.last(self.add(self.second(self.first(kept)), kept))), 1))


def seeded(net: nn.Module, seed: int = 1) -> nn.Module:
    """Weights and running statistics drawn from a seed; eval mode, double precision."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*net.named_parameters(), *net.named_buffers()]:
            if value.dtype.is_floating_point:
                drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64) * 0.4
                if name.endswith("running_var") or (name.endswith("weight") and value.dim() == 1):
                    drawn = drawn.abs() + 0.5
                value.copy_(drawn)
    return net.double().eval()


def images(count: int = 3, size: int = 18) -> Tensor:
    return torch.randn(count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
