"""What methods share that weigh one layer's features A by the gradient of the class score at them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from mlcore.attribution.base import Attribution, Targets, as_classes, class_scores, resolve_targets
from mlcore.attribution.head import ClosedFormHead, closed_form_head
from mlcore.attribution.layers import Layout, canonical, capture, check_layout, default_layer, find_layer, unwrap

Form = Literal["auto", "closed", "autograd"]


class LayerGradient(Attribution):
    """A map from A (B, C, h, w) of one layer and g = ∂y_t/∂A.

    model: any classifier (B, 3, H, W) → (B, K), also inside a DistributedDataParallel wrapper.
    layer: name of the layer whose output is A; without one, the last spatial layer.
    form: "closed" needs a head that `closed_form_head` knows; "autograd" differentiates; "auto" takes the
        closed form where there is one. Both agree in eval mode; the closed form never sees dropout.
    layout: how the layer lays out its output, for networks that are not torchvision's: see `layers.capture`.

    Raises ValueError for an unknown form, layout or layer, and for form="closed" where the head has none.
    """

    def __init__(
        self, model: nn.Module, layer: str | None = None, *, form: Form = "auto", layout: Layout = "auto"
    ) -> None:
        super().__init__(model)
        if form not in ("auto", "closed", "autograd"):
            raise ValueError(f"{type(self).__name__} has the forms auto, closed and autograd, not “{form}”.")
        check_layout(layout)
        layer = layer or default_layer(model)
        find_layer(model, layer)
        self.layer = canonical(layer)
        self.layout: Layout = layout
        self.head: ClosedFormHead | None = None
        # The closed form reads channels first; what another layout names is not what the head was followed from.
        if form != "autograd" and layout in ("auto", "channels_first"):
            self.head = closed_form_head(model, self.layer)
        if form == "closed" and self.head is None:
            raise ValueError(
                f"Between “{layer}” and the class scores of {type(unwrap(model)).__name__} stands more than "
                "a pool and one linear layer: use form auto or autograd."
            )

    @abstractmethod
    def _combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Maps (B, h, w) of features (B, C, h, w) and a gradient that broadcasts to their shape; both float32 or
        float64.
        """

    def _look(self, images: Tensor, targets: Targets) -> tuple[Tensor | None, Tensor, Tensor]:
        """Logits (B, K), A and classes of one forward pass without a graph before the layer.

        Where the closed form needs no logits, and nobody chooses the classes by them, it ends at the layer: None.
        """
        if self.head is None or not isinstance(targets, Tensor | int):
            with capture(self.model, self.layer, cut=self.head is None, layout=self.layout) as captured:
                logits = class_scores(self.model(images))
            return logits, captured.output, resolve_targets(logits, targets)
        with capture(self.model, self.layer, stop=True, layout=self.layout) as captured:
            self.model(images)
        features = captured.output
        return None, features, as_classes(targets, len(features), len(self.head.weight), features.device)

    def _explain(self, images: Tensor, targets: Targets) -> Tensor:
        """One forward pass for all classes; targets (B,) → (B, h, w), (B, T) → (B, T, h, w)."""
        logits, output, chosen = self._look(images, targets)
        columns = chosen[:, None] if chosen.dim() == 1 else chosen
        features = at_least_float32(output.detach())
        maps = []
        with torch.autocast(features.device.type, enabled=False):
            for number, column in enumerate(columns.unbind(1), start=1):
                if self.head is not None:
                    gradient = self.head.gradient(features, column)
                else:
                    more = number < columns.shape[1]
                    gradient = score_gradient(logits, output, column, retain_graph=more)
                maps.append(self._combine(features, at_least_float32(gradient.detach())))
        return maps[0] if chosen.dim() == 1 else torch.stack(maps, dim=1)

    def _explain_several(self, images: Tensor, targets: Tensor) -> Tensor:
        return self._explain(images, targets)


def score_gradient(
    logits: Tensor | None, features: Tensor, targets: Tensor, *, create_graph: bool = False, retain_graph: bool = False
) -> Tensor:
    """∂ Σ_b y_{b, t_b} / ∂ features: logits (B, K), targets (B,) → the features' shape.

    No parameter's `.grad` is touched, as `.backward()` would.
    """
    assert logits is not None  # only the closed form does without
    chosen = logits.gather(1, targets[:, None]).sum()
    (gradient,) = torch.autograd.grad(chosen, features, create_graph=create_graph, retain_graph=retain_graph)
    return gradient


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision as float32; the rest as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
