"""Score-CAM: feature maps weighed by the class score of the picture seen through each of them (definitions §1).

Wang et al., "Score-CAM: Score-weighted visual explanations for convolutional neural networks", CVPR Workshops 2020,
algorithm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlcore.attribution.base import Attribution, Targets, class_scores, resolve_targets
from mlcore.attribution.layer_gradient import at_least_float32
from mlcore.attribution.layers import Layout, canonical, capture, check_layout, default_layer, find_layer
from mlcore.attribution.maps import upsample


class ScoreCAM(Attribution):
    """map = ReLU(Σ_k α_k A_k), α = softmax over channels k of y_t(s(up(A_k)) ⊙ x); no gradient is taken.

    up: bilinear to the picture's size; s: min–max; y_t: the logit (the black picture's logit, which the paper takes
    off, falls out of the softmax). A channel that is the same everywhere has no s: it is left out of the softmax and
    weighs nothing, and costs no forward pass. Where all are so, the map is zero. The published code differs: it
    weighs by probabilities, without the softmax over channels.

    model: any classifier (B, 3, H, W) → (B, K). layer, layout: as in LayerGradient.
    chunk: masked pictures that the classifier sees at once; they may belong to several images.

    Raises ValueError for an unknown layer or layout, or a chunk below 1.
    """

    def __init__(self, model: nn.Module, layer: str | None = None, *, chunk: int = 32, layout: Layout = "auto") -> None:
        super().__init__(model)
        if chunk < 1:
            raise ValueError(f"chunk is 1 or more, not {chunk}.")
        check_layout(layout)
        layer = layer or default_layer(model)
        find_layer(model, layer)
        self.layer = canonical(layer)
        self.layout: Layout = layout
        self.chunk = chunk

    def _explain(self, images: Tensor, targets: Targets) -> Tensor:
        with capture(self.model, self.layer, layout=self.layout) as captured:
            logits = class_scores(self.model(images))
        chosen = resolve_targets(logits, targets)
        columns = chosen[:, None] if chosen.dim() == 1 else chosen
        features = at_least_float32(captured.output)
        scores = self._scores(images, features, columns)
        with torch.autocast(features.device.type, enabled=False):
            nothing = (scores == -torch.inf).all(dim=2, keepdim=True)
            weight = torch.softmax(scores.masked_fill(nothing, 0.0), dim=2).masked_fill(nothing, 0.0)
            maps = torch.einsum("bchw,btc->bthw", features, weight).clamp(min=0)
        return maps[:, 0] if chosen.dim() == 1 else maps

    def _explain_several(self, images: Tensor, targets: Tensor) -> Tensor:
        return self._explain(images, targets)

    def _scores(self, images: Tensor, features: Tensor, targets: Tensor) -> Tensor:
        """Logits (B, T, C) of targets (B, T) behind each channel's mask; −∞ for channels without one."""
        flat = features.flatten(2)
        pairs = (flat.amax(dim=2) != flat.amin(dim=2)).nonzero()
        scores = flat.new_full((len(images), targets.shape[1], features.shape[1]), -torch.inf)
        for start in range(0, len(pairs), self.chunk):
            image, channel = pairs[start : start + self.chunk].unbind(1)
            masks = upsample(features[image, channel], (images.shape[2], images.shape[3]))
            low = masks.amin(dim=(1, 2), keepdim=True)
            span = masks.amax(dim=(1, 2), keepdim=True) - low
            # Sampling may miss what differs; NaN goes through, so that the map says it.
            masks = (masks - low) / torch.where(span == 0, torch.ones_like(span), span)
            seen = class_scores(self.model(images[image] * masks[:, None].to(images.dtype)))
            scores[image, :, channel] = seen.gather(1, targets[image]).to(scores.dtype)
        return scores
