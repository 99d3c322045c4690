"""Filling in removed pixels from around them: ROAD's linear imputation (definitions §5).

Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", ICML 2022: each removed pixel is
the weighted mean of its eight neighbours (1/6 beside, above and below, 1/12 on the diagonals), removed ones
included; the weights are renormalised where neighbours lie outside the picture. Known pixels stay as they are.

Thin holes are solved by Gauss–Seidel sweeps alone, for their pixels are hardly further from a known one than one sweep
reaches; wide ones by multigrid cycles (`mlcore.metrics.four_colours`, `mlcore.metrics.multigrid`). Half-way the
residual is taken anew in double precision: the error is the tolerance, not float32's. A picture that does not settle
is solved directly instead: slower, but always right (`mlcore.metrics.direct_filling`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mlcore.metrics.direct_filling import fill_directly
from mlcore.metrics.four_colours import Picture

STAGES = (1e-3, 2e-6)  # estimated error after each stage of cycles, as a share of the picture's largest known value
SWEPT = 1e-6  # estimated error after sweeps alone
MOST_CYCLES = 60
# Of pixels in the middle of a hole of 3×3 pixels, above which sweeps alone are not tried. Scattered pixels at 224 px:
# 1e-3 is a removed share of a half, where sweeps take about as long as cycles; a smooth map's holes are far above.
MOST_DEEP = 1e-3
BUNCH = 3  # sweeps from one look at their change to the next
MOST_BUNCHES = 8
# Values (pixels × colours) that are solved together: on a CPU about as many as its cache holds, one picture of 224 px.
TOGETHER = {"cpu": 2**18, "cuda": 2**25}


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
    most = TOGETHER.get(images.device.type, 2**18)
    size = max(1, min(len(images), most // max(1, known[:1].numel())))
    picture: Picture | None = None
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        for start in range(0, len(images), size):
            part, gone = known[start : start + size], removed[start : start + size]
            if picture is None or picture.count != len(part):
                picture = Picture(len(part), part.shape[1], (part.shape[2], part.shape[3]), part.device)
            _fill(picture, part, gone)
    return known


def _fill(picture: Picture, known: Tensor, removed: Tensor) -> None:
    """Put into known (N, C, H, W), 0 where removed (N, H, W), what removed pixels become."""
    picture.load(known, removed)
    scale = known.abs().amax(dim=(1, 2, 3)).clamp(min=1e-30)
    deep = _middles(removed).float().mean(dim=(1, 2))
    if bool((deep <= MOST_DEEP).all()) and _sweep(picture, scale):
        known.copy_(picture.result())
        return
    picture.set_levels()
    near = _cycle(picture, scale)
    found = picture.result()
    for index in (~near).nonzero()[:, 0].tolist():
        found[index] = fill_directly(known[index], removed[index])
    known.copy_(found)


def _middles(removed: Tensor) -> Tensor:
    """Pixels of which all neighbours are removed, and themselves: (N, H, W) → (N, H − 2, W − 2)."""
    rows = removed[:, :-2] & removed[:, 1:-1] & removed[:, 2:]
    return rows[:, :, :-2] & rows[:, :, 1:-1] & rows[:, :, 2:]


def _sweep(picture: Picture, scale: Tensor) -> bool:
    """Sweeps, as long as they shrink the change quickly; whether the pictures are filled in now."""
    before: Tensor | None = None
    for bunch in range(1, MOST_BUNCHES + 1):
        for _ in range(BUNCH - 1):
            picture.sweep()
        change = picture.change() / scale
        if before is not None:
            rate = (change / before.clamp(min=1e-30)) ** (1 / BUNCH)
            # What is left is the rest of a geometric series.
            left = change * rate / (1 - rate)
            if bool(((rate < 0.8) & (left <= SWEPT)).all()):
                return True
            if not bool(((rate < 0.8) & (left * rate ** (BUNCH * (MOST_BUNCHES - bunch)) <= SWEPT)).all()):
                return False
        before = change
    return False


def _cycle(picture: Picture, scale: Tensor) -> Tensor:
    """Cycles until the estimated error of each picture is small enough, or there is no hope: which ones are (N)."""
    before = torch.full_like(scale, torch.inf)
    rate = torch.zeros_like(scale)
    for stage in STAGES:
        if stage != STAGES[0]:
            picture.refine()
        near = torch.zeros_like(scale, dtype=torch.bool)
        for turn in range(MOST_CYCLES):
            # The coarser level's correction is about the error before the cycle; what it leaves is the rest of a
            # geometric series, of which two corrections give the ratio; the worse of the last two ratios counts.
            correction = picture.cycle(anew=not turn) / scale
            last, rate = rate, (correction / before).clamp(0.1, 0.99)
            worse = torch.maximum(last, rate)
            near = correction * worse / (1 - worse) <= stage
            before = correction
            if bool((near | ~torch.isfinite(correction)).all()):
                break
    return near
