"""Guided Grad-CAM (definitions §1).

Selvaraju et al., "Grad-CAM: Visual explanations from deep networks via gradient-based localization", ICCV 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlcore.attribution.base import Attribution, Targets, to_one_map
from mlcore.attribution.grad_cam import GradCAM
from mlcore.attribution.guided_backprop import GuidedBackprop
from mlcore.attribution.maps import upsample
from mlcore.attribution.pixel_gradient import check_channels


class GuidedGradCAM(Attribution):
    """Guided backpropagation ⊙ Grad-CAM (with its ReLU) enlarged bilinearly to the picture.

    layer: of Grad-CAM; empty: the last spatial layer. channels: how colours become one map, after the product.
    Maps (B, H, W) at the picture's size; captum's GuidedGradCam with interpolate_mode="bilinear" before the sum.
    """

    def __init__(self, model: nn.Module, *, layer: str | None = "", channels: str = "sum") -> None:
        super().__init__(model)
        self.channels = check_channels(channels)
        self.guided = GuidedBackprop(model)
        self.grad_cam = GradCAM(model, layer or None)

    def _explain(self, images: Tensor, targets: Targets) -> Tensor:
        chosen, found = self.guided.relevance(images, targets)
        columns = chosen[:, None] if chosen.dim() == 1 else chosen
        maps = []
        for colours, column in zip(found, columns.unbind(1), strict=True):
            coarse = upsample(self.grad_cam.explain(images, column), (images.shape[2], images.shape[3]))
            colours = colours.detach() if colours.dtype == torch.float64 else colours.detach().float()
            maps.append(to_one_map(colours * coarse[:, None], self.channels))
        return maps[0] if chosen.dim() == 1 else torch.stack(maps, dim=1)

    def _explain_several(self, images: Tensor, targets: Tensor) -> Tensor:
        return self._explain(images, targets)
