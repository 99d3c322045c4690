"""Grad-CAM, in closed form wherever the classifier's head allows it (definitions §1).

Selvaraju et al., "Grad-CAM: Visual explanations from deep networks via gradient-based localization", 2017.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from mlcore.attribution.base import Targets, class_scores, resolve_targets
from mlcore.attribution.layer_gradient import Form, LayerGradient, at_least_float32, score_gradient
from mlcore.attribution.layers import Layout, capture, unwrap
from mlcore.attribution.maps import distribution, upsample

__all__ = ["Form", "GradCAM", "Preset", "Targets", "resolve_targets"]

Preset = Literal["default", "gradia", "grid", "harmony"]

_HARMONY_SIZE = (224, 224)


class GradCAM(LayerGradient):
    """map = ReLU(Σ_c α_c A_c), α_c = mean over space of ∂y_t/∂A_c.

    model, layer, form, layout: as in LayerGradient.
    relu: clamp the map at zero.
    elementwise: HiResCAM, Σ_c g_c ⊙ A_c.
    preset: "gradia": `forward` gives the map without ReLU (training), `explain` with it (evaluation).
        "grid": element-wise, R = ReLU(map), R/(ΣR + 1e-8) + 1e-8: a distribution over the cells; a zero map
        becomes uniform.
        "harmony": VGG `avgpool` / ResNet-18 `layer4.1.conv2`, clamped at 0, `explain` bilinear to 224×224.

    Raises ValueError for an unknown form, preset, layout or layer, and for form="closed" where the head has none.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str | None = None,
        *,
        form: Form = "auto",
        relu: bool = True,
        preset: Preset = "default",
        elementwise: bool = False,
        layout: Layout = "auto",
    ) -> None:
        if preset not in ("default", "gradia", "grid", "harmony"):
            raise ValueError(
                f"{type(self).__name__} has the presets default, gradia, grid and harmony, not “{preset}”."
            )
        if not layer and preset == "harmony":
            layer = _harmony_layer(model)
        super().__init__(model, layer, form=form, layout=layout)
        self.elementwise = elementwise or preset == "grid"
        self.preset = preset
        self.relu_in_explain = True if preset != "default" else relu
        self.relu_in_forward = preset != "gradia" if preset != "default" else relu

    def forward(  # type: ignore[override]
        self,
        images: Tensor,
        targets: Targets,
        *,
        create_graph: bool,
        stop_gradient_weights: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, K) and maps (B, h, w) of one shared forward pass, in the model's current mode.

        targets (B, T) give maps (B, T, h, w).
        create_graph: the maps can be differentiated by the model's parameters; False gives them detached.
        stop_gradient_weights: α is a constant (first order); False differentiates it too (second order).
        """
        recording = torch.is_grad_enabled()
        create_graph = create_graph and recording
        # Where nothing is recorded (validation), autograd still needs the graph after the layer.
        cut = self.head is None and not recording
        reading = capture(self.model, self.layer, require_grad=self.head is None, cut=cut, layout=self.layout)
        with torch.set_grad_enabled(recording):
            with reading as captured:
                logits = class_scores(self.model(images))
            raw = self._raw_maps(
                logits,
                captured.output,
                resolve_targets(logits, targets),
                create_graph=create_graph,
                stop_gradient_weights=stop_gradient_weights,
                keep_graph=recording,
            )
        maps = self._finish(raw if create_graph else raw.detach(), self.relu_in_forward)
        return logits if recording else logits.detach(), maps

    def _explain(self, images: Tensor, targets: Targets) -> Tensor:
        raw = self._raw_maps(*self._look(images, targets), create_graph=False)
        maps = self._finish(raw.detach(), self.relu_in_explain)
        return upsample(maps, _HARMONY_SIZE) if self.preset == "harmony" else maps

    def _raw_maps(
        self,
        logits: Tensor | None,
        features: Tensor,
        targets: Tensor,
        *,
        create_graph: bool,
        stop_gradient_weights: bool = True,
        keep_graph: bool = False,
    ) -> Tensor:
        second_order = create_graph and not stop_gradient_weights
        with torch.autocast(features.device.type, enabled=False):
            if self.head is not None:
                return self.head.maps(
                    at_least_float32(features),
                    targets,
                    elementwise=self.elementwise,
                    stop_gradient_weights=not second_order,
                )
            columns = targets[:, None] if targets.dim() == 1 else targets
            maps = []
            for number, column in enumerate(columns.unbind(1), start=1):
                gradient = score_gradient(
                    logits,
                    features,
                    column,
                    create_graph=second_order,
                    retain_graph=keep_graph or number < columns.shape[1],
                )
                maps.append(self._combine(at_least_float32(features), at_least_float32(gradient)))
            return maps[0] if targets.dim() == 1 else torch.stack(maps, dim=1)

    def _combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        if self.elementwise:
            return (gradient * features).sum(dim=1)
        return torch.einsum("bchw,bc->bhw", features, gradient.mean(dim=(2, 3)))

    def _finish(self, maps: Tensor, relu: bool) -> Tensor:
        if self.preset == "grid":
            return distribution(maps)
        return maps.clamp(min=0) if relu else maps


def _harmony_layer(model: nn.Module) -> str:
    inner = unwrap(model)
    children = dict(inner.named_children())
    if type(inner).__name__ == "VGG":
        return "avgpool"
    if "layer4" in children:
        block = list(children["layer4"].named_children())[-1]
        convolutions = [name for name, m in block[1].named_modules() if isinstance(m, nn.Conv2d)]
        named = [name for name in convolutions if name.startswith("conv")]
        return f"layer4.{block[0]}.{named[-1]}"
    raise ValueError(
        f"Preset harmony knows the layers of VGG and ResNet, not of {type(inner).__name__}: name the layer."
    )
