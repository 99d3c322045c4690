"""How many key points a matcher brings close to where they belong (percentage of correct key points), and the plain
cosine matcher's way to move points, which a network is measured by."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mlcore.correspondence.chm.network import resized
from mlcore.correspondence.chm.transfer import transfer

ALPHA = 0.1


def correct(moved: Tensor, true: Tensor, alpha: float = ALPHA, extent: Tensor | float = 2.0) -> Tensor:
    """Points (B, P, 2) no farther from the true ones than alpha × extent: (B, P) bool.

    extent: the longer side of the picture, or of the object in it, in the points' unit (B,); 2: pictures whose places
    are −1…1.
    """
    bound = torch.as_tensor(extent, device=moved.device, dtype=moved.dtype).expand(len(moved)) * alpha
    return (moved - true).square().sum(dim=2).sqrt() <= bound[:, None]


def pck(moved: Tensor, true: Tensor, there: Tensor | None = None, **options: float | Tensor) -> Tensor:
    """Share of each picture's points that are correct, (B,) float64; there (B, P) bool: which points exist. NaN where a
    picture has none."""
    found = correct(moved, true, **options)  # type: ignore[arg-type]
    counts = torch.ones_like(found) if there is None else there
    return (found & counts).sum(dim=1).double() / counts.sum(dim=1)


def by_cosine(source: Tensor, target: Tensor, points: Tensor, *, side: int = 0, corners: bool = False) -> Tensor:
    """Features (B, C, h, w) of both pictures and points (B, P, 2) of the source: where the plain cosine matcher puts
    them.

    The features at a point, interpolated, are compared with those of every cell; the point goes to the middle of the
    best cell. side: resize the features to so many cells along an edge first; 0: as they are. corners: cells lie from
    edge to edge of the picture instead of having their middles inside.
    """
    if side:
        source, target = resized(source, side), resized(target, side)
    n = target.shape[2]
    ours = F.grid_sample(source, points[:, None].to(source.dtype), align_corners=corners, padding_mode="border")[
        :, :, 0
    ]
    alike = F.normalize(ours, dim=1).transpose(1, 2) @ F.normalize(target, dim=1).flatten(2)
    best = alike.argmax(dim=2)
    line = _line(n, corners, target)
    return torch.stack([line[best % n], line[best // n]], dim=2)


def by_soft_cosine(source: Tensor, target: Tensor, points: Tensor, *, sharpness: float, side: int = 30) -> Tensor:
    """As the network's scores are read: cosines of the cells of both, at `side` cells along an edge, × sharpness, under
    the Gaussian at their maximum, softmax, expected coordinate, mean of the cells near a point."""
    ours, theirs = (F.normalize(resized(one, side), dim=1).flatten(2) for one in (source, target))
    return transfer((ours.transpose(1, 2) @ theirs).clamp(min=0) * sharpness, points)


def _line(n: int, corners: bool, like: Tensor) -> Tensor:
    return torch.linspace(-1, 1, n).to(like) if corners else ((torch.arange(n) * 2 + 1) / n - 1).to(like)
