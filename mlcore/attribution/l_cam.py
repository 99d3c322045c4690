"""L-CAM: a trained attention over the last layer of a frozen classifier.

Gkartzonika, Gkalelis & Mezaris, "Learning visual explanations for DCNN-based image classifiers using an attention
mechanism", ECCV Workshops 2022. The mechanism is one 1×1 convolution from the layer's C channels to the K classes and
a sigmoid: a[y] = σ(Σ_c W[y, c] · A_c + b[y]). L-CAM-Fm and L-CAM-Img are two ways to train it (a multiplies the
features or the picture); their maps are read the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from mlcore.attribution.attention import AttentionAttribution, AttentionModule
from mlcore.attribution.attention_layers import probe
from mlcore.attribution.layers import default_layer


class LCAMAttention(AttentionModule):
    """One 1×1 convolution: features (B, C, h, w) → c (B, K, h, w), or the targets' own maps only.

    layer: name of the layer, as a rule the last with space left in it. channels: C. classes: K.
    """

    kind = "l_cam"

    def __init__(self, layer: str, channels: int, classes: int) -> None:
        super().__init__((layer,), (channels,), classes, "default")
        self.conv = nn.Conv2d(channels, classes, 1)

    @classmethod
    def for_model(cls, model: nn.Module, layer: str | None = None, *, size: int = 224) -> Self:
        """An untrained attention that fits `model`, which is asked once with a grey picture of `size` px."""
        layer = layer or default_layer(model)
        (channels,), classes = probe(model, (layer,), size)
        return cls(layer, channels, classes)

    def forward(self, features: Sequence[Tensor], targets: Tensor | None = None) -> Tensor:
        (feature,) = features
        if targets is None:
            return self.conv(feature)
        assert self.conv.bias is not None
        chosen = targets if targets.dim() == 2 else targets[:, None]
        maps = torch.einsum("bchw,btc->bthw", feature, self.conv.weight.flatten(1)[chosen])
        maps = maps + self.conv.bias[chosen][:, :, None, None]
        return maps if targets.dim() == 2 else maps[:, 0]

    @classmethod
    def _from_file(cls, layers: list[str], channels: list[int], classes: int, variant: str) -> Self:
        (layer,), (width,) = layers, channels
        return cls(layer, width, classes)


class LCAM(AttentionAttribution):
    """σ(c) of a trained LCAMAttention: maps (B, h, w) at the layer's own size.

    See AttentionAttribution for the arguments.
    """

    module = LCAMAttention
