"""What the tester of all methods explains: a small network with everything that goes wrong in it, and small options."""

import random
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlcore.attribution import METHODS
from mlcore.attribution.base import Attribution
from mlcore.attribution.l_cam import LCAMAttention
from mlcore.attribution.tame import TAMEAttention
from mlcore.catalogue import METHODS as SPECS
from tests.mlcore.attribution.test_side_effects import Breaks, traces

CLASSES = 3
SIZE = 17  # odd, so that strides of two fall on the same cells from the left and from the right
TARGETS = torch.tensor([0, 2, 1])

SMALL: dict[str, dict[str, Any]] = {
    "score_cam": {"chunk": 5},
    "integrated_gradients": {"steps": 4},
    "smooth_grad": {"samples": 3},
    "rise": {"masks": 12, "cells": 4, "chunk": 5},
}


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, values: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(values)))))
        out += values
        return self.relu(out)


class Net(nn.Module):
    """BatchNorm, ReLU in place, a max pool, a residual sum in place, dropout; and two places where it can break."""

    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True), Breaks(),
            nn.MaxPool2d(3, 2, 1), Residual(width),
        )  # fmt: skip
        self.late = Breaks()
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(width, CLASSES)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.fc(self.drop(self.late(self.features(pictures).mean((2, 3)))))


def net(dtype: torch.dtype = torch.float64) -> Net:
    """With statistics of its own, frozen half in train and half in eval mode, gradients from a step before."""
    torch.manual_seed(1)
    model = Net().to(dtype).train()
    model(pictures(dtype)).sum().backward()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    model.features[1].eval()
    model.fc.bias.requires_grad_(False)
    model.fc.bias.grad = torch.ones_like(model.fc.bias)
    return model


def pictures(dtype: torch.dtype = torch.float64, count: int = 3) -> Tensor:
    return torch.randn(count, 3, SIZE, SIZE, dtype=dtype, generator=torch.Generator().manual_seed(6))


def method_for(name: str, model: nn.Module, **options: Any) -> Attribution:
    """The method with small options; a trained attention is stood in for by a random one in train mode."""
    options = SMALL.get(name, {}) | options
    if "attention" in SPECS[name].needs and "attention" not in options:
        torch.manual_seed(8)
        kind = next(model.parameters()).dtype
        if name == "tame":
            attention: nn.Module = TAMEAttention.for_model(model, ("features.2", "features.5"), size=SIZE)
        else:
            attention = LCAMAttention.for_model(model, size=SIZE)
        options["attention"] = attention.to(next(model.parameters()).device, kind).train()
    return METHODS[name](model, **options)


def mirrored(model: Net) -> Net:
    """The network that sees the mirrored picture as this one sees the picture."""
    other = deepcopy(model)
    for module in other.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.flip(-1)
    return other


def all_traces(method: Attribution) -> dict[str, Any]:
    """What must be the same afterwards, of the classifier, of an attention and of every source of chance."""
    found = traces(method.model)
    found["python chance"] = random.getstate()
    found["numpy chance"] = [repr(part) for part in np.random.get_state()]
    found["threads"] = torch.get_num_threads()
    found["options"] = sorted(name for name in vars(method))
    attention = getattr(method, "attention", None)
    if attention is not None:
        found |= {f"attention {name}": value.clone() for name, value in attention.state_dict().items()}
        found |= {f"attention {name} mode": module.training for name, module in attention.named_modules()}
        found["attention grad"] = all(parameter.grad is None for parameter in attention.parameters())
    return found
