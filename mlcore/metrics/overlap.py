"""IoU, Dice, precision and recall of a part of the map against a mask (definitions §7).

The part is cut from the evaluation map (ReLU, bilinear to the mask's size, min–max) either above 0.5 or as its
brightest tenth: exactly ⌈H·W/10⌉ pixels' worth. Where more pixels than places are equal at the limit, they share the
places evenly, so the value is what breaking ties by chance gives on average and never depends on the order of pixels.
Half of a Grad-CAM map can be zero: without such a rule its value would be that of the upper left corner.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from mlcore.attribution.maps import evaluation_map
from mlcore.metrics.base import CONSTANT_MAP, MapMetric

HALF = 0.5
Part = Literal["top10", "50"]


def brightest_tenth(maps: Tensor, known: Tensor | None = None) -> Tensor:
    """How much of each pixel is in the brightest tenth: maps (B, H, W) → (B, H, W) in [0, 1], float64.

    They sum to ⌈n/10⌉ for each map, n its pixels (those that are `known`, (B, H, W) bool, where given).
    """
    flat = maps.flatten(1)
    if known is None:
        counts = torch.full((len(flat),), flat.shape[1], device=maps.device)
    else:
        flat = flat.masked_fill(~known.flatten(1), -torch.inf)
        counts = known.flatten(1).sum(dim=1)
    places = ((counts + 9) // 10).clamp(min=1)
    highest = flat.topk(int(places.max()), dim=1).values
    limit = highest.gather(1, places[:, None] - 1)
    above, equal = flat > limit, flat == limit
    if known is not None:
        equal &= known.flatten(1)
    left = (places - above.sum(dim=1)).double()
    share = left / equal.sum(dim=1).clamp(min=1)
    return (above.double() + equal.double() * share[:, None]).view(maps.shape)


class Overlap(MapMetric):
    """One figure of the overlap of a part of the map with the mask; mean over images."""

    part: ClassVar[Part] = "top10"

    def values_of(self, maps: Tensor, masks: Tensor) -> list[float | str]:
        """The figure, or "constant map" where the ReLU leaves nothing or all cells are equal."""
        large = evaluation_map(maps, (masks.shape[1], masks.shape[2]))
        part = brightest_tenth(large) if self.part == "top10" else (large > HALF).double()
        shared = (part * masks).flatten(1).sum(dim=1)
        found = self.figure(shared, part.flatten(1).sum(dim=1), masks.flatten(1).sum(dim=1).double()).tolist()
        something = large.flatten(1).any(dim=1).tolist()
        return [value if there else CONSTANT_MAP for value, there in zip(found, something, strict=True)]

    def figure(self, shared: Tensor, part: Tensor, mask: Tensor) -> Tensor:
        """From areas in pixels, (B,) each: shared by both, of the part, of the mask."""
        raise NotImplementedError


class IoUTop10(Overlap):
    """Intersection over union of the map's brightest tenth and the mask."""

    name = "iou_top10"

    def figure(self, shared: Tensor, part: Tensor, mask: Tensor) -> Tensor:
        """shared / (part + mask − shared)."""
        return shared / (part + mask - shared)


class DiceTop10(Overlap):
    """Twice the intersection over the sum of the map's brightest tenth and the mask."""

    name = "dice_top10"

    def figure(self, shared: Tensor, part: Tensor, mask: Tensor) -> Tensor:
        """2·shared / (part + mask)."""
        return 2 * shared / (part + mask)


class PrecisionTop10(Overlap):
    """Share of the map's brightest tenth that lies on the object."""

    name = "precision_top10"

    def figure(self, shared: Tensor, part: Tensor, mask: Tensor) -> Tensor:
        """shared / part; the whole map is zero where the part is empty, and is left out."""
        return shared / part.clamp(min=1)


class RecallTop10(Overlap):
    """Share of the object that the map's brightest tenth covers."""

    name = "recall_top10"

    def figure(self, shared: Tensor, part: Tensor, mask: Tensor) -> Tensor:
        """shared / mask."""
        return shared / mask


class Dice50(DiceTop10):
    """Twice the intersection over the sum of [evaluation map > 0.5] and the mask. (IoU is `AttentionIoU`.)"""

    name = "dice_50"
    part: ClassVar[Part] = "50"


class Precision50(PrecisionTop10):
    """Share of [evaluation map > 0.5] that lies on the object."""

    name = "precision_50"
    part: ClassVar[Part] = "50"


class Recall50(RecallTop10):
    """Share of the object that [evaluation map > 0.5] covers."""

    name = "recall_50"
    part: ClassVar[Part] = "50"
