"""What a classifier looked at: one method a file.

    from mlcore.attribution import explain
    maps = explain(model, images, targets)                      # Grad-CAM, (B, h, w)
    maps = explain(model, images, targets, preset="gradia")     # the options of the method

Importing this package costs nothing; torch is loaded when a method is first used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlcore.attribution.registry import Registry
from mlcore.catalogue import METHODS as _SPECS

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["METHODS", "explain"]


METHODS: Mapping[str, Any] = Registry("method", _SPECS)


def explain(model: nn.Module, images: Tensor, targets: Any, method: str = "grad_cam", **options: Any) -> Tensor:
    """Maps (B, h, w) float32 of what `model` looked at in `images` (B, 3, H, W) for `targets` (B,).

    method: a name in METHODS; options: those of its constructor. Raises KeyError for an unknown method.
    """
    return METHODS[method](model, **options).explain(images, targets)
