"""Layer-CAM: ReLU(Σ_c ReLU(g_c) ⊙ A_c), each cell weighed by its own positive gradient (definitions §1).

Jiang et al., "LayerCAM: Exploring hierarchical class activation maps for localization", IEEE TIP 2021, equations 6–8.
"""

from __future__ import annotations

from torch import Tensor

from mlcore.attribution.layer_gradient import LayerGradient


class LayerCAM(LayerGradient):
    """Fine at early layers too, where one weight a channel says little. Arguments as in LayerGradient."""

    def _combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        return (gradient.clamp(min=0) * features).sum(dim=1).clamp(min=0)
