"""A multigrid cycle for equations of removed pixels among their neighbours (Briggs et al., A Multigrid Tutorial, 2000).

Every second pixel of every second row is a pixel of the coarser level; bilinear interpolation between them
knows which pixels are free, and each coarser operator is PᵀAP, so that holes of any shape, down to single pixels,
are seen on every level. One cycle is a symmetric positive approximation of the inverse.

Pictures are rows (N, C, n), each with a ring of zeros around it: a shift of the picture is a shift of the row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

DAMPING = 0.9  # of the smoothing by the diagonal
COARSEST = 11  # sides (ring included) at which a level is inverted directly
SHARE_OF_DIAGONAL = 1e-4  # that is added there, for a matrix that may be singular


@dataclass(frozen=True)
class Grid:
    """A level's shape (ring included, sides odd) and the way to the next coarser one."""

    shape: tuple[int, int]

    @property
    def nodes(self) -> tuple[int, int]:
        """Pixels of the coarser level."""
        return (self.shape[0] - 1) // 2, (self.shape[1] - 1) // 2

    @property
    def coarse(self) -> tuple[int, int]:
        """The coarser level's shape: a ring, and a line that is never free where a side would be even."""
        rows, columns = self.nodes
        return (rows | 1) + 2, (columns | 1) + 2

    def restrict(self, x: Tensor) -> Tensor:
        """4·Pᵀ: (N, C, n) → (N, C, coarse n); weights [1 2 1] ⊗ [1 2 1] around every node."""
        x = x.view(*x.shape[:-1], *self.shape)
        lines = x[..., :-2:2, :] + x[..., 2::2, :]
        lines.add_(x[..., 1:-1:2, :], alpha=2)
        y = x.new_zeros(*x.shape[:-2], *self.coarse)
        inner = y[..., 1 : 1 + self.nodes[0], 1 : 1 + self.nodes[1]]
        torch.add(lines[..., :-2:2], lines[..., 2::2], out=inner)
        inner.add_(lines[..., 1:-1:2], alpha=2)
        return y.flatten(-2)

    def prolong(self, x: Tensor) -> Tensor:
        """4·P, also on pixels that are not free: (N, C, coarse n) → (N, C, n)."""
        rows, columns = self.nodes
        nodes = x.view(*x.shape[:-1], *self.coarse)[..., 1 : 1 + rows, 1 : 1 + columns]
        lines = x.new_zeros(*x.shape[:-1], rows, self.shape[1])
        torch.mul(nodes, 2, out=lines[..., 1:-1:2])
        torch.add(nodes[..., :-1], nodes[..., 1:], out=lines[..., 2:-2:2])
        y = x.new_zeros(*x.shape[:-1], *self.shape)
        torch.mul(lines, 2, out=y[..., 1:-1:2, :])
        torch.add(lines[..., :-1, :], lines[..., 1:, :], out=y[..., 2:-2:2, :])
        return y.flatten(-2)


class Stencil:
    """A symmetric operator with nine coefficients a pixel on rows (N, C, n); 0 where nothing is free."""

    def __init__(self, coefficients: Tensor, width: int) -> None:
        """coefficients (N, 9, n), of the neighbours in reading order."""
        self.edge = width + 1
        self.shifts = [row * width + column for row in (-1, 0, 1) for column in (-1, 0, 1)]
        self.coefficients = [one[:, None].contiguous() for one in coefficients.unbind(1)]
        self.diagonal = self.coefficients[4]
        self.free = (self.diagonal > 1e-6).float()
        # By half of the row's absolute sum, the diagonal itself where neighbours balance it: nodes that see the same
        # few free pixels would make plain Jacobi diverge, this one never.
        whole = torch.stack(self.coefficients).abs().sum(0)
        self.smoothing = 2 * DAMPING * self.free / whole.clamp(min=1e-6)

    def __call__(self, x: Tensor) -> Tensor:
        y = self.diagonal * x
        last = x.shape[-1] - self.edge
        inner = y[..., self.edge : last]
        for shift, coefficient in zip(self.shifts, self.coefficients, strict=True):
            if shift:
                inner.addcmul_(coefficient[..., self.edge : last], x[..., self.edge + shift : last + shift])
        return y


class Levels:
    """The levels under the finest one: operators made from the coefficients (N, 9, n) of its PᵀAP."""

    def __init__(self, coefficients: Tensor, shape: tuple[int, int]) -> None:
        self.operators = [Stencil(coefficients, shape[1])]
        self.grids: list[Grid] = []
        while max(shape) > COARSEST:
            operator, grid = self.operators[-1], Grid(shape)
            seen = operator(probes(shape, coefficients.device) * operator.free)
            shape = grid.coarse
            self.grids.append(grid)
            self.operators.append(Stencil(as_coefficients(grid.restrict(seen) / 16, grid), shape[1]))
        self.inverse = _inverse(self.operators[-1], shape)

    def cycle(self, residual: Tensor, level: int = 0) -> Tensor:
        """About A⁻¹·residual: (N, C, n) → (N, C, n)."""
        if level == len(self.grids):
            return residual @ self.inverse
        operator, grid = self.operators[level], self.grids[level]
        first = operator.smoothing * residual
        coarse = self.cycle(grid.restrict(residual - operator(first)) / 16, level + 1)
        z = first.addcmul(grid.prolong(coarse), operator.free)
        return z.addcmul(operator.smoothing, residual - operator(z))


@lru_cache(maxsize=64)
def probes(shape: tuple[int, int], device: torch.device) -> Tensor:
    """Nine patterns (1, 9, n): 4·P of every third node of every third row; a node's neighbourhood has one of each."""
    grid = Grid(shape)
    colour = _colours(grid.coarse, device)
    within = torch.zeros(grid.coarse, device=device)
    within[1 : 1 + grid.nodes[0], 1 : 1 + grid.nodes[1]] = 1
    return grid.prolong(torch.stack([within * (colour == number) for number in range(9)])[None].flatten(-2))


def as_coefficients(seen: Tensor, grid: Grid) -> Tensor:
    """What an operator makes of the nine patterns (N, 9, coarse n) → a node's nine coefficients (N, 9, coarse n)."""
    return seen.gather(1, _places(grid.coarse, seen.device).expand(len(seen), -1, -1))


@lru_cache(maxsize=64)
def _places(shape: tuple[int, int], device: torch.device) -> Tensor:
    """Which pattern shows a node's neighbour: (1, 9, n), neighbours in reading order."""
    colours = [_colours(shape, device, down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return torch.stack(colours).flatten(-2)[None]


def _colours(shape: tuple[int, int], device: torch.device, down: int = 0, right: int = 0) -> Tensor:
    rows, columns = (torch.arange(side, device=device) for side in shape)
    return ((rows + down) % 3)[:, None] * 3 + ((columns + right) % 3)[None]


def _inverse(operator: Stencil, shape: tuple[int, int]) -> Tensor:
    """The inverse (N, n, n) on pictures of a few pixels; 0 where nothing is free.

    Symmetric and positive to the last bit, as conjugate gradients need it: made from a Cholesky factor in double
    precision of the matrix scaled to a diagonal of ones, for a node that sees little has a small diagonal (1e-5 and
    less). Nodes that see the same free pixels only make the matrix singular; a small share of its diagonal mends that.
    """
    size, free = shape[0] * shape[1], operator.free[:, 0].double()
    matrix = operator(torch.eye(size, device=free.device).expand(len(free), size, size)).double()
    scale = free / operator.diagonal[:, 0].double().where(free > 0, 1.0).sqrt()
    matrix = matrix * scale[:, :, None] * scale[:, None, :]
    # Off the diagonal both halves agree to rounding; the factor reads the lower one alone.
    matrix.diagonal(dim1=-2, dim2=-1).copy_(torch.where(free > 0, 1 + SHARE_OF_DIAGONAL, 1.0))
    factor, _ = torch.linalg.cholesky_ex(matrix)
    inverse = torch.cholesky_inverse(factor) * scale[:, :, None] * scale[:, None, :]
    return ((inverse + inverse.transpose(1, 2)) / 2).float()
