"""Which stage of a classifier a correspondence network reads."""

from __future__ import annotations

import torch
from torch import nn

from mlcore.attribution.layers import find_layer, unwrap
from mlcore.correspondence.features import describe

SIZE = 240
SIDE = 15
# Stages that give 15 × 15 cells, or as near as the family comes, of 240 px.
BY_FAMILY = {
    "ResNet": "layer3",
    "RegNet": "trunk_output.block3",
    "MobileNetV2": "features.13",
    "SqueezeNet": "features.12",
    "AlexNet": "features.12",
}


def default_stage(model: nn.Module, size: int = SIZE) -> str:
    """Name of the stage that a network reads where nobody names one: the published third one of a ResNet, else the
    last child of `features` (or of the classifier) whose cells are nearest to 15 × 15 at `size` px.

    Raises ValueError where no stage has cells.
    """
    inner = unwrap(model)
    family = type(inner).__name__
    if family in BY_FAMILY:
        return BY_FAMILY[family]
    features = getattr(inner, "features", None)
    prefix = "features." if isinstance(features, nn.Sequential) else ""
    children = (features if prefix else inner).named_children()  # type: ignore[union-attr]
    best: tuple[float, str] | None = None
    for name in [f"{prefix}{child}" for child, _ in children]:
        side = _side(inner, name, size)
        if side and (best is None or abs(side - SIDE) <= best[0]):
            best = (abs(side - SIDE), name)
    if best is None:
        raise ValueError(f"A correspondence network knows no stage of {family} by itself: name a layer with cells.")
    return best[1]


def _side(model: nn.Module, layer: str, size: int) -> int:
    try:
        return probe(model, layer, size)[1]
    except ValueError:
        return 0


def probe(model: nn.Module, layer: str, size: int = SIZE) -> tuple[int, int]:
    """Channels of a layer and the side of its square of cells, from one grey picture of `size` px.

    Raises ValueError where there is no such layer, or where it has no cells.
    """
    find_layer(model, layer)
    parameter = next(model.parameters(), torch.zeros(()))
    grey = torch.zeros(1, 3, size, size, dtype=parameter.dtype, device=parameter.device)
    found = describe(model, layer, grey)
    if found.shape[2] < 2 or found.shape[3] < 2:
        raise ValueError(f"Layer “{layer}” has no cells left at {size} px: name an earlier one.")
    return found.shape[1], found.shape[2]
