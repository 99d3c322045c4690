"""How good a map or a classifier is: one metric a file (definitions §7).

    metric = METRICS["attention_iou_50"]()
    metric.update(maps, masks, names)
    metric.compute()         # {"metric": …, "value": …, "n": …, "left_out": {reason: count}}

Importing this package costs nothing; torch is loaded when a metric is first used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlcore.attribution.registry import Registry
from mlcore.catalogue.metrics import METRICS as _SPECS

__all__ = ["METRICS"]

METRICS: Mapping[str, Any] = Registry("metric", {name: spec.path for name, spec in _SPECS.items()})
