"""How good a map or a classifier is: one metric a file (definitions §7).

    metric = METRICS["attention_iou"](threshold=0.5)
    metric.update(maps, masks, names)
    metric.compute()         # {"metric": …, "value": …, "n": …, "left_out": {reason: count}}

Importing this package costs nothing; torch is loaded when a metric is first used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlcore.attribution.registry import Registry

__all__ = ["METRICS"]

METRICS: Mapping[str, Any] = Registry(
    "metric",
    {
        "accuracy": "mlcore.metrics.accuracy.Accuracy",
        "attention_iou": "mlcore.metrics.attention_iou.AttentionIoU",
        "pointing_game": "mlcore.metrics.pointing_game.PointingGame",
        "content_heat_map": "mlcore.metrics.content_heat_map.ContentHeatMap",
    },
)
