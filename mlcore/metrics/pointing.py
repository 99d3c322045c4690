"""Pointing game: does the map's maximum lie on the object? (definitions §7)

Zhang et al., "Top-down neural attention by excitation backprop", 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mlcore.attribution.maps import status, upsample
from mlcore.metrics.base import CONSTANT_MAP, DIFFICULT, MapMetric, Masks, check_lengths


class PointingGame(MapMetric):
    """Share of images whose maximum lies strictly nearer than `tolerance` pixels to the object.

    Masks are at the ORIGINAL image's size; the map is enlarged to it (bilinear) and its first maximum in
    reading order taken. A maximum inside the mask is at distance 0 and counts with tolerance 0 too.
    The value is the mean of per-class accuracies over the classes present; without classes, over images.
    """

    def __init__(self, tolerance: float = 15) -> None:
        super().__init__()
        if not tolerance >= 0:
            raise ValueError(f"The tolerance must be 0 pixels or more, not {tolerance}.")
        self.tolerance = tolerance
        self.name = "pointing"
        self.classes: dict[str, int] = {}

    def reset(self) -> None:
        """Forget every image."""
        super().reset()
        self.classes = {}

    def update(
        self,
        maps: Tensor,
        masks: Masks,
        names: Sequence[str],
        classes: Sequence[int] | Tensor | None = None,
        difficult: Sequence[bool] | None = None,
    ) -> None:
        """maps (B, h, w); masks: B masks (H, W) at each image's original size; names of the B images.

        classes (B,): the class that each map and mask is of. difficult (B,): images whose objects of the
        class are all marked "difficult"; they are left out.
        """
        check_lengths(maps=maps, masks=masks, names=names)
        if classes is not None:
            check_lengths(maps=maps, classes=classes)
            self.classes |= {name: int(label) for name, label in zip(names, classes, strict=True)}
        if difficult is None:
            difficult = [False] * len(names)
        check_lengths(maps=maps, difficult=difficult)
        for heat, mask, name, skip in zip(maps, masks, names, difficult, strict=True):
            if skip:
                self.leave_out(name, DIFFICULT)
            else:
                self.update_one(heat.detach().float(), mask > 0, name)

    def value_of(self, heat: Tensor, mask: Tensor) -> float | str:
        """1.0 hit, 0.0 miss, or "constant map"."""
        if status(heat[None]) != ["ok"]:
            return CONSTANT_MAP
        large = upsample(heat[None], (mask.shape[0], mask.shape[1]))[0]
        row, column = divmod(int(large.argmax()), mask.shape[1])
        if bool(mask[row, column]):
            return 1.0
        rows, columns = mask.nonzero(as_tuple=True)
        nearest = int(((rows - row) ** 2 + (columns - column) ** 2).min())
        return float(nearest < self.tolerance**2)

    def by_class(self) -> dict[int, float]:
        """Accuracy of each class present among the images that count."""
        hits: dict[int, list[float]] = {}
        for name, value in self.per_image.items():
            hits.setdefault(self.classes.get(name, 0), []).append(value)
        return {label: sum(values) / len(values) for label, values in sorted(hits.items())}

    def compute(self) -> dict[str, Any]:
        """As every metric; value is the mean over classes, "classes" the accuracy of each."""
        classes = self.by_class()
        value = sum(classes.values()) / len(classes) if classes else None
        return super().compute() | {"value": value, "classes": classes}
