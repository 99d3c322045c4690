"""What is done to maps after they are made: scaling, enlarging, and saying which of them carry nothing."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Status = Literal["ok", "constant", "nonfinite"]


def minmax(maps: Tensor, eps: float = 1e-8) -> Tensor:
    """(M − min) / (max − min + eps), each map by itself: (…, h, w) → the same in [0, 1]. Differentiable.

    A map that is constant or not finite becomes zero and carries no gradient; `status` counts it.
    """
    fixed = maps.detach()
    span = fixed.amax(dim=(-2, -1), keepdim=True) - fixed.amin(dim=(-2, -1), keepdim=True)
    usable = torch.isfinite(span) & (span > 0)
    # Replaced before anything else: a NaN that torch.where hides afterwards still poisons the gradient.
    maps = torch.where(usable, maps, torch.zeros_like(maps))
    low = maps.amin(dim=(-2, -1), keepdim=True)
    span = maps.amax(dim=(-2, -1), keepdim=True) - low
    return (maps - low) / torch.where(usable, span + eps, torch.ones_like(span))


def normalise_max(maps: Tensor) -> Tensor:
    """Each map divided by its own maximum: (…, h, w) → the same. Without a positive finite one: zero."""
    top = maps.amax(dim=(-2, -1), keepdim=True)
    usable = torch.isfinite(maps).all(dim=-1, keepdim=True).all(dim=-2, keepdim=True) & (top > 0)
    maps = torch.where(usable, maps, torch.zeros_like(maps))
    return maps / torch.where(usable, maps.amax(dim=(-2, -1), keepdim=True), torch.ones_like(top))


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, pixel areas aligned (corners not): (…, h, w) → (…, *size)."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    enlarged = F.interpolate(flat, size=tuple(size), mode="bilinear", align_corners=False)
    return enlarged.reshape(*maps.shape[:-2], *size)


def evaluation_map(maps: Tensor, size: tuple[int, int], *, relu: bool = True, eps: float = 0.0) -> Tensor:
    """The map that metrics look at: ReLU, bilinear to `size` (H, W), min–max: (…, h, w) → (…, H, W).

    relu=False leaves negative values in (RES evaluates so). Constant and non-finite maps come out as zero.
    """
    if relu:
        maps = maps.clamp(min=0)
    # Asked of the cells: enlarging a constant map leaves rounding in it, which min–max would make a picture of.
    constant = (maps.amax(dim=(1, 2)) == maps.amin(dim=(1, 2)))[:, None, None]
    return minmax(upsample(maps, size), eps).masked_fill(constant, 0.0)


def distribution(maps: Tensor, eps: float = 1e-8) -> Tensor:
    """R/(ΣR + eps) + eps with R = ReLU(map), each map by itself: (…, h, w) → the same. Differentiable.

    A map without a positive cell becomes uniform (preset "grid", definitions §1).
    """
    positive = maps.clamp(min=0)
    return positive / (positive.sum(dim=(-2, -1), keepdim=True) + eps) + eps


def status(maps: Tensor) -> list[Status]:
    """For each of (B, h, w): "ok", "constant" (all cells equal, so also zero) or "nonfinite"."""
    flat = maps.detach().flatten(1)
    finite = torch.isfinite(flat).all(dim=1).tolist()
    constant = (flat.amax(dim=1) == flat.amin(dim=1)).tolist()
    return ["nonfinite" if not f else "constant" if c else "ok" for f, c in zip(finite, constant, strict=True)]
