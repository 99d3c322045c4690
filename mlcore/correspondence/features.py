"""Features of pictures by a classifier's layer: the cells that comparisons look at (definitions §6)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from mlcore.attribution.base import untouched
from mlcore.attribution.layers import canonical, capture, default_layer, unwrap


def last_spatial_layer(model: nn.Module) -> str:
    """Name of the last layer whose output has cells, which is what the head pools: "features" of MobileNetV2 and
    SqueezeNet, "layer4" of ResNet, "encoder.ln" of ViT (its class token is left out).

    Raises ValueError where there is none.
    """
    inner = unwrap(model)
    if type(inner).__name__ == "VisionTransformer":
        return "encoder.ln"
    return default_layer(inner)


def describe(model: nn.Module, layer: str, images: Tensor) -> Tensor:
    """Raw cells (n, C, h, w) float32 of pictures (n, 3, H, W), on their device; nothing behind the layer is computed.

    Eval mode, no gradients; the model is left as it was. Raises ValueError for a layer that there is not, or whose
    output has no cells in rows and columns.
    """
    with untouched(unwrap(model)), torch.no_grad(), capture(model, layer, stop=True) as captured:
        model(images)
    return captured.output.float()


def describe_layers(model: nn.Module, layers: Sequence[str], images: Tensor) -> list[Tensor]:
    """`describe` for several layers in one forward pass, in the order given. Raises ValueError."""
    names = [canonical(layer) for layer in layers]
    distinct = list(dict.fromkeys(names))
    if len(distinct) == 1:
        return [describe(model, distinct[0], images)] * len(names)
    with ExitStack() as stack:
        stack.enter_context(untouched(unwrap(model)))
        stack.enter_context(torch.no_grad())
        captured = {name: stack.enter_context(capture(model, name)) for name in distinct}
        model(images)
    return [captured[name].output.float() for name in names]


def pool(cells: Tensor) -> Tensor:
    """Mean over cells: (…, C, h, w) → (…, C) float32, the same for a picture alone and among others."""
    return cells.mean(dim=(-2, -1), dtype=torch.float64).float()
