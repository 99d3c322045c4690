"""Hough layers: convolutions over pairs of positions (4-D), and over pairs of scales too (6-D).

A vote at (source cell, target cell) reaches those two cells away in either image. The kernels of `psi` are even, so
that their Fourier transform is real: the convolution is a product of spectra, which on a CPU is several times faster
than sums of `conv2d` or `conv3d` and keeps one spectrum a pair for the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.correspondence.chm.psi import SCALE_GROUPS, SPACE, PsiKernel

HALF = SPACE // 2
DIMENSIONS = (-4, -3, -2, -1)
SCALES = 3
# Where training begins: votes for one displacement count, so that an untrained network already matches about as well
# as the plain cosine does, and the sigmoid is steep between the cosines of parts that are alike and that are not.
VOTES_6D, BIAS_6D = 20.0, -8.0
VOTES_4D, BIAS_4D = 40.0, -5.0


def padded(side: int) -> int:
    """The least even length of 2, 3 and 5 that a circular convolution of `side` cells by 5 may have: what goes over
    one edge must meet zeros, two of them."""
    length = side + HALF + (side + HALF) % 2
    while _rest(length) != 1:
        length += 2
    return length


def _rest(number: int) -> int:
    for prime in (2, 3, 5):
        while number % prime == 0:
            number //= prime
    return number


class _Convolution(torch.autograd.Function):
    """See `convolve`."""

    @staticmethod
    def forward(ctx: Any, votes: Tensor, kernels: Tensor, reach: Tensor) -> Tensor:
        side = votes.shape[-1]
        size = (padded(side),) * 4
        spectrum = torch.fft.rfftn(votes, s=size, dim=DIMENSIONS)
        kernel = _real_spectrum(kernels, size)
        ctx.save_for_backward(spectrum if ctx.needs_input_grad[1] else spectrum.new_empty(0), kernel, reach)
        ctx.side, ctx.size = side, size
        return _back(_weighed(spectrum, kernel, reach), size, side)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        spectrum, kernel, reach = ctx.saved_tensors
        arrived = torch.fft.rfftn(grads[0], s=ctx.size, dim=DIMENSIONS)
        by_votes = by_kernels = None
        if ctx.needs_input_grad[0]:
            by_votes = _back(_weighed(arrived, kernel, reach), ctx.size, ctx.side)
        if ctx.needs_input_grad[1]:
            # What votes and gradients have in common at each lag; the five middle lags of each axis are the kernel's.
            common = torch.stack([(arrived.conj() * _reached(spectrum, one)).sum(dim=(0, 1)) for one in reach])
            lags = torch.fft.irfftn(common, s=ctx.size, dim=DIMENSIONS).roll((HALF,) * 4, DIMENSIONS)
            by_kernels = lags[:, :SPACE, :SPACE, :SPACE, :SPACE]
        return by_votes, by_kernels, None


def convolve(votes: Tensor, kernels: Tensor, reach: Tensor) -> Tensor:
    """votes (B, S, n, n, n, n), S pairs of scales; kernels (G, 5, 5, 5, 5), even; reach (G, S, S), symmetric: 1 where
    the votes of a pair of scales reach another by a kernel. The sums (B, S, n, n, n, n), zeros beyond the edges:

    out[b, s, p] = Σ_g Σ_t reach[g, s, t] Σ_d kernels[g, d] · votes[b, t, p + d].
    """
    if votes.dtype.itemsize < 4:
        votes, kernels = votes.float(), kernels.float()
    found: Tensor = _Convolution.apply(votes, kernels.to(votes.dtype), reach.to(votes.dtype))  # type: ignore[no-untyped-call]
    return found


def _real_spectrum(kernels: Tensor, size: tuple[int, ...]) -> Tensor:
    """(G, N, N, N, N // 2 + 1) real: the kernel's centre lies at the origin."""
    short = [edge - SPACE for edge in size]
    filled = F.pad(kernels, (0, short[3], 0, short[2], 0, short[1], 0, short[0]))
    return torch.fft.rfftn(filled.roll((-HALF,) * 4, DIMENSIONS), dim=DIMENSIONS).real.contiguous()


def _reached(spectrum: Tensor, reach: Tensor) -> Tensor:
    """What arrives at each pair of scales from those that reach it."""
    if len(reach) == 1:
        return spectrum
    plain = torch.view_as_real(spectrum)
    return torch.view_as_complex((reach @ plain.flatten(2)).view_as(plain))


def _weighed(spectrum: Tensor, kernel: Tensor, reach: Tensor) -> Tensor:
    found = _reached(spectrum, reach[0]) * kernel[0]
    for one, weights in zip(reach[1:], kernel[1:], strict=True):
        found += _reached(spectrum, one) * weights
    return found


def _back(spectrum: Tensor, size: tuple[int, ...], side: int) -> Tensor:
    return torch.fft.irfftn(spectrum, s=size, dim=DIMENSIONS)[..., :side, :side, :side, :side]


class Hough4d(nn.Module):
    """(B, n, n, n, n) → the same: 5⁴ votes, 56 parameters."""

    reach: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.kernel = PsiKernel(votes=VOTES_4D, bias=BIAS_4D)
        self.register_buffer("reach", torch.ones(1, 1, 1), persistent=False)

    def forward(self, votes: Tensor) -> Tensor:
        return convolve(votes[:, None], self.kernel(), self.reach)[:, 0] + self.kernel.bias


class Hough6d(nn.Module):
    """(B, 3, 3, n, n, n, n) → the same: 5⁴ votes from 3 × 3 pairs of scales, 221 parameters."""

    reach: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.kernel = PsiKernel(SCALE_GROUPS, votes=VOTES_6D, bias=BIAS_6D)
        self.register_buffer("reach", scale_reach(), persistent=False)

    def forward(self, votes: Tensor) -> Tensor:
        found = convolve(votes.flatten(1, 2), self.kernel(), self.reach)
        return found.unflatten(1, (SCALES, SCALES)) + self.kernel.bias


def scale_reach() -> Tensor:
    """(4, 9, 9): 1 where the kernel's cells of a group lead from one pair of scales to another."""
    reach = torch.zeros(len(SCALE_GROUPS), SCALES**2, SCALES**2)
    group_of = {cell: group for group, cells in enumerate(SCALE_GROUPS) for cell in cells}
    for to in range(SCALES**2):
        for start in range(SCALES**2):
            rows, columns = start // SCALES - to // SCALES, start % SCALES - to % SCALES
            if abs(rows) <= 1 and abs(columns) <= 1:
                reach[group_of[(rows + 1) * SCALES + columns + 1], to, start] = 1
    return reach
