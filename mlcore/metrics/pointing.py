"""Pointing game: does the map's maximum lie on the object? (definitions §7)

Zhang et al., "Top-down neural attention by excitation backprop", 2016.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mlcore.attribution.maps import status, upsample
from mlcore.metrics.base import CONSTANT_MAP, DIFFICULT, MapMetric, Masks, check_lengths
from mlcore.metrics.dilation import within
from mlcore.metrics.intervals import bootstrap_interval


class PointingGame(MapMetric):
    """Share of images whose maximum lies strictly nearer than `tolerance` pixels to the object.

    Masks are at the ORIGINAL image's size; the map is enlarged to it (bilinear) and its first maximum in
    reading order taken. A maximum inside the mask is at distance 0 and counts with tolerance 0 too.
    The value is the mean of per-class accuracies over the classes present; without classes, over images.
    """

    takes_also = ("classes", "difficult")

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
        difficult: Sequence[bool] | Tensor | None = None,
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
            super().update(maps, masks, names)
            return
        check_lengths(maps=maps, difficult=difficult)
        skipped = [bool(skip) for skip in difficult]
        for name in (name for name, skip in zip(names, skipped, strict=True) if skip):
            self.leave_out(name, DIFFICULT)
        rows = [row for row, skip in enumerate(skipped) if not skip]
        if rows:
            super().update(maps[rows], [masks[row] for row in rows], [names[row] for row in rows])

    def values_of(self, maps: Tensor, masks: Tensor) -> list[float | str]:
        """1.0 hit, 0.0 miss, or "constant map"."""
        height, width = masks.shape[1:]
        highest = upsample(maps, (height, width)).flatten(1).argmax(dim=1).tolist()
        areas = within(masks.cpu().numpy(), self.tolerance).reshape(len(masks), -1)
        return [
            CONSTANT_MAP if state == "constant" else float(area[place])
            for state, area, place in zip(status(maps), areas, highest, strict=True)
        ]

    def by_class(self) -> dict[int, float]:
        """Accuracy of each class present among the images that count."""
        hits: dict[int, list[float]] = {}
        for name, value in self.per_image.items():
            hits.setdefault(self.classes.get(name, 0), []).append(value)
        return {label: sum(values) / len(values) for label, values in sorted(hits.items())}

    def mean(self) -> float | None:
        """Mean over the classes present; None where no image counts."""
        classes = self.by_class()
        return math.fsum(classes.values()) / len(classes) if classes else None

    def interval(self) -> tuple[float, float] | None:
        """95 % by drawing the images again (seeded): the value is a mean of classes' means, not of images."""
        hits = np.array(list(self.per_image.values()))
        _, classes = np.unique([self.classes.get(name, 0) for name in self.per_image], return_inverse=True)

        def again(drawn: NDArray[np.intp]) -> float:
            of = classes[drawn]
            counts = np.bincount(of)
            present = counts > 0
            return float((np.bincount(of, weights=hits[drawn])[present] / counts[present]).mean())

        return bootstrap_interval(len(hits), again)

    def compute(self) -> dict[str, Any]:
        """As every metric; value is the mean over classes, "classes" the accuracy of each."""
        return super().compute() | {"classes": self.by_class()}
