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

    def value_of(self, heat: Tensor, mask: Tensor) -> float | str:
        """IoU, or "constant map"."""
        large = evaluation_map(heat[None], (mask.shape[0], mask.shape[1]), relu=self.relu)[0]
        if not bool(large.any()):
            return CONSTANT_MAP
        bright = large > self.threshold
        return float((bright & mask).sum() / (bright | mask).sum())


class AttentionIoU75(AttentionIoU):
    """Attention IoU at GRADIA's own threshold."""

    def __init__(self, threshold: float = 0.75, *, relu: bool = True) -> None:
        super().__init__(threshold, relu=relu)
