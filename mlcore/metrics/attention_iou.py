"""Attention IoU: does the bright part of the map cover the object? (definitions §2, §7)"""

from __future__ import annotations

from torch import Tensor

from mlcore.attribution.maps import evaluation_map
from mlcore.metrics.base import CONSTANT_MAP, MapMetric


class AttentionIoU(MapMetric):
    """IoU of [evaluation map > threshold] against [mask > 0], at the mask's size; mean over images.

    The evaluation map is ReLU, bilinear, min–max; relu=False leaves the ReLU out (RES).
    Give the mask at the size of the classifier's input for the published definition.
    """

    def __init__(self, threshold: float = 0.5, *, relu: bool = True) -> None:
        super().__init__()
        if not 0 <= threshold < 1:
            raise ValueError(f"The threshold lies between 0 and 1, not at {threshold}.")
        self.threshold = threshold
        self.relu = relu
        self.name = f"attention_iou_{round(100 * threshold):02d}"

    def values_of(self, maps: Tensor, masks: Tensor) -> list[float | str]:
        """IoU, or "constant map"."""
        large = evaluation_map(maps, (masks.shape[1], masks.shape[2]), relu=self.relu)
        bright = large > self.threshold
        shared = (bright & masks).flatten(1).sum(dim=1).tolist()
        either = (bright | masks).flatten(1).sum(dim=1).tolist()
        something = large.flatten(1).any(dim=1).tolist()
        return [a / b if there else CONSTANT_MAP for a, b, there in zip(shared, either, something, strict=True)]


class AttentionIoU75(AttentionIoU):
    """Attention IoU at GRADIA's own threshold."""

    def __init__(self, threshold: float = 0.75, *, relu: bool = True) -> None:
        super().__init__(threshold, relu=relu)
