"""A multigrid cycle for equations of removed pixels among their neighbours (Briggs et al., A Multigrid Tutorial, 2000).

Every second pixel of every second row is a pixel of the coarser level; bilinear interpolation between them
knows which pixels are free, and each coarser operator is PᵀAP, so that holes of any shape, down to single pixels,
are seen on every level. One cycle is a symmetric positive approximation of the inverse.

Pictures are rows (N, C, n), each with a ring of zeros around it: a shift of the picture is a shift of the row.
Operators are symmetric: five coefficients a pixel, its own and those of HALF of its eight neighbours.
Whatever a cycle needs is allocated once: fresh memory of this size costs more than the arithmetic on it.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

HALF = ((0, 0), (0, 1), (1, -1), (1, 0), (1, 1))  # (down, right): a pixel itself and the neighbours after it
DAMPING = 0.9  # of the smoothing by the diagonal
COARSEST = 11  # sides (ring included) at which a level is inverted directly
SHARE_OF_DIAGONAL = 1e-4  # that is added there, for a matrix that may be singular
SEES = 1e-6  # of a free pixel's diagonal: a node with less sees none
# Conjugate gradients with the cycle as preconditioner: two steps shrink the error of the finest level's cycle to about
# a tenth where one cycle leaves up to a half (removed areas that are wide and ragged), and cost 1.5 times as much.
STEPS = 2


class Level:
    """A level under the finest one, and through it all coarser ones.

    `right` and `solution` (N, C, n) are the equations' right-hand side and, after `solve` or `cycle`, about A⁻¹ of it.
    """

    def __init__(self, count: int, colours: int, shape: tuple[int, int], device: torch.device) -> None:
        """shape: with the ring, both sides odd."""
        self.shape, self.size, width = shape, shape[0] * shape[1], shape[1]

        def zeros() -> Tensor:
            return torch.zeros(count, colours, self.size, device=device)

        self.right, self.solution = zeros(), zeros()
        self.coarser: Level | None = None
        if max(shape) <= COARSEST:
            return
        self.image, self.total, self.direction, self.of_direction, self.product = (zeros() for _ in range(5))
        edge = width + 1
        self.inner = slice(edge, self.size - edge)
        self.shifts = [down * width + right for down, right in HALF[1:]]
        self.inner_image = self.image[..., self.inner]
        self.shifted = [
            self.solution[..., edge + shift : self.size - edge + shift] for one in self.shifts for shift in (one, -one)
        ]
        rows, columns = nodes = nodes_of(shape)
        self.coarser = Level(count, colours, around(nodes), device)
        wide = self.image.view(count, colours, *shape)
        lines = torch.zeros(count, colours, rows, width, device=device)
        within = (..., slice(1, 1 + rows), slice(1, 1 + columns))
        into = self.coarser.right.view(count, colours, *self.coarser.shape)[within]
        nodes_found = self.coarser.solution.view(count, colours, *self.coarser.shape)[within]
        # Views are made once: on small levels making them takes as long as what is done with them.
        self.restricting = (
            (wide[..., :-2:2, :], wide[..., 2::2, :], wide[..., 1:-1:2, :], lines),
            (lines[..., :-2:2], lines[..., 2::2], lines[..., 1:-1:2], into),
        )
        self.prolonging = (
            (nodes_found, nodes_found[..., :-1], nodes_found[..., 1:], lines[..., 1:-1:2], lines[..., 2:-2:2]),
            (lines, lines[..., :-1, :], lines[..., 1:, :], wide[..., 1:-1:2, :], wide[..., 2:-2:2, :]),
        )

    def set(self, coefficients: Tensor) -> None:
        """The operator of this level, and from it those of the coarser ones: coefficients (N, 5, height, width).

        They are 0 where nothing is free and in the ring.
        """
        rows = coefficients.flatten(2)
        self.diagonal = rows[:, :1].contiguous()
        self.free = (self.diagonal > SEES).float()
        if self.coarser is None:
            self.inverse = _inverse(rows.double(), self.free[:, 0].double(), self.shape[1])
            return
        # By half of the row's absolute sum, the diagonal itself where neighbours balance it: nodes that see the same
        # few free pixels would make plain Jacobi diverge, this one never.
        whole = rows.abs()
        sums = whole.sum(1, keepdim=True)
        self.coefficients = []
        for at, shift in enumerate(self.shifts, 1):
            back = slice(self.inner.start - shift, self.inner.stop - shift)
            sums[:, 0, self.inner] += whole[:, at, back]
            self.coefficients += [rows[:, at : at + 1, self.inner], rows[:, at : at + 1, back]]
        self.smoothing = (2 * DAMPING) * self.free / sums.clamp_(min=SEES)
        self.coarser.set(coarsened(coefficients))

    def solve(self) -> None:
        """About A⁻¹·right by a few steps of conjugate gradients for each colour; `right` is lost."""
        if self.coarser is None:
            self.cycle()
            return
        self.total.zero_()
        curvature: Tensor | None = None
        for _ in range(STEPS):
            self.cycle()
            self._apply()
            if curvature is None:
                self.direction.copy_(self.solution)
                self.of_direction.copy_(self.image)
            else:
                share = -_ratio(self._dot(self.solution, self.of_direction), curvature)
                self.direction.mul_(share).add_(self.solution)
                self.of_direction.mul_(share).add_(self.image)
            curvature = self._dot(self.direction, self.of_direction)
            length = _ratio(self._dot(self.direction, self.right), curvature)
            self.total.addcmul_(length, self.direction)
            self.right.addcmul_(length, self.of_direction, value=-1)
        self.solution.copy_(self.total)

    def cycle(self) -> None:
        """About A⁻¹·right by one cycle, a symmetric positive operator."""
        if self.coarser is None:
            torch.matmul(self.right, self.inverse, out=self.solution)
            return
        torch.mul(self.smoothing, self.right, out=self.solution)
        self._residual()
        self._restrict()
        self.coarser.cycle()
        self._prolong()
        self.solution.addcmul_(self.image, self.free)
        self._residual()
        self.solution.addcmul_(self.smoothing, self.image)

    def _dot(self, one: Tensor, other: Tensor) -> Tensor:
        """(N, C, 1)."""
        return torch.mul(one, other, out=self.product).sum(-1, keepdim=True)

    def _apply(self) -> None:
        """image = A solution."""
        torch.mul(self.diagonal, self.solution, out=self.image)
        for coefficient, shifted in zip(self.coefficients, self.shifted, strict=True):
            self.inner_image.addcmul_(coefficient, shifted)

    def _residual(self) -> None:
        """image = right − A solution."""
        self._apply()
        torch.sub(self.right, self.image, out=self.image)

    def _restrict(self) -> None:
        """The coarser right-hand side: Pᵀ image."""
        for before, after, middle, found in self.restricting:
            torch.add(before, after, out=found)
            torch.add(middle, found, alpha=0.5, out=found)

    def _prolong(self) -> None:
        """image = P of the coarser solution, also where nothing is free; the ring is left as it is."""
        for nodes, before, after, on_nodes, between in self.prolonging:
            on_nodes.copy_(nodes)
            torch.lerp(before, after, 0.5, out=between)


def nodes_of(shape: tuple[int, int]) -> tuple[int, int]:
    """How many pixels a level of this shape has on the next coarser one."""
    return (shape[0] - 1) // 2, (shape[1] - 1) // 2


def around(nodes: tuple[int, int]) -> tuple[int, int]:
    """A level's shape: its nodes, a line that is never free where a side would be even, and a ring."""
    return (nodes[0] | 1) + 2, (nodes[1] | 1) + 2


def coarsened(coefficients: Tensor) -> Tensor:
    """The five coefficients of PᵀAP from those of A: (N, 5, height, width) → (N, 5, coarser height, width)."""
    shape = (coefficients.shape[2], coefficients.shape[3])
    rows, columns = nodes = nodes_of(shape)
    found = coefficients.new_zeros(len(coefficients), len(HALF), *around(nodes))
    # A GPU's convolution in float32 keeps ten bits by default, too few for rows whose sum is nearly 0.
    exact = coefficients.double() if coefficients.is_cuda else coefficients
    kernel = _galerkin(exact.device).to(exact.dtype)
    found[..., 1 : 1 + rows, 1 : 1 + columns] = F.conv2d(exact, kernel, stride=2, padding=1)
    return found


@lru_cache(maxsize=8)
def _galerkin(device: torch.device) -> Tensor:
    """PᵀAP is linear in A's coefficients, and the same around every node: a convolution (5, 5, 4, 5) with stride 2."""

    def weight(down: int, right: int) -> float:
        return max(0.0, 1 - abs(down) / 2) * max(0.0, 1 - abs(right) / 2)

    kernel = torch.zeros(len(HALF), len(HALF), 4, 5)
    for to, (node_down, node_right) in enumerate(HALF):
        for at, (down, right) in enumerate(HALF):
            for row in range(-2, 2):
                for column in range(-2, 3):
                    one, other = (row, column), (row + down, column + right)
                    value = weight(*one) * weight(other[0] - 2 * node_down, other[1] - 2 * node_right)
                    if at:  # the same coefficient from the neighbour's side
                        value += weight(*other) * weight(one[0] - 2 * node_down, one[1] - 2 * node_right)
                    kernel[to, at, row + 2, column + 2] = value
    return kernel.to(device)


def _inverse(rows: Tensor, free: Tensor, width: int) -> Tensor:
    """The inverse (N, n, n) on pictures of a few pixels; 0 where nothing is free. rows (N, 5, n), free (N, n) double.

    Symmetric and positive to the last bit, as conjugate gradients need it: made from a Cholesky factor in double
    precision of the matrix scaled to a diagonal of ones, for a node that sees little has a small diagonal (1e-5 and
    less). Nodes that see the same free pixels only make the matrix singular; a small share of its diagonal mends that.
    """
    size = free.shape[1]
    matrix = rows.new_zeros(len(rows), size, size)
    for at, (down, right) in enumerate(HALF[1:], 1):  # the factor reads the lower half alone
        shift = down * width + right
        matrix.diagonal(-shift, 1, 2).copy_(rows[:, at, : size - shift])
    scale = free / torch.where(free > 0, rows[:, 0], 1.0).sqrt()
    matrix *= scale[:, :, None] * scale[:, None, :]
    matrix.diagonal(dim1=1, dim2=2).copy_(torch.where(free > 0, 1 + SHARE_OF_DIAGONAL, 1.0))
    factor, _ = torch.linalg.cholesky_ex(matrix)
    inverse = torch.cholesky_inverse(factor) * scale[:, :, None] * scale[:, None, :]
    return ((inverse + inverse.transpose(1, 2)) / 2).float()


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """above / below; 0 where there is nothing left to divide by."""
    return torch.where(below > 0, above / below, 0.0)
