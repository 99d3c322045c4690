"""HiResCAM: Grad-CAM in the element-wise form, ReLU(Σ_c g_c ⊙ A_c) (definitions §1).

Draelos & Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks", 2020.
"""

from __future__ import annotations

from torch import nn

from mlcore.attribution.grad_cam import Form, GradCAM, Preset
from mlcore.attribution.layers import Layout


class HiResCAM(GradCAM):
    """The gradient multiplied cell by cell instead of averaged; equals Grad-CAM where pool and linear layer follow.

    Arguments as in GradCAM.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str | None = None,
        *,
        form: Form = "auto",
        relu: bool = True,
        preset: Preset = "default",
        layout: Layout = "auto",
    ) -> None:
        super().__init__(model, layer, form=form, relu=relu, preset=preset, elementwise=True, layout=layout)
