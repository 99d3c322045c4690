"""Filling in removed pixels from around them: ROAD's linear imputation (definitions §5).

Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", ICML 2022: each removed pixel is
the weighted mean of its eight neighbours (1/6 beside, above and below, 1/12 on the diagonals), removed ones
included; the weights are renormalised where neighbours lie outside the picture. Known pixels stay as they are.

The equations of a picture, A u = b, are symmetric and positive definite. They are solved for all colours and many
pictures at once by conjugate gradients, preconditioned by one multigrid cycle (`mlcore.metrics.multigrid`). The
neighbours' weights are the 3×3 binomial filter without its centre, so that a product with A costs four additions of
shifted pictures. Half-way the residual is taken anew in double precision: the error is the tolerance, not float32's.
A picture that does not settle is solved directly instead: slower, but always right (`mlcore.metrics.direct_filling`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mlcore.metrics.direct_filling import fill_directly
from mlcore.metrics.multigrid import DAMPING, Grid, Levels, as_coefficients, probes

STAGES = (1e-3, 3e-6)  # estimated error after each stage, as a share of the picture's largest known value
MOST_ITERATIONS = 60
TOGETHER = {"cpu": 16, "cuda": 256}  # pictures that share the coarser levels
PIECE = {"cpu": 1, "cuda": 256}  # pictures that share the finest one: on a CPU as much as its cache holds


def impute(images: Tensor, removed: Tensor) -> Tensor:
    """Fill in: images (N, C, H, W), removed (N, H, W) bool → (N, C, H, W) float32, known pixels unchanged.

    Equal to a sparse direct solution to 2e-5 of the largest value, mostly to 2e-6. Raises ValueError for a picture of
    which no pixel is left, or where a known pixel is not finite.
    """
    if images.dim() != 4 or removed.shape != (len(images), *images.shape[2:]):
        raise ValueError(
            f"Images (N, C, H, W) need removed pixels (N, H, W), not {tuple(images.shape)} and {tuple(removed.shape)}."
        )
    if bool(removed.flatten(1).all(dim=1).any()):
        raise ValueError("A picture of which every pixel is removed cannot be filled in.")
    known = torch.where(removed[:, None], 0.0, images.detach().float())
    if not bool(torch.isfinite(known).all()):
        raise ValueError("Pixels that are not finite cannot fill in others.")
    size = TOGETHER.get(images.device.type, 16)
    filled = known.clone()
    for start in range(0, len(images), size):
        _fill(known[start : start + size], removed[start : start + size], filled[start : start + size])
    return filled


def _fill(known: Tensor, removed: Tensor, filled: Tensor) -> None:
    """Add to `filled` what removed pixels (N, H, W) become; known (N, C, H, W) is 0 there."""
    size = PIECE.get(known.device.type, 1)
    pieces = [Piece(known[start : start + size], removed[start : start + size]) for start in range(0, len(known), size)]
    levels = Levels(torch.cat([piece.coefficients() for piece in pieces]), pieces[0].grid.coarse)
    for stage in STAGES:
        for piece in pieces:
            piece.begin(stage)
        for _ in range(MOST_ITERATIONS):
            coarse = levels.cycle(torch.cat([piece.descend() for piece in pieces]))
            for piece, part in zip(pieces, coarse.split(size), strict=True):
                piece.advance(part)
            if all(piece.settled for piece in pieces):
                break
        for piece in pieces:
            piece.end()
    torch.cat([piece.result() for piece in pieces], out=filled)
    lost = torch.cat([piece.lost for piece in pieces])
    for index in lost.nonzero()[:, 0].tolist():
        filled[index] = fill_directly(known[index], removed[index])


class Piece:
    """Pictures on the finest level, and how far the conjugate gradients of each are.

    Pictures are rows (N, C, n): sides made odd for the coarser levels, with a ring of zeros around them.
    """

    def __init__(self, known: Tensor, removed: Tensor) -> None:
        self.size = (known.shape[2], known.shape[3])
        self.pad = (1, 1 + (self.size[1] + 1) % 2, 1, 1 + (self.size[0] + 1) % 2)
        self.known = F.pad(known, self.pad)
        self.grid = Grid((self.known.shape[2], self.known.shape[3]))
        self.known = self.known.flatten(-2)
        self.free = F.pad(removed[:, None].float(), self.pad).flatten(-2)
        self.weights = _weights_inside(self.size, self.pad, known.device)
        # A u = centre·u − free/12·binomial(u): the centre gives back what the filter takes there.
        self.twelfth = self.free / 12
        self.centre = self.free * (self.weights + 1 / 3)
        self.smoothing = DAMPING * self.free / self.weights
        self.kept = self.free - self.smoothing * self.centre
        self.spread = self.smoothing * self.twelfth
        self.scale = known.abs().amax(dim=(1, 2, 3)).clamp(min=1e-30)[:, None, None]
        self.solution = torch.zeros_like(self.known)
        self.product = torch.zeros_like(self.scale)
        self.lost = torch.zeros(len(known), dtype=torch.bool, device=known.device)

    def coefficients(self) -> Tensor:
        """PᵀAP's nine coefficients (N, 9, coarse n)."""
        patterns = probes(self.grid.shape, self.free.device) * self.free
        return as_coefficients(self.grid.restrict(self._times(patterns)) / 16, self.grid)

    def begin(self, stage: float) -> None:
        """Start anew from the solution so far: its residual, in double precision unless it is the first."""
        if stage == STAGES[0]:  # the solution is 0, and known pixels are not free
            self.residual = self.twelfth * self._binomial(self.known)
        else:
            whole = self.known.double() + self.solution
            residual = self._binomial(whole) / 12 - (self.weights.double() + 1 / 3) * whole
            self.residual = (residual * self.free).float()
        self.tolerance = stage * self.scale[:, 0, 0]
        self.residual[self.lost] = 0
        self.direction: Tensor | None = None
        self.near = torch.zeros_like(self.lost)
        self.settled = False

    def end(self) -> None:
        """Give up on pictures that are not near their solution by now."""
        if not self.settled:
            self.lost |= ~self.near
            self.solution[self.lost] = 0

    def descend(self) -> Tensor:
        """First half of a cycle: smooth, and give the rest of the residual to the coarser level."""
        if self.settled:
            return self.known.new_zeros(*self.known.shape[:2], self.grid.coarse[0] * self.grid.coarse[1])
        self.first = self.smoothing * self.residual
        rest = (self.residual - self.centre * self.first).addcmul_(self.twelfth, self._binomial(self.first))
        return self.grid.restrict(rest) / 16

    def advance(self, coarse: Tensor) -> None:
        """Second half of the cycle, then one step of conjugate gradients, until the error is small enough.

        The preconditioned residual is an estimate of the error itself, for a cycle is nearly the inverse of A.
        """
        if self.settled:
            return
        z = self.grid.prolong(coarse).mul_(self.free).add_(self.first)
        z = torch.addcmul(self.first, self.kept, z).addcmul_(self.spread, self._binomial(z))
        product = (self.residual * z).sum(-1, keepdim=True)
        if self.direction is None:
            self.direction = z
        else:
            self.direction = torch.addcmul(z, _ratio(product, self.product), self.direction)
        self.product = product
        # Two reductions without a copy: several times faster than one of absolute values. Never near where z is NaN.
        self.near = torch.maximum(z.amax(dim=(1, 2)), -z.amin(dim=(1, 2))) <= self.tolerance
        if bool((self.near | self.lost).all()):
            self.solution += z
            self.settled = True
            return
        image = self._times(self.direction)
        step = _ratio(product, (self.direction * image).sum(-1, keepdim=True))
        self.solution.addcmul_(step, self.direction)
        self.residual.addcmul_(step, image, value=-1)

    def result(self) -> Tensor:
        """The pictures (N, C, H, W), filled in."""
        whole = (self.known + self.solution).view(*self.known.shape[:2], *self.grid.shape)
        return whole[..., 1 : 1 + self.size[0], 1 : 1 + self.size[1]]

    def _times(self, x: Tensor) -> Tensor:
        """A x for rows (N, C, n) that are 0 where nothing is free."""
        return (self.centre * x).addcmul_(self.twelfth, self._binomial(x), value=-1)

    def _binomial(self, x: Tensor) -> Tensor:
        return binomial(x, self.grid.shape[1])


def binomial(x: Tensor, width: int) -> Tensor:
    """Sums weighted by [1 2 1] ⊗ [1 2 1] in rows (…, n) of pictures `width` wide; right wherever the ring is not."""
    edge = width + 1
    y = torch.empty_like(x)
    other = x[..., :-1] + x[..., 1:]
    torch.add(other[..., :-1], other[..., 1:], out=y[..., :-2])
    torch.add(y[..., : -2 - width], y[..., width:-2], out=other[..., : -1 - width])
    torch.add(other[..., : -1 - 2 * width], other[..., width : -1 - width], out=y[..., edge:-edge])
    y[..., :edge] = 0
    y[..., -edge:] = 0
    return y


def _weights_inside(size: tuple[int, int], pad: tuple[int, int, int, int], device: torch.device) -> Tensor:
    """What is left of a pixel's eight weights where neighbours lie outside: (1, 1, n); 1 outside the picture."""
    inside = F.pad(torch.ones(1, 1, *size, device=device), pad)
    weights = (binomial(inside.flatten(-2), inside.shape[-1]) - 4 * inside.flatten(-2)) / 12
    return torch.where(inside.flatten(-2) > 0, weights, 1.0)


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """above / below; 0 where there is nothing left to divide by."""
    return torch.where(below > 0, above / below, 0.0)
