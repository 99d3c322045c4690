"""Grad-CAM, in closed form wherever the classifier's head allows it (definitions §1).

Selvaraju et al., "Grad-CAM: Visual explanations from deep networks via gradient-based localization", 2017.
Element-wise form: Draelos & Carin, "Use HiResCAM instead of Grad-CAM", 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from mlcore.attribution.head import ClosedFormHead, closed_form_head
from mlcore.attribution.layers import canonical, capture, default_layer, find_layer, unwrap
from mlcore.attribution.maps import upsample

Targets = Tensor | int | Callable[[Tensor], Tensor]
Form = Literal["auto", "closed", "autograd"]
Preset = Literal["default", "gradia", "harmony"]

_HARMONY_SIZE = (224, 224)


class GradCAM:
    """map = ReLU(Σ_c α_c A_c), α_c = mean over space of ∂y_t/∂A_c.

    model: any classifier (B, 3, H, W) → (B, K), also inside a DistributedDataParallel wrapper.
    layer: name of the layer whose output is A; without one, the last spatial layer.
    form: "closed" needs a head that `closed_form_head` knows; "autograd" differentiates; "auto" takes the
        closed form where there is one. Both agree in eval mode; the closed form never sees dropout.
    relu: clamp the map at zero.
    elementwise: HiResCAM, Σ_c g_c ⊙ A_c.
    preset: "gradia": `forward` gives the map without ReLU (training), `explain` with it (evaluation).
        "harmony": VGG `avgpool` / ResNet-18 `layer4.1.conv2`, clamped at 0, `explain` bilinear to 224×224.

    Raises ValueError for an unknown form, preset or layer, and for form="closed" where the head has none.
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
    ) -> None:
        if form not in ("auto", "closed", "autograd"):
            raise ValueError(f"Grad-CAM has the forms auto, closed and autograd, not “{form}”.")
        if preset not in ("default", "gradia", "harmony"):
            raise ValueError(f"Grad-CAM has the presets default, gradia and harmony, not “{preset}”.")
        if layer is None or layer == "":
            layer = _harmony_layer(model) if preset == "harmony" else default_layer(model)
        find_layer(model, layer)
        self.model = model
        self.layer = canonical(layer)
        self.elementwise = elementwise
        self.preset = preset
        self.relu_in_explain = True if preset != "default" else relu
        self.relu_in_forward = preset == "harmony" if preset != "default" else relu
        self.head: ClosedFormHead | None = None
        if form != "autograd":
            self.head = closed_form_head(model, self.layer)
        if form == "closed" and self.head is None:
            raise ValueError(
                f"Between “{layer}” and the class scores of {type(unwrap(model)).__name__} stands more than "
                "a pool and one linear layer: use form auto or autograd."
            )

    def explain(self, images: Tensor, targets: Targets) -> Tensor:
        """Maps in eval mode: images (B, 3, H, W), targets (B,) → (B, h, w) float32, without a graph.

        targets: class of each image, one class for all, or a function of the logits (B, K) giving classes.
        Leaves no trace: hooks, `.grad`, BatchNorm statistics, train/eval mode of every module and the random
        state are as before, also after an exception.
        """
        with _evaluating(self.model), torch.inference_mode(False), torch.no_grad():
            with capture(self.model, self.layer, cut=self.head is None) as captured:
                logits = _logits(self.model(images))
            raw = self._raw_maps(logits, captured.output, resolve_targets(logits, targets), create_graph=False)
            maps = self._finish(raw.detach(), self.relu_in_explain).float()
            return upsample(maps, _HARMONY_SIZE) if self.preset == "harmony" else maps

    def forward(
        self,
        images: Tensor,
        targets: Targets,
        *,
        create_graph: bool,
        stop_gradient_weights: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, K) and maps (B, h, w) of one shared forward pass, in the model's current mode.

        create_graph: the maps can be differentiated by the model's parameters; False gives them detached.
        stop_gradient_weights: α is a constant (first order); False differentiates it too (second order).
        """
        recording = torch.is_grad_enabled()
        create_graph = create_graph and recording
        # Where nothing is recorded (validation), autograd still needs the graph after the layer.
        cut = self.head is None and not recording
        with torch.set_grad_enabled(recording):
            with capture(self.model, self.layer, require_grad=self.head is None, cut=cut) as captured:
                logits = _logits(self.model(images))
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

    def _raw_maps(
        self,
        logits: Tensor,
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
                    _at_least_float32(features),
                    targets,
                    elementwise=self.elementwise,
                    stop_gradient_weights=not second_order,
                )
            chosen = logits.gather(1, targets[:, None]).sum()
            # .backward() would add to every parameter's .grad; grad() touches nothing.
            (gradient,) = torch.autograd.grad(chosen, features, create_graph=second_order, retain_graph=keep_graph)
            gradient, features = _at_least_float32(gradient), _at_least_float32(features)
            if self.elementwise:
                return (gradient * features).sum(dim=1)
            return torch.einsum("bchw,bc->bhw", features, gradient.mean(dim=(2, 3)))

    @staticmethod
    def _finish(maps: Tensor, relu: bool) -> Tensor:
        return maps.clamp(min=0) if relu else maps


class HiResCAM(GradCAM):
    """Grad-CAM in the element-wise form, ReLU(Σ_c g_c ⊙ A_c)."""

    def __init__(
        self,
        model: nn.Module,
        layer: str | None = None,
        *,
        form: Form = "auto",
        relu: bool = True,
        preset: Preset = "default",
    ) -> None:
        super().__init__(model, layer, form=form, relu=relu, preset=preset, elementwise=True)


def resolve_targets(logits: Tensor, targets: Targets) -> Tensor:
    """Classes (B,) as int64 on the logits' device. Raises ValueError where they do not fit the logits."""
    if callable(targets) and not isinstance(targets, Tensor):
        targets = targets(logits.detach())
    if isinstance(targets, int):
        targets = torch.full((len(logits),), targets)
    chosen = targets.to(device=logits.device, dtype=torch.int64)
    if chosen.shape != logits.shape[:1]:
        raise ValueError(f"{len(logits)} images need as many target classes, not {tuple(chosen.shape)}.")
    if len(chosen) and (int(chosen.min()) < 0 or int(chosen.max()) >= logits.shape[1]):
        raise ValueError(
            f"The classifier has classes 0 to {logits.shape[1] - 1}; "
            f"targets reach from {int(chosen.min())} to {int(chosen.max())}."
        )
    return chosen


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _logits(output: object) -> Tensor:
    """The class scores; GoogLeNet and Inception v3 give auxiliary ones beside them in train mode."""
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise ValueError("The classifier must give one row of class scores for each image.")
    return logits


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


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside the block; afterwards each module is in the mode it was in (some may be frozen)."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training
