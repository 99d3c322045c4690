"""Heads whose Grad-CAM needs no backward pass, found by following the graph from the layer to the logits."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from mlcore.attribution.layers import canonical, find_layer, unwrap

Kind = Literal["pool_linear", "relu_pool_linear", "conv_pool", "conv_relu_pool"]

# One letter an operation between the layer and the logits: pool P, flatten F, linear L, 1×1 convolution C,
# ReLU R. Dropout and identity are left out: Grad-CAM's closed form knows no dropout on the map.
_HEADS: tuple[tuple[str, Kind], ...] = (
    (r"PF?L|PCF?", "pool_linear"),
    (r"RPF?L|RPCF?", "relu_pool_linear"),
    (r"CPF?", "conv_pool"),
    (r"CRPF?", "conv_relu_pool"),
)


@dataclass(frozen=True)
class ClosedFormHead:
    """A head that is linear in its features up to one ReLU, on them or on the class logits' map (definitions §1)."""

    kind: Kind
    module: nn.Linear | nn.Conv2d

    @property
    def weight(self) -> Tensor:
        """(K, C)."""
        return self.module.weight.flatten(1)

    def maps(self, features: Tensor, targets: Tensor, *, elementwise: bool, stop_gradient_weights: bool) -> Tensor:
        """Σ_c α_c A_c (or Σ_c g_c ⊙ A_c), before any ReLU.

        features (B, C, h, w), targets (B,) → (B, h, w); targets (B, T) → (B, T, h, w), all classes at once.
        Differentiable by the features, and by the head's weights too unless `stop_gradient_weights`.
        """
        weight = self._weight_of(features, targets, stop_gradient_weights)
        cells = features.shape[2] * features.shape[3]
        if self.kind == "relu_pool_linear":
            if elementwise:
                features = features.clamp(min=0)
            else:
                share = (features.detach() > 0).to(features.dtype).mean(dim=(2, 3))
                weight = weight * (share if weight.dim() == 2 else share[:, None])
        score = _weighted_sum(features, weight)
        if self.kind != "conv_relu_pool":
            return score / cells
        positive = self._positive(score, targets)
        if not elementwise:
            positive = positive.mean(dim=(-2, -1), keepdim=True)  # n₊ / (h·w)
        return score * positive / cells

    def gradient(self, features: Tensor, targets: Tensor) -> Tensor:
        """∂y_t/∂A for features (B, C, h, w) and targets (B,), of a shape that broadcasts to (B, C, h, w)."""
        weight = self._weight_of(features, targets, detached=True)
        gradient = weight[:, :, None, None] / (features.shape[2] * features.shape[3])
        if self.kind == "relu_pool_linear":
            return gradient * (features.detach() > 0).to(gradient.dtype)
        if self.kind == "conv_relu_pool":
            score = _weighted_sum(features.detach(), weight)
            return gradient * self._positive(score, targets)[:, None]
        return gradient

    def _weight_of(self, features: Tensor, targets: Tensor, detached: bool) -> Tensor:
        weight = self.weight[targets].to(features.dtype)
        return weight.detach() if detached else weight

    def _positive(self, score: Tensor, targets: Tensor) -> Tensor:
        """Where the class's logit, the score with its bias, passes the ReLU: 1 or 0."""
        bias = self.module.bias
        logit = score.detach() if bias is None else score.detach() + bias.detach()[targets][..., None, None]
        return (logit > 0).to(score.dtype)


def _weighted_sum(features: Tensor, weight: Tensor) -> Tensor:
    """Σ_c w_c A_c: (B, C, h, w) with (B, C) → (B, h, w), with (B, T, C) → (B, T, h, w). As einsum, without its copy."""
    rows = weight if weight.dim() == 3 else weight[:, None]
    maps = torch.bmm(rows, features.flatten(2)).unflatten(2, features.shape[2:])
    return maps if weight.dim() == 3 else maps[:, 0]


def closed_form_head(model: nn.Module, layer: str) -> ClosedFormHead | None:
    """The closed-form head between `layer` and the logits, or None where Grad-CAM must be differentiated.

    Recognised: global average pool + linear (dropout, flatten and identity in between), with or without a ReLU
    before them; 1×1 convolution + global average pool, with or without a ReLU between them. Whatever cannot be
    followed gives None.
    """
    inner = unwrap(model)
    find_layer(inner, layer)
    try:
        return _follow(inner, canonical(layer))
    except Exception:  # a forward that torch.fx cannot follow may fail in any way; autograd is always right
        return None


class _HeadTracer(fx.Tracer):
    """Records single operations only after `layer`; what comes before it stays whole and unread."""

    def __init__(self, layer: str) -> None:
        super().__init__()
        self.layer = layer
        self.passed = False

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name == self.layer:
            self.passed = True
            return True
        if self.passed:
            return super().is_leaf_module(m, module_qualified_name)
        return not self.layer.startswith(module_qualified_name + ".")


def _follow(model: nn.Module, layer: str) -> ClosedFormHead | None:
    graph = _HeadTracer(layer).trace(model)
    starts = [node for node in graph.nodes if node.op == "call_module" and node.target == layer]
    if len(starts) != 1:
        return None
    node = starts[0]
    letters = ""
    heads: list[nn.Linear | nn.Conv2d] = []
    while True:
        users = [user for user in node.users if not _reads_shape(user)]
        if len(users) != 1:
            return None
        previous, node = node, users[0]
        if node.op == "output":
            break
        if not node.args or node.args[0] is not previous:
            return None
        module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
        letter = _letter_of_module(module) if module is not None else _letter_of_call(node)
        if letter is None:
            return None
        if letter in ("L", "C") and isinstance(module, nn.Linear | nn.Conv2d):
            heads.append(module)
        letters += letter
    if node.args[0] is not previous:
        return None  # several outputs (auxiliary heads)
    for pattern, kind in _HEADS:
        if re.fullmatch(pattern, letters):
            return ClosedFormHead(kind, heads[0])
    return None


def _reads_shape(node: fx.Node) -> bool:
    if node.op == "call_method" and node.target == "size":
        return True
    return node.op == "call_function" and node.target is getattr and node.args[1] == "shape"


def _letter_of_module(module: nn.Module) -> str | None:
    match module:
        case nn.Dropout() | nn.Dropout2d() | nn.Identity():
            return ""
        case nn.Flatten():
            return "F" if (module.start_dim, module.end_dim) == (1, -1) else None
        case nn.AdaptiveAvgPool2d():
            return "P" if module.output_size in (1, (1, 1)) else None
        case nn.Linear():
            return "L"
        case nn.ReLU():
            return "R"
        case nn.Conv2d():
            plain = (module.kernel_size, module.stride, module.groups) == ((1, 1), (1, 1), 1)
            return "C" if plain and module.padding in ((0, 0), "valid", "same") else None
    return None


def _letter_of_call(node: fx.Node) -> str | None:
    target = node.target
    arguments: dict[str, Any] = dict(node.kwargs)
    if target in ("mean", torch.mean):
        dims = arguments.get("dim", node.args[1] if len(node.args) > 1 else None)
        spatial = isinstance(dims, list | tuple) and {int(d) % 4 for d in dims} == {2, 3}  # type: ignore[arg-type]
        keepdim = arguments.get("keepdim", node.args[2] if len(node.args) > 2 else False)
        return ("P" if keepdim else "PF") if spatial else None
    if target in ("flatten", torch.flatten):
        start = arguments.get("start_dim", node.args[1] if len(node.args) > 1 else 0)
        return "F" if start == 1 else None
    if target in ("view", "reshape"):
        return "F" if len(node.args) == 3 and node.args[2] == -1 else None
    if target is F.adaptive_avg_pool2d:
        size = arguments.get("output_size", node.args[1] if len(node.args) > 1 else None)
        return "P" if size in (1, (1, 1), [1, 1]) else None
    simple: dict[Callable[..., Any] | str, str] = {F.dropout: "", F.relu: "R", torch.relu: "R", "relu": "R"}
    return simple.get(target)
