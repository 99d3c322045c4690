"""The map that people asked for, at the size of the classifier's own (definitions §2, T)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mlcore.attribution.maps import normalise_max


def area_reduce(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Mean over the area that each cell covers, fractions of pixels included: (B, H, W) → (B, *size)."""
    height, width = size
    if masks.shape[-2] == height and masks.shape[-1] == width:
        return masks
    if masks.shape[-2] % height == 0 and masks.shape[-1] % width == 0:
        return F.avg_pool2d(masks[:, None], (masks.shape[-2] // height, masks.shape[-1] // width))[:, 0]
    rows = _overlap(masks.shape[-2], height).to(masks)
    columns = _overlap(masks.shape[-1], width).to(masks)
    return rows @ masks @ columns.T


def gaussian3(maps: Tensor) -> Tensor:
    """3×3 Gaussian [1, 2, 1]/4 in each direction, border reflected without repeating the edge: (B, h, w)."""
    kernel = maps.new_tensor([1.0, 2.0, 1.0]) / 4
    blurred = maps[:, None]
    if maps.shape[-2] > 1:  # a single row reflected is itself: blurring along it changes nothing
        blurred = F.conv2d(F.pad(blurred, (0, 0, 1, 1), mode="reflect"), kernel[None, None, :, None])
    if maps.shape[-1] > 1:
        blurred = F.conv2d(F.pad(blurred, (1, 1, 0, 0), mode="reflect"), kernel[None, None, None, :])
    return blurred[:, 0]


def attention_target(masks: Tensor, size: tuple[int, int], *, rounded: bool = False) -> Tensor:
    """T: important pixels (B, H, W) in {0, 1} → (B, h, w) in [0, 1], maximum 1; an empty mask stays zero.

    rounded (preset "gradia"): on 0…255, rounded to whole numbers after the reduction and after the blur, as
    8-bit pictures are.
    """
    masks = masks.to(torch.get_default_dtype()) if not masks.is_floating_point() else masks
    if not rounded:
        return normalise_max(gaussian3(area_reduce(masks, size)))
    reduced = torch.round(area_reduce(masks * 255, size))
    return normalise_max(torch.floor(gaussian3(reduced) + 0.5))


def nearest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """The value at each cell's centre: (B, H, W) of any type → (B, *size)."""
    rows = ((torch.arange(size[0], device=maps.device) + 0.5) * maps.shape[-2] / size[0]).long()
    columns = ((torch.arange(size[1], device=maps.device) + 0.5) * maps.shape[-1] / size[1]).long()
    return maps[:, rows][:, :, columns]


def _overlap(pixels: int, cells: int) -> Tensor:
    """(cells, pixels): the share of each cell that each pixel covers; rows sum to 1."""
    edges = torch.arange(cells + 1, dtype=torch.float64) * pixels / cells
    low, high = edges[:-1, None], edges[1:, None]
    pixel = torch.arange(pixels, dtype=torch.float64)[None]
    covered = (torch.minimum(high, pixel + 1) - torch.maximum(low, pixel)).clamp(min=0)
    return covered / covered.sum(dim=1, keepdim=True)
