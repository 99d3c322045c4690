"""Synthetic warps of a picture, of which every corresponding point is known.

A warp says where each place of the warped picture was in the picture itself, so that key points need no inversion: an
affine or projective map and, with the affine one, a thin-plate spline. Places are (x, y) in −1…1, the middle of the
picture at 0. All chance about a picture follows from one number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# At strength 1: the most that a warp turns (radians), scales (logarithm), shears, moves and tilts; the deviation of the
# spline's knots; the most that contrast and brightness change, of normalised values.
TURN, SCALE, SHEAR, MOVE, TILT, BEND = math.radians(40), 0.35, 0.2, 0.2, 0.15, 0.06
CONTRAST, BRIGHTNESS = 0.2, 0.2
KNOTS = 4  # along an edge
INSIDE = 0.95  # of key points, in both pictures
TRIED = 10  # places for each key point that is wanted


@dataclass(frozen=True)
class Warps:
    """B warps. matrices (B, 3, 3); weights (B, KNOTS² + 3, 2) of the splines; light (B, 2): contrast and brightness."""

    matrices: Tensor
    weights: Tensor
    light: Tensor

    @classmethod
    def drawn(cls, chances: Sequence[int], strength: float = 1.0, device: torch.device | str = "cpu") -> Warps:
        """A warp for each number; equal numbers, equal warps. strength: factor of all that a warp does."""
        drawn = torch.stack([_numbers(chance) for chance in chances])
        matrices = torch.stack([_matrix(row, strength) for row in drawn])
        bends = drawn[:, 16:].view(-1, KNOTS**2, 2) * (BEND * strength) * (drawn[:, 8] <= 0)[:, None, None]
        known = torch.cat([bends, bends.new_zeros(len(bends), 3, 2)], dim=1)
        weights = torch.linalg.solve(_system(), known.double()).float()
        light = torch.stack([CONTRAST * _bounded(drawn[:, 9]), BRIGHTNESS * _bounded(drawn[:, 10])], dim=1)
        light = light * min(strength, 1.0) + torch.tensor([1.0, 0.0])
        return cls(matrices.to(device), weights.to(device), light.to(device))

    def __len__(self) -> int:
        return len(self.matrices)

    def places(self, points: Tensor) -> Tensor:
        """Where points (B, P, 2) of the warped pictures were before: (B, P, 2)."""
        flat = torch.cat([points, torch.ones_like(points[..., :1])], dim=2) @ self.matrices.transpose(1, 2)
        return flat[..., :2] / flat[..., 2:] + _basis(points) @ self.weights

    def apply(self, images: Tensor) -> Tensor:
        """The warped pictures of (B, C, H, W), 0 where a place lies outside of the picture."""
        height, width = images.shape[2:]
        across = (torch.arange(width, device=images.device) * 2 + 1) / width - 1
        down = (torch.arange(height, device=images.device) * 2 + 1) / height - 1
        rows, columns = torch.meshgrid(down, across, indexing="ij")
        grid = torch.stack([columns.flatten(), rows.flatten()], dim=1).expand(len(self), -1, -1)
        grid = self.places(grid).view(-1, height, width, 2)
        warped = F.grid_sample(images, grid.to(images.dtype), mode="bilinear", align_corners=False)
        contrast, brightness = (column[:, None, None, None].to(images.dtype) for column in self.light.unbind(dim=1))
        return warped * contrast + brightness

    def key_points(self, chances: Sequence[int], count: int) -> tuple[Tensor, Tensor]:
        """`count` places in each picture and in its warped one, (B, count, 2) both, inside of either; drawn by the
        numbers that drew the warps. Where a warp leaves fewer, some come again."""
        tried = torch.stack([_places(chance, count * TRIED) for chance in chances]).to(self.matrices.device)
        before = self.places(tried)
        inside = (before.abs() <= INSIDE).all(dim=2)
        if not bool(inside.any(dim=1).all()):
            raise ValueError("A warp leaves nothing of its picture: make it weaker.")
        order = inside.int().argsort(dim=1, descending=True, stable=True)
        which = torch.arange(count, device=order.device) % inside.sum(dim=1, keepdim=True)
        chosen = order.gather(1, which)[..., None].expand(-1, -1, 2)
        return before.gather(1, chosen), tried.gather(1, chosen)


def _numbers(chance: int) -> Tensor:
    """Normal deviates of a warp."""
    return torch.randn(16 + 2 * KNOTS**2, generator=torch.Generator().manual_seed(chance % 2**63))


def _places(chance: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed((chance ^ 0x5DEECE66D) % 2**63)
    return (torch.rand(count, 2, generator=generator) * 2 - 1) * INSIDE


def _bounded(values: Tensor) -> Tensor:
    """Normal deviates made uniform in −1…1."""
    return torch.erf(values / math.sqrt(2))


def _matrix(numbers: Tensor, strength: float) -> Tensor:
    """From the warped picture to the picture; a tilt where there is no spline."""
    turn, wide, high, shear, right, down, tilt_x, tilt_y = (_bounded(numbers[:8]) * strength).tolist()
    cosine, sine = math.cos(TURN * turn), math.sin(TURN * turn)
    common = math.exp(SCALE * wide)
    stretch = math.exp(SCALE / 3 * high)
    turned = torch.tensor([[cosine, -sine], [sine, cosine]])
    scaled = torch.tensor([[common * stretch, SHEAR * shear], [0.0, common / stretch]])
    found = torch.eye(3)
    found[:2, :2] = turned @ scaled
    found[:2, 2] = torch.tensor([MOVE * right, MOVE * down])
    if float(numbers[8]) > 0:
        found[2, :2] = torch.tensor([TILT * tilt_x, TILT * tilt_y])
    return found


def _knots() -> Tensor:
    line = torch.linspace(-1, 1, KNOTS)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()], dim=1)


def _basis(points: Tensor) -> Tensor:
    """r² log r² of the distances to the knots, and 1, x, y: (…, P, KNOTS² + 3)."""
    apart = (points[..., :, None, :] - _knots().to(points)).square().sum(dim=-1)
    bent = apart * apart.clamp(min=1e-12).log()
    return torch.cat([bent, torch.ones_like(points[..., :1]), points], dim=-1)


def _system() -> Tensor:
    """The equations of a thin-plate spline through all knots, double precision."""
    knots = _knots().double()
    upper = _basis(knots)
    lower = torch.cat([upper[:, -3:].T, torch.zeros(3, 3, dtype=torch.float64)], dim=1)
    return torch.cat([upper, lower])
