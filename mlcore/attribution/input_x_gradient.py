"""Input × Gradient (definitions §1).

Shrikumar et al., "Not just a black box: Learning important features through propagating activation differences", 2016.
"""

from __future__ import annotations

from torch import Tensor

from mlcore.attribution.pixel_gradient import PixelGradient


class InputXGradient(PixelGradient):
    """x ⊙ ∂y_t/∂x, x as the classifier gets it (normalised). Options: see PixelGradient."""

    def values(self, images: Tensor, gradient: Tensor) -> Tensor:
        return images * gradient
