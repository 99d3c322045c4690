"""Sinkhorn's algorithm on many small problems at once, each to its own convergence."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# At costs up to 2 the smallest entry of the kernel is exp(−40) here: far inside float32. Below, sums are of logarithms.
SMALLEST_KERNEL_EPSILON = 0.05
TINY = 1e-18  # stands for no mass, so that ratios of scalings stay finite
CHECK_EVERY = 5  # iterations; asking takes about as long as one
CACHE_BYTES = 1 << 20  # of kernels that a CPU goes through so many times before the next


@dataclass(frozen=True)
class Transport:
    """plan: (N, R, S). converged: (N,) bool. iterations: (N,) long, how many each problem took."""

    plan: Tensor
    converged: Tensor
    iterations: Tensor


def sinkhorn(
    cost: Tensor, rows: Tensor, columns: Tensor, *, epsilon: float = 0.05, iterations: int = 100, tolerance: float
) -> Transport:
    """The plans that move `rows` onto `columns` at the least cost − ε · entropy.

    cost: (N, R, S), from 0 to 2. rows: (N, R) and columns: (N, S), not negative. A plan has the mass of `rows`;
    `columns` with another mass are scaled to it. One iteration fits the columns, then the rows. A problem has converged
    when its row sums, after the columns were fitted, differ from `rows` by at most `tolerance` of the mass (sum of the
    absolute differences). That is asked at every fifth iteration and at the last, after which rows are exact; then
    the problem does not change any more, so that a batch of N gives what N batches of 1 give. A problem without
    mass on one side has a plan of zeros and has converged.

    In the first half of the iterations those in between go half as far again as they would (over-relaxation: Thibault,
    Chizat, Dossal & Papadakis, Overrelaxed Sinkhorn–Knopp algorithm for regularized optimal transport, 2021): the same
    plan in about half of the iterations.
    """
    masses, others = rows.sum(dim=1), columns.sum(dim=1)
    there = (masses > 0) & (others > 0)
    live = there.nonzero()[:, 0]
    empty_rows, empty_columns = rows <= 0, columns <= 0
    rows = (rows / masses[:, None].clamp(min=TINY)).clamp(min=TINY)
    columns = (columns / others[:, None].clamp(min=TINY)).clamp(min=TINY)
    iterate = _Kernel if epsilon >= SMALLEST_KERNEL_EPSILON else _Logarithms
    whole = iterate.of(cost, rows, columns, epsilon)
    problem = whole if len(live) == len(cost) else whole.only(live)
    row, column = (torch.full_like(each, whole.nothing) for each in (whole.row, whole.column))
    converged = torch.ones_like(there)
    taken = torch.zeros_like(there, dtype=torch.long)
    working = torch.ones_like(live, dtype=torch.bool)
    step = 0
    while step < iterations and len(live):
        steps = min(CHECK_EVERY, iterations - step)
        step += steps
        finished = working & (problem.fit(steps, relaxed=2 * step <= iterations) <= tolerance)
        if step == iterations:
            converged[live[working & ~finished]] = False
            finished = working
        chosen = finished.nonzero()[:, 0]
        row[live[chosen]], column[live[chosen]] = problem.row[chosen], problem.column[chosen]
        taken[live[chosen]] = step
        working = working & ~finished
        still = working.nonzero()[:, 0]
        if 2 * len(still) <= len(live):  # leaving the others in takes longer than copying these
            live, working, problem = live[still], working[still], problem.only(still)
    row.masked_fill_(empty_rows.view_as(row), whole.nothing)
    column.masked_fill_(empty_columns.view_as(column), whole.nothing)
    return Transport(whole.plan(row, column, masses).to(cost.dtype), converged, taken)


class _Kernel:
    """Scalings of exp(−cost/ε) itself, which is stored in both orientations: row times matrix is the fast product.

    Marginals and scalings have an axis of length 1 in the middle.
    """

    nothing = 0.0  # the scaling of what has no mass

    def __init__(self, kernel: Tensor, turned: Tensor, rows: Tensor, columns: Tensor, row: Tensor, column: Tensor):
        self.kernel, self.turned, self.rows, self.columns = kernel, turned, rows, columns
        self.row, self.column = row, column

    @classmethod
    def of(cls, cost: Tensor, rows: Tensor, columns: Tensor, epsilon: float) -> _Kernel:
        kernel = (cost / -epsilon).exp_()
        rows, columns = rows[:, None], columns[:, None]
        turned = kernel.transpose(1, 2).contiguous()
        return cls(kernel, turned, rows, columns, torch.ones_like(rows), torch.ones_like(columns))

    def only(self, chosen: Tensor) -> _Kernel:
        of = (self.kernel, self.turned, self.rows, self.columns, self.row, self.column)
        return _Kernel(*(each[chosen] for each in of))

    def fit(self, steps: int, *, relaxed: bool) -> Tensor:
        """Some iterations, the last of them plain; gives what was astray before rows were fitted at last, (N,)."""
        count = len(self.kernel)
        at_once = max(1, CACHE_BYTES // (2 * self.kernel[0].nbytes)) if self.kernel.device.type == "cpu" else count
        error = self.rows.new_empty(count)
        for start in range(0, count, at_once):
            here = slice(start, start + at_once)
            kernel, turned, rows, columns = (each[here] for each in (self.kernel, self.turned, self.rows, self.columns))
            row, column = self.row[here], self.column[here]
            for _ in range(steps - 1):
                fitted = columns / torch.bmm(row, kernel)
                column = fitted * (fitted / column).sqrt_() if relaxed else fitted
                fitted = rows / torch.bmm(column, turned)
                row = fitted * (fitted / row).sqrt_() if relaxed else fitted
            column = columns / torch.bmm(row, kernel)
            seen = torch.bmm(column, turned)
            error[here] = (row * seen - rows).abs_().sum(dim=(1, 2))
            self.row[here], self.column[here] = rows / seen, column
        return error

    def plan(self, row: Tensor, column: Tensor, masses: Tensor) -> Tensor:
        """In the kernel's place."""
        return self.kernel.mul_((row * masses[:, None, None]).transpose(1, 2)).mul_(column)


class _Logarithms:
    """The same in logarithms and float64: at ε = 0.001 they reach 2,000, of which float32 keeps three decimals."""

    nothing = -math.inf

    def __init__(self, kernel: Tensor, rows: Tensor, columns: Tensor, row: Tensor, column: Tensor):
        self.kernel, self.rows, self.columns, self.row, self.column = kernel, rows, columns, row, column

    @classmethod
    def of(cls, cost: Tensor, rows: Tensor, columns: Tensor, epsilon: float) -> _Logarithms:
        rows, columns = rows.double().log(), columns.double().log()
        return cls(cost.double() / -epsilon, rows, columns, torch.zeros_like(rows), torch.zeros_like(columns))

    def only(self, chosen: Tensor) -> _Logarithms:
        return _Logarithms(*(each[chosen] for each in (self.kernel, self.rows, self.columns, self.row, self.column)))

    def fit(self, steps: int, *, relaxed: bool) -> Tensor:
        more = 0.5 if relaxed else 0.0
        for _ in range(steps - 1):
            fitted = self.columns - torch.logsumexp(self.kernel + self.row[:, :, None], dim=1)
            self.column = fitted + more * (fitted - self.column)
            fitted = self.rows - torch.logsumexp(self.kernel + self.column[:, None], dim=2)
            self.row = fitted + more * (fitted - self.row)
        self.column = self.columns - torch.logsumexp(self.kernel + self.row[:, :, None], dim=1)
        seen = torch.logsumexp(self.kernel + self.column[:, None], dim=2)
        error = ((self.row + seen).exp() - self.rows.exp()).abs().sum(dim=1)
        self.row = self.rows - seen
        return error

    def plan(self, row: Tensor, column: Tensor, masses: Tensor) -> Tensor:
        return (row[:, :, None] + self.kernel + column[:, None]).exp() * masses[:, None, None]
