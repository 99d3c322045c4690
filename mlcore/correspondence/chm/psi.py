"""Shared weights of a Hough kernel, "psi": votes that differ by a rotation, a reflection or a swap of the images count
alike.

A kernel of 5⁴ cells weighs how far a vote's source lies from the centre (a, two offsets) and its target (b). Cells with
equal (larger, smaller of |a|², |b|²; |a − b|²) share one weight: 55. Of the 3 × 3 cells over the scales, numbered by
rows, {4}, {0, 8}, {2, 6} and {1, 3, 5, 7} share. A weight is divided by how many cells of the kernel share it.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn

SPACE = 5
SCALE_GROUPS = ((4,), (0, 8), (2, 6), (1, 3, 5, 7))
# Weights begin as sizes of normal deviates: all votes count for a match, some a little more.
DEVIATION = 1e-3


def space_classes(side: int = SPACE) -> Tensor:
    """Which weight each cell of a side⁴ kernel has: (side, side, side, side) long, source row and column first."""
    half = side // 2
    offsets = range(-half, half + 1)
    keys = []
    for a_row, a_column, b_row, b_column in product(offsets, repeat=4):
        source, target = a_row**2 + a_column**2, b_row**2 + b_column**2
        apart = (a_row - b_row) ** 2 + (a_column - b_column) ** 2
        keys.append((max(source, target), min(source, target), apart))
    numbers = {key: number for number, key in enumerate(sorted(set(keys)))}
    return torch.tensor([numbers[key] for key in keys]).view(side, side, side, side)


class PsiKernel(nn.Module):
    """Weights and bias of a Hough layer: 55 weights for one scale, 4 × 55 over 3 × 3 scales.

    Calling it gives the dense kernels (groups, 5, 5, 5, 5), one for each group of scale cells, each weight divided by
    the number of cells that share it. They are even: opposite offsets have the same weight.

    votes: what is added at the beginning to the weights, together, of votes that lie equally far in the same direction
    in both images, at equal scales; bias: its beginning.
    """

    classes: Tensor
    shared: Tensor

    def __init__(self, groups: tuple[tuple[int, ...], ...] = ((0,),), *, votes: float = 0.0, bias: float = 0.0) -> None:
        super().__init__()
        classes = space_classes()
        alike = classes.flatten(2).flatten(0, 1).diagonal().unique()
        count = torch.bincount(classes.flatten())
        self.groups = groups
        self.weight = nn.Parameter(torch.randn(len(groups), len(count)).abs() * DEVIATION)
        self.weight.data[0, alike] += votes / len(alike)
        self.bias = nn.Parameter(torch.tensor(float(bias)))
        sizes = torch.tensor([len(group) for group in groups])
        self.register_buffer("classes", classes, persistent=False)
        self.register_buffer("shared", (sizes[:, None] * count).to(self.weight.dtype), persistent=False)

    def forward(self) -> Tensor:
        return (self.weight / self.shared)[:, self.classes]
