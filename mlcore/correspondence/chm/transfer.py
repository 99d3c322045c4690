"""From scores of pairs of cells to points: where a point of the source lies in the target (definitions §6).

Points are (x, y) in −1…1, the picture's left and upper edge at −1.
"""

from __future__ import annotations

import torch
from torch import Tensor

SIGMA = 17.0  # cells
NEAR = 0.1
SIDE = 30  # where that is 1.45 cells; a coarser grid has as many cells near
EPSILON = 1e-5


def transfer(scores: Tensor, points: Tensor, *, sigma: float = SIGMA) -> Tensor:
    """scores (B, n², n²) of source and target cells, by rows; points (B, P, 2) of the source: those of the target,
    (B, P, 2).

    A source cell's scores are multiplied by a Gaussian at their maximum, made shares by a softmax, and give the
    expected coordinate on linspace(−1, 1, n). A point takes the mean of the source cells nearer than 0.1, weighted by
    0.1 − √(d² + 1e-5); on a grid coarser than 30 × 30 nearer than as many cells. Only those cells are computed. A point
    outside of the picture counts as the nearest on its edge.
    """
    side = round(scores.shape[1] ** 0.5)
    line = torch.linspace(-1, 1, side, dtype=scores.dtype, device=scores.device)
    near = NEAR * max((SIDE - 1) / (side - 1), 1.0)
    weights = attention(points.to(scores.dtype), line, near)
    # No more cells than a square of these lie so near.
    most = min(int(near * (side - 1)) + 1, side) ** 2
    weights, cells = weights.topk(most, dim=2)
    rows = scores.gather(1, cells.flatten(1)[:, :, None].expand(-1, -1, scores.shape[2]))
    shares = (rows * gaussian(rows, side, sigma)).softmax(dim=2).unflatten(2, (side, side))
    across = (shares.sum(dim=2) @ line).view_as(weights)
    down = (shares.sum(dim=3) @ line).view_as(weights)
    weights = weights / weights.sum(dim=2, keepdim=True)
    return torch.stack([(weights * across).sum(dim=2), (weights * down).sum(dim=2)], dim=2)


def attention(points: Tensor, line: Tensor, near: float = NEAR) -> Tensor:
    """(B, P, n²): near − √(d² + 1e-5) of the cells nearer than that, 0 elsewhere."""
    inside = points.clamp(-1, 1)
    across = (inside[..., 0, None] - line).square()
    down = (inside[..., 1, None] - line).square()
    apart = (down[..., :, None] + across[..., None, :] + EPSILON).sqrt().flatten(2)
    return (near - apart).clamp(min=0)


def gaussian(rows: Tensor, side: int, sigma: float) -> Tensor:
    """exp(−d²/2σ²) of each cell's distance, in cells, from the row's maximum; rows (B, R, n²)."""
    top = rows.argmax(dim=2)
    number = torch.arange(side, device=rows.device)

    def along(centre: Tensor) -> Tensor:
        return torch.exp(-(number - centre[..., None]).to(rows.dtype).square() / (2 * sigma**2))

    return (along(top // side)[..., :, None] * along(top % side)[..., None, :]).flatten(2)
