"""A set of made-up images whose features are known, and a classifier that counts what it is asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SHAPE = (6, 2, 3)
KEY = {"weights": "w", "layer": "features", "transform": {"image_size": 8}}


def sha256(number: int) -> str:
    return f"{number:064x}"


def items_of(numbers: Sequence[int]) -> list[tuple[str, str]]:
    return [(f"image {number}", sha256(number)) for number in numbers]


def cells_of(numbers: Sequence[int], shape: tuple[int, int, int] = SHAPE) -> Tensor:
    """Raw cells, each image's drawn from its own number."""
    drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(number)) for number in numbers]
    return torch.stack(drawn)


class Counting:
    """Describes the images of `numbers` and remembers which it was asked for, batch by batch."""

    def __init__(self, numbers: Sequence[int], shape: tuple[int, int, int] = SHAPE) -> None:
        self.numbers, self.shape = list(numbers), shape
        self.batches: list[list[int]] = []

    def __call__(self, positions: Sequence[int]) -> Tensor:
        asked = [self.numbers[position] for position in positions]
        self.batches.append(asked)
        return cells_of(asked, self.shape)

    @property
    def asked(self) -> list[int]:
        return [number for batch in self.batches for number in batch]
