"""TAME: a small trained attention over several layers of a frozen classifier (definitions §4).

Ntrougkas, Gkalelis & Mezaris, "TAME: Attention mechanism based feature fusion for generating explanation maps of
convolutional neural networks", ISM 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.attention import AttentionAttribution, AttentionModule
from mlcore.attribution.attention_layers import attention_layers, probe
from mlcore.attribution.inspect_layers import suggested_layers, usable_layers

Variant = Literal["default", "no_skip", "no_skip_no_norm", "sigmoid"]
VARIANTS: tuple[Variant, ...] = ("default", "no_skip", "no_skip_no_norm", "sigmoid")

MOST_CELLS = 56  # of a map's side


class Branch(nn.Module):
    """What one layer goes through before it is enlarged: 1×1 convolution, BatchNorm, + itself, ReLU."""

    def __init__(self, channels: int, classes: int, variant: Variant) -> None:
        super().__init__()
        out = classes if variant == "no_skip" else channels
        self.conv = nn.Conv2d(channels, out, 1)
        self.norm = nn.Identity() if variant == "no_skip_no_norm" else nn.BatchNorm2d(out)
        self.skip = variant in ("default", "sigmoid")
        self.bounded = variant == "sigmoid"

    def forward(self, feature: Tensor) -> Tensor:
        seen = self.norm(self.conv(feature))
        if self.skip:
            seen = seen + feature
        return torch.sigmoid(seen) if self.bounded else F.relu(seen)


class TAMEAttention(AttentionModule):
    """Per layer a branch, enlarged to the first layer's size, all fused by a 1×1 convolution to one map a class.

    layers: names of 2 to 4 layers, the first the finest. channels: of each. classes: of the classifier.
    variant: "default"; "no_skip" (C→K channels with BatchNorm, without the skip); "no_skip_no_norm" (C→C, neither);
        "sigmoid" (as default, with a sigmoid for the ReLU).

    Maps are square with the longer side of the first layer's, at most 56. Features (B, C_i, h_i, w_i) → c:
    (B, K, s, s), or the targets' own maps only.
    """

    kind = "tame"

    def __init__(
        self, layers: Sequence[str], channels: Sequence[int], classes: int, *, variant: Variant = "default"
    ) -> None:
        if variant not in VARIANTS:
            raise ValueError(f"TAME has the variants {', '.join(VARIANTS)}, not “{variant}”.")
        if not 2 <= len(layers) <= 4:
            raise ValueError(f"TAME reads 2 to 4 layers, not {len(layers)}.")
        super().__init__(layers, channels, classes, variant)
        self.branches = nn.ModuleList(Branch(number, self.classes, variant) for number in self.channels)
        self.widths = [self.classes if variant == "no_skip" else number for number in self.channels]
        self.fuse = nn.Conv2d(sum(self.widths), self.classes, 1)

    @classmethod
    def for_model(
        cls, model: nn.Module, layers: Sequence[str] | None = None, *, variant: Variant = "default", size: int = 224
    ) -> Self:
        """An untrained attention that fits `model`, which is asked once with a grey picture of `size` px.

        Without layers: those of the paper for ResNet and VGG (`attention_layers`), elsewhere those that the list of a
        classifier's layers suggests (`suggested_layers`). Raises ValueError where there are none.
        """
        layers = _own_layers(model, size) if layers is None else layers
        channels, classes = probe(model, layers, size)
        return cls(layers, channels, classes, variant=variant)

    def forward(self, features: Sequence[Tensor], targets: Tensor | None = None) -> Tensor:
        side = min(max(features[0].shape[-2:]), MOST_CELLS)
        seen = [branch(feature) for branch, feature in zip(self.branches, features, strict=True)]
        if targets is None:
            return self.fuse(torch.cat([_enlarge(part, side) for part in seen], dim=1))
        # A 1×1 convolution commutes with bilinear interpolation, so that the class's row is enough:
        # c_y = Σ_layers up(W_layer[y] · f) + b[y]. One map is enlarged for each layer instead of all its channels.
        chosen = targets if targets.dim() == 2 else targets[:, None]
        rows = self.fuse.weight.flatten(1)[chosen]  # (B, T, ΣC)
        total: Tensor | None = None
        for part, row in zip(seen, rows.split(self.widths, dim=2), strict=True):
            one = _enlarge(torch.einsum("bchw,btc->bthw", part, row), side)
            total = one if total is None else total + one
        assert total is not None and self.fuse.bias is not None  # noqa: PT018
        maps = total + self.fuse.bias[chosen][:, :, None, None]
        return maps if targets.dim() == 2 else maps[:, 0]

    @classmethod
    def _from_file(cls, layers: list[str], channels: list[int], classes: int, variant: str) -> Self:
        return cls(layers, channels, classes, variant=variant)  # type: ignore[arg-type]


class TAME(AttentionAttribution):
    """σ(c) of a trained TAMEAttention: maps (B, s, s), s the longer side of the first layer's, at most 56.

    See AttentionAttribution for the arguments.
    """

    module = TAMEAttention


def _own_layers(model: nn.Module, size: int) -> tuple[str, ...]:
    try:
        return attention_layers(model)
    except ValueError:
        suggested = suggested_layers(model, usable_layers(model, size)).get("tame")
        if suggested is None:
            raise
        return suggested


def _enlarge(maps: Tensor, side: int) -> Tensor:
    if tuple(maps.shape[-2:]) == (side, side):
        return maps
    return F.interpolate(maps, (side, side), mode="bilinear", align_corners=False)
