"""What the tester of all metrics measures: a classifier of single pixels, pictures with one bright patch, people."""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.catalogue import METRICS as SPECS
from mlcore.metrics import make
from mlcore.metrics.base import feed
from mlcore.metrics.inputs import IMAGENET

SIZE = 24
NAMES = ("rook", "crow", "wren", "kite")
TARGETS = torch.tensor([0, 2, 1, 0])
PATCHES = ((3, 3), (3, 12), (11, 4), (12, 12))  # upper left corners of 8×8 patches, none at an edge

SMALL: dict[str, dict[str, Any]] = {
    "deletion": {"steps": 6},
    "insertion": {"steps": 6},
    "irof": {"segments": 9},
    "input_stability": {"copies": 3},
    "relative_input_stability": {"copies": 3},
}


class Pixels(nn.Module):
    """Score of class k: 8 × the mean of colour k, pixel by pixel; BatchNorm and dropout that eval mode makes inert."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3))
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(3, 3)
        with torch.no_grad():
            self.features[0].weight.copy_(torch.eye(3)[:, :, None, None])
            self.fc.weight.copy_(8 * torch.eye(3))
            self.fc.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.drop(self.features(images).mean((2, 3))))


class Colour:
    """A method: the target's own colour, brightest where the class is (or everywhere else)."""

    def __init__(self, *, wrong: bool = False, wild: bool = False) -> None:
        self.wrong, self.wild = wrong, wild

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        colour = IMAGENET.to_unit(images)[torch.arange(len(images)), targets]
        if self.wild:
            colour = (1e4 * colour).sin()
        return 1 - colour if self.wrong else colour


def classifier() -> Pixels:
    """In train mode, half of it frozen in eval mode, with gradients from a step before."""
    model = Pixels().train()
    model(torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))).sum().backward()
    nn.init.zeros_(model.features[1].running_mean)
    nn.init.ones_(model.features[1].running_var)
    model.drop.eval()
    model.fc.bias.requires_grad_(False)
    return model


def patches() -> Tensor:
    """Where each picture's object is: (4, 24, 24) bool."""
    found = torch.zeros(len(NAMES), SIZE, SIZE, dtype=torch.bool)
    for mask, (row, column) in zip(found, PATCHES, strict=True):
        mask[row : row + 8, column : column + 8] = True
    return found


def batch() -> dict[str, Any]:
    """Everything that a metric may take, of four pictures."""
    generator = torch.Generator().manual_seed(7)
    masks = patches()
    pictures = 0.1 + 0.2 * torch.rand(len(NAMES), 3, SIZE, SIZE, generator=generator)
    for row, target in enumerate(TARGETS.tolist()):
        pictures[row, target] += 0.6 * masks[row]
    coarse = F.avg_pool2d(masks[:, None].float(), 3)[:, 0] + 0.5 * torch.rand(len(NAMES), 8, 8, generator=generator)
    coarse -= 0.2
    people = masks.float() * (0.4 + 0.6 * torch.rand(len(NAMES), SIZE, SIZE, generator=generator))
    people[:, 0] = float("nan")
    logits = torch.randn(len(NAMES), 3, generator=generator)
    return {
        "maps": coarse,
        "names": list(NAMES),
        "masks": masks,
        "people": people,
        "images": IMAGENET.from_unit(pictures),
        "targets": TARGETS,
        "logits": logits,
        "labels": torch.tensor([int(logits[0].argmax()), 0, 0, 0]),
    }


def rows(given: dict[str, Any], chosen: list[int]) -> dict[str, Any]:
    """Some pictures of a batch, in this order."""
    return {
        key: value[chosen] if isinstance(value, Tensor) else [value[row] for row in chosen]
        for key, value in given.items()
    }


def fresh(name: str, model: nn.Module | None = None, **options: Any) -> Any:
    """The metric with small options, given a classifier and a method where it asks for them."""
    options = {"explain": Colour()} | SMALL.get(name, {}) | options
    needs = SPECS[name].needs
    return make(name, model=classifier() if model is None and "model" in needs else model, **options)


def values(name: str, given: dict[str, Any], **options: Any) -> dict[str, float]:
    """The value of each picture."""
    metric = fresh(name, **options)
    feed(metric, given)
    metric.compute()
    return dict(metric.per_image)


@cache
def usual(name: str) -> dict[str, float]:
    """The value of each picture of `batch`, worked out once."""
    return values(name, batch())
