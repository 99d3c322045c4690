"""Grad-CAM++: positive gradients, each weighed by its share in the class score (definitions §1).

Chattopadhay et al., "Grad-CAM++: Generalized gradient-based visual explanations", WACV 2018, equations 10–19.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mlcore.attribution.layer_gradient import LayerGradient


class GradCAMPlusPlus(LayerGradient):
    """map = ReLU(Σ_c w_c A_c), w_c = Σ_ij α ⊙ ReLU(g), α = g² / (2 g² + g³ Σ_ij A).

    Derivatives are those of exp(y), as published; exp(y) falls out of α and is left out of w, where it would
    multiply the whole map by one number. α is taken as 1 / (2 + g Σ_ij A) where g ≠ 0 and 0 elsewhere: the same
    value, without squares and cubes that vanish in float32 (a constant added to the denominator would outweigh
    them). Where the denominator is 0, so is α.

    Arguments as in LayerGradient.
    """

    def _combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        denominator = 2 + gradient * features.sum(dim=(2, 3), keepdim=True)
        usable = (denominator != 0) & (gradient != 0)
        alpha = torch.where(usable, 1 / denominator, torch.zeros_like(denominator))
        positive = gradient.clamp(min=0)
        weight = (alpha * positive).expand(features.shape).sum(dim=(2, 3))
        return torch.einsum("bchw,bc->bhw", features, weight).clamp(min=0)
