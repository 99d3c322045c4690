"""A small classifier for small pictures: six 3x3 convolutions, a global average pool, one linear layer.

It exists for demonstrations and tests that have to train within seconds on a processor. A 96x96 picture
gives a 12x12 map at ``features``, fine enough to see where the network looks, and the head is linear on the
pooled map, so that Grad-CAM has its closed form.
"""

from __future__ import annotations

import torch
from torch import nn

CHANNELS: tuple[int, ...] = (16, 32, 32, 64, 96, 96)
STRIDES: tuple[int, ...] = (2, 1, 2, 1, 2, 1)


class SixConv(nn.Module):
    """(B, 3, H, W) pictures to (B, num_classes) logits; ``features`` gives (B, 96, H / 8, W / 8), rounded up.

    Each convolution is followed by BatchNorm and ReLU; the first, third and fifth have stride 2, which costs
    less than half of what pooling would.
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for after, stride in zip(CHANNELS, STRIDES, strict=True):
            layers += [
                nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
            before = after
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(before, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (B, num_classes)."""
        return self.classifier(torch.flatten(self.avgpool(self.features(images)), 1))
