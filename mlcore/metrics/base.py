"""What every metric is: values by image, and by name what was left out and why."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

CONSTANT_MAP = "constant map"
ZERO_MAP = "zero map"
NONFINITE_MAP = "non-finite map"
EMPTY_MASK = "empty mask"
DIFFICULT = "only difficult objects"

Masks = Tensor | Sequence[Tensor]


class Metric(ABC):
    """Collects one value an image. `name` is how results call it.

    per_image: value of each image that counts. left_out: names of the others by reason; none of them enters
    a mean. An image given twice counts once, with its last value.
    """

    name: str

    def __init__(self) -> None:
        self.per_image: dict[str, float] = {}
        self.left_out: dict[str, list[str]] = {}

    def reset(self) -> None:
        """Forget every image."""
        self.per_image = {}
        self.left_out = {}

    def record(self, name: str, value: float) -> None:
        """The image counts with this value."""
        self._forget(name)
        self.per_image[name] = value

    def leave_out(self, name: str, reason: str) -> None:
        """The image does not count, for this reason."""
        self._forget(name)
        self.left_out.setdefault(reason, []).append(name)

    def mean(self) -> float | None:
        """Mean over images; None where none counts."""
        return sum(self.per_image.values()) / len(self.per_image) if self.per_image else None

    def compute(self) -> dict[str, Any]:
        """{"metric": name, "value": float or None, "n": images counted, "left_out": {reason: count}}."""
        return {
            "metric": self.name,
            "value": self.mean(),
            "n": len(self.per_image),
            "left_out": {reason: len(names) for reason, names in self.left_out.items()},
        }

    def _forget(self, name: str) -> None:
        self.per_image.pop(name, None)
        for reason in [reason for reason, names in self.left_out.items() if name in names]:
            self.left_out[reason].remove(name)
            if not self.left_out[reason]:
                del self.left_out[reason]


class MapMetric(Metric):
    """A metric that compares maps with masks, one image after another (masks may differ in size)."""

    def update(self, maps: Tensor, masks: Masks, names: Sequence[str]) -> None:
        """maps (B, h, w); masks (B, H, W) or B masks (H, W), object where > 0; names of the B images."""
        check_lengths(maps=maps, masks=masks, names=names)
        for heat, mask, name in zip(maps, masks, names, strict=True):
            self.update_one(heat.detach().float(), mask > 0, name)

    def update_one(self, heat: Tensor, mask: Tensor, name: str) -> None:
        """One finite check and one empty check for all; `value_of` sees only what can be measured."""
        if not bool(torch.isfinite(heat).all()):
            self.leave_out(name, NONFINITE_MAP)
        elif not bool(mask.any()):
            self.leave_out(name, EMPTY_MASK)
        else:
            value = self.value_of(heat, mask)
            if isinstance(value, str):
                self.leave_out(name, value)
            else:
                self.record(name, value)

    @abstractmethod
    def value_of(self, heat: Tensor, mask: Tensor) -> float | str:
        """The value of a finite map (h, w) against a mask (H, W) that is not empty, or why it has none."""


def check_lengths(**columns: Tensor | Sequence[Any]) -> None:
    """Raises ValueError unless all have one entry for each image."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{length} {name}" for name, length in lengths.items())
        raise ValueError(f"Each image needs one of each: there are {said}.")


def boxes_to_mask(boxes: Sequence[Sequence[float]], height: int, width: int) -> Tensor:
    """Union of boxes (x0, y0, x1, y1) in pixels → (height, width) bool; a pixel is in by its centre."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    rows = torch.arange(height)[:, None] + 0.5
    columns = torch.arange(width)[None] + 0.5
    for x0, y0, x1, y1 in boxes:
        mask |= (rows >= y0) & (rows < y1) & (columns >= x0) & (columns < x1)
    return mask
