"""Equations of removed pixels (definitions §5) on the picture itself: Gauss–Seidel by four colours, multigrid below.

Pixels of even and odd rows and columns are four colours: no pixel is a neighbour of one of its own colour, so that
each colour is solved at once from the other three (Briggs et al., A Multigrid Tutorial, 2000). A colour is a picture of
a quarter of the size, and the first of them is the coarser level: all are rows (N, C, n) with a ring of zeros, laid out
as that level's, and every step below is an addition of whole shifted rows.

The neighbours' weights, in twelfths, are 2 beside, above and below and 1 on the diagonals.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mlcore.metrics.multigrid import HALF, Level, around, coarsened

# Colours: (row, column) of their first pixel.
COLOURS = ((0, 0), (0, 1), (1, 0), (1, 1))
ABOVE = (2, 3, 0, 1)  # the colour above and below each


class Sums:
    """Weighted sums of neighbours, in twelfths, of one colour from the other three."""

    def __init__(self, values: Tensor, width: int) -> None:
        """values (4, N, C, n): the colours, `width` wide; what is in them when a sum is asked for counts."""
        self.sum, line = torch.zeros_like(values[0]), torch.zeros_like(values[0])
        beside = torch.zeros_like(values[0]), torch.zeros_like(values[0])
        # Views are made once: making them takes a good part of the time of what is done with them.
        self.pairs = [
            [
                (x[..., 1:], x[..., :-1], y[..., :-1] if column else y[..., 1:])
                for x, y in zip(values[1 - column :: 2], beside, strict=True)
            ]
            for column in (0, 1)
        ]
        self.line, self.upper, self.lower = line, line[..., :-width], line[..., width:]
        self.parts = [
            (
                beside[1 - colour // 2],
                values[ABOVE[colour]],
                self.sum[..., :-width] if colour // 2 else self.sum[..., width:],
                beside[colour // 2],
            )
            for colour in range(4)
        ]

    def pair(self, column: int) -> None:
        """Sums of horizontal neighbours for the two colours of even (0) or odd (1) columns, before `of` is asked."""
        for one, other, found in self.pairs[column]:
            torch.add(one, other, out=found)

    def of(self, colour: int) -> Tensor:
        """The sums (N, C, n) of a colour, right wherever the ring is not; overwritten by the next call."""
        diagonal, above, found, beside = self.parts[colour]
        torch.add(diagonal, above, alpha=2, out=self.line)
        torch.add(self.upper, self.lower, out=found)
        return self.sum.add_(beside, alpha=2)


class Picture:
    """Pictures (N, C, height, width) whose removed pixels are being filled in; used again for the next ones."""

    def __init__(self, count: int, colours: int, size: tuple[int, int], device: torch.device) -> None:
        self.count, self.size, self.nodes = count, size, (size[0] // 2 + 1, size[1] // 2 + 1)
        self.shape = (2 * self.nodes[0] + 1, 2 * self.nodes[1] + 1)
        self.ringed = around(self.nodes)
        self.width = self.ringed[1]
        self.coarser = Level(count, colours, self.ringed, device)
        length = self.coarser.size

        def zeros(channels: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(4, count, channels, length, dtype=dtype, device=device)

        # A colour is solved as known + share·(sum of neighbours).
        self.values, self.known, self.residual, self.start = (zeros(colours) for _ in range(4))
        self.free, self.share, self.half = (zeros(1) for _ in range(3))
        self.exact = zeros(colours, torch.float64)
        self.sums, self.exact_sums = Sums(self.values, self.width), Sums(self.exact, self.width)
        self.line, self.lines = torch.zeros_like(self.values[0]), torch.zeros_like(self.values[0])
        _, beside, above, _ = self.residual
        found, line, down = self.coarser.solution, self.line, self.width
        self.restricting = (
            (beside[..., 1:], beside[..., :-1], line[..., 1:]),
            (above[..., down:], above[..., :-down], self.lines[..., down:]),
        )
        self.prolonging = (
            (found[..., 1:], found[..., :-1], line[..., :-1]),
            (found[..., down:], found[..., :-down], line[..., :-down]),
        )
        # What is left of a pixel's eight weights where neighbours lie outside; 1 outside the picture.
        sides = [(4 - _ends(side, device)) for side in size]
        weights = (sides[0][:, None] * sides[1] - 4) / 12
        self.weights = F.pad(weights, self._padding(), value=1.0)[None, None]
        self.exact_weights = torch.ones(4, 1, 1, length, dtype=torch.float64, device=device)
        self._split(self.weights, self.exact_weights)
        self.colour_weights = self.exact_weights.float()

    def load(self, known: Tensor, removed: Tensor) -> None:
        """Begin with known (N, C, H, W), 0 where removed (N, H, W) is true."""
        self.removed = F.pad(removed[:, None].float(), self._padding())
        self._split(self.removed, self.free)
        torch.div(self.free, 12 * self.colour_weights, out=self.share)
        torch.mul(self.free, 0.5, out=self.half)
        self._split(F.pad(known, self._padding()), self.known)
        self.values.copy_(self.known)
        self.start.zero_()

    def set_levels(self) -> None:
        """The coarser levels' operators."""
        free = self.removed[:, 0]
        rows, columns = self.shape
        coefficients = free.new_zeros(len(free), len(HALF), *self.shape)
        torch.mul(free, self.weights[:, 0].float(), out=coefficients[:, 0])
        for at, (down, right) in enumerate(HALF[1:], 1):
            here = (slice(None), slice(1, -1), slice(1, -1))
            there = (slice(None), slice(1 + down, rows - 1 + down), slice(1 + right, columns - 1 + right))
            torch.mul(free[here], free[there], out=coefficients[:, at, 1:-1, 1:-1])
            coefficients[:, at] *= -1 / 6 if 0 in (down, right) else -1 / 12
        self.coarser.set(coarsened(coefficients))

    def sweep(self) -> None:
        """Solve every colour once."""
        self._solve_pair(0, (0, 2))
        self._solve_pair(1, (1, 3))

    def change(self) -> Tensor:
        """As `sweep`; the largest change (N) that it makes."""
        found = []
        for colour in (0, 2, 1, 3):
            if colour in (0, 1):
                self.sums.pair(colour % 2)
            self.residual[colour].copy_(self.values[colour])
            self._solve(colour)
            found.append(_largest(self.residual[colour].sub_(self.values[colour])))
        return torch.stack(found).amax(0)

    def cycle(self, anew: bool = True) -> Tensor:
        """One cycle; the largest correction (N) of the coarser level. anew: the last step was not a cycle too."""
        if anew:
            self._solve_pair(0, (0, 2))
        else:  # a cycle ends with the first colour, and with sums beside the even columns' pixels
            self._solve(2)
        self._solve_pair(1, (1, 3))
        # The last colour has no residual, and the sums beside the even columns' pixels are new.
        self._residual(1)
        self.sums.pair(0)
        self._residual(0)
        self._residual(2)
        for one, other, into in self.restricting:
            torch.add(one, other, out=into)
        torch.add(self.residual[0], self.line.add_(self.lines), alpha=0.5, out=self.coarser.right)
        self.coarser.solve()
        found = self.coarser.solution
        self.values[0].addcmul_(found, self.free[0])
        for colour, (one, other, into) in enumerate(self.prolonging, 1):
            torch.add(one, other, out=into)
            self.values[colour].addcmul_(self.line, self.half[colour])
        # The last colour needs no correction: it is solved from the others first.
        self._solve_pair(1, (3, 1))
        self._solve_pair(0, (2, 0))
        return _largest(found)

    def refine(self) -> None:
        """Go on with a correction of the values so far, whose residual is taken in double precision."""
        self.exact.copy_(self.start).add_(self.values)
        self.start.add_(self.values)
        for column in (0, 1):
            self.exact_sums.pair(column)
            for colour in (column, column + 2):
                found = self.exact_sums.of(colour).div_(12 * self.exact_weights[colour])
                self.known[colour] = found.sub_(self.exact[colour]).mul_(self.free[colour])
        self.values.zero_()

    def result(self) -> Tensor:
        """The pictures (N, C, H, W), filled in."""
        rows, columns = self.nodes
        whole = self.values.new_empty(*self.values.shape[1:3], 2 * rows, 2 * columns)
        for (row, column), values, start in zip(
            COLOURS, self._pictures(self.values), self._pictures(self.start), strict=True
        ):
            torch.add(values, start, out=whole[..., row::2, column::2])
        return whole[..., : self.size[0], : self.size[1]]

    def _solve(self, colour: int) -> None:
        sums = self.sums.of(colour)
        torch.addcmul(self.known[colour], sums, self.share[colour], out=self.values[colour])

    def _solve_pair(self, column: int, colours: tuple[int, ...]) -> None:
        self.sums.pair(column)
        for colour in colours:
            self._solve(colour)

    def _residual(self, colour: int) -> None:
        found = self.residual[colour]
        torch.addcmul(self.known[colour], self.sums.of(colour), self.share[colour], out=found)
        found.sub_(self.values[colour]).mul_(self.colour_weights[colour])

    def _padding(self) -> tuple[int, int, int, int]:
        """A ring around the picture, and what makes its sides odd."""
        return 1, self.shape[1] - 1 - self.size[1], 1, self.shape[0] - 1 - self.size[0]

    def _pictures(self, rows: Tensor) -> Tensor:
        """Colours as pictures without their ring: (4, N, C, n) → (4, N, C, nodes, nodes)."""
        return rows.view(*rows.shape[:3], *self.ringed)[..., 1 : 1 + self.nodes[0], 1 : 1 + self.nodes[1]]

    def _split(self, picture: Tensor, out: Tensor) -> None:
        """A padded picture (N, C, height, width) → its four colours (4, N, C, n)."""
        for (row, column), colour in zip(COLOURS, self._pictures(out), strict=True):
            colour.copy_(picture[..., 1 + row :: 2, 1 + column :: 2])


def _ends(side: int, device: torch.device) -> Tensor:
    """How many of the binomial's weights 1 2 1 lie outside, along a side."""
    found = torch.zeros(side, dtype=torch.float64, device=device)
    found[0] += 1
    found[-1] += 1
    return found


def _largest(x: Tensor) -> Tensor:
    """Largest absolute values (N): two reductions without a copy are faster than one of absolute values."""
    return torch.maximum(x.amax(dim=(1, 2)), -x.amin(dim=(1, 2)))
