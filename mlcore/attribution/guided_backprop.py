"""Guided backpropagation (definitions §1).

Springenberg et al., "Striving for simplicity: The all convolutional net", ICLR Workshops 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mlcore.attribution.pixel_gradient import PixelGradient
from mlcore.attribution.tape import OutOfPlace


class GuidedBackprop(PixelGradient):
    """∂y_t/∂x with negative gradients stopped at every ReLU: g ↦ max(g, 0) where the ReLU let a value through.

    Every ReLU counts: modules, functional calls, in place ones. ReLU6, SiLU, GELU and the like keep their plain
    gradient, so a classifier without a ReLU (MobileNetV2, EfficientNet, ConvNeXt, ViT) gets the plain gradient, as
    in captum. Options: see PixelGradient.
    """

    def values(self, images: Tensor, gradient: Tensor) -> Tensor:
        return gradient

    def watching(self) -> GuidedReLU:
        return GuidedReLU()


class GuidedReLU(OutOfPlace):
    """Gives every ReLU of a forward pass a second backward rule, which holds inside `backward()` only.

    Outside of it ReLUs differentiate as always. So the guided gradient's own derivative is exact: what it is made of
    carries the guided rule, and the values that it depends on carry the ordinary one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rule = _Rule()

    @contextmanager
    def backward(self) -> Iterator[None]:
        """The block in which gradients follow the guided rule."""
        self.rule.guided = True
        try:
            yield
        finally:
            self.rule.guided = False

    def rewrites(self, name: str, target: object) -> bool:
        return name == "relu"

    def call(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name != "relu":
            return function(*args, **kwargs)
        values = args[0] if args else kwargs["input"]
        return _ReLU.apply(values, self.rule)


class _Rule:
    """Which rule holds now. The graph holds on to it: it must not hold on to tensors."""

    guided = False


class _ReLU(torch.autograd.Function):
    """max(x, 0), whose backward asks which rule holds now."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rule: _Rule) -> Tensor:
        result = torch.relu(values)
        ctx.save_for_backward(result)
        ctx.rule = rule
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (result,) = ctx.saved_tensors
        # Detached: where a ReLU is open has no derivative, and zeros need not be sent down the network for it.
        gradient = torch.ops.aten.threshold_backward(gradients[0], result.detach(), 0)
        return gradient.relu_() if ctx.rule.guided else gradient, None
