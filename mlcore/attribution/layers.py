"""Which layer a map is taken from, and how its output is read without leaving a trace on the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

# The last layer that still has a spatial extent, by the attribute under which torchvision's families keep it.
_LAST_SPATIAL = (
    "layer4",  # ResNet, ResNeXt, Wide ResNet
    "features",  # SqueezeNet, MobileNet, VGG, AlexNet, DenseNet, EfficientNet, ConvNeXt, sixconv
    "trunk_output",  # RegNet
    "inception5b",  # GoogLeNet
    "Mixed_7c",  # Inception v3
    "conv5",  # ShuffleNet
    "layers",  # MNASNet
)
_NOT_CHANNELS_FIRST = ("SwinTransformer", "VisionTransformer")


def unwrap(model: nn.Module) -> nn.Module:
    """The classifier inside a DistributedDataParallel or DataParallel wrapper; any other model as it is."""
    if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
        return model.module
    return model


def default_layer(model: nn.Module) -> str:
    """Name of the last spatial feature layer of `model`.

    A model of no known family gets its last convolution with a kernel larger than 1×1.
    Raises ValueError where there is none, or where features are not laid out as (B, C, h, w).
    """
    inner = unwrap(model)
    family = type(inner).__name__
    if family in _NOT_CHANNELS_FIRST:
        raise ValueError(f"{family} has no feature map of channels × rows × columns to explain.")
    children = dict(inner.named_children())
    for name in _LAST_SPATIAL:
        if name in children:
            return name
    convolutions = [
        name
        for name, module in inner.named_modules()
        if isinstance(module, nn.Conv2d) and tuple(module.kernel_size) != (1, 1)
    ]
    if not convolutions:
        raise ValueError(f"{family} has no convolution to explain: name the layer.")
    return convolutions[-1]


def find_layer(model: nn.Module, layer: str) -> nn.Module:
    """The module called `layer`, e.g. "layer4.1.conv2"; "layer4[1].conv2" is read the same way.

    Raises ValueError naming the layers there are.
    """
    inner = unwrap(model)
    try:
        return inner.get_submodule(canonical(layer))
    except AttributeError:
        names = ", ".join(name for name, _ in inner.named_children())
        raise ValueError(f"There is no layer “{layer}” in {type(inner).__name__}; it is made of {names}.") from None


def canonical(layer: str) -> str:
    """ "layer4[1].conv2" → "layer4.1.conv2"."""
    return layer.replace("[", ".").replace("]", "")


class Captured:
    """What a layer gave in the forward pass of the `capture` block."""

    def __init__(self, layer: str) -> None:
        self.layer = layer
        self._output: Tensor | None = None

    @property
    def output(self) -> Tensor:
        """(B, C, h, w). Raises ValueError where the forward pass never came through the layer."""
        if self._output is None:
            raise ValueError(f"The forward pass did not come through layer “{self.layer}”.")
        return self._output


@contextmanager
def capture(model: nn.Module, layer: str, *, require_grad: bool = False, cut: bool = False) -> Iterator[Captured]:
    """Read the output of `layer` during a forward pass inside the block; the hook goes even on error.

    The rest of the network sees a copy, so an in-place operation after the layer (DenseNet's ReLU, a
    residual `+=`) cannot change what was read, and gradients with respect to it are those of the layer.

    require_grad: the output can be differentiated by even where all parameters before it are frozen.
    cut: everything before the layer runs without a graph and everything after it with one (call the model
        under `torch.no_grad()`; the block that set it puts the mode back). Implies `require_grad`.

    Raises ValueError where the layer's output is not (B, C, h, w), or where one forward pass runs through
    the layer twice (one map could not stand for both).
    """
    captured = Captured(layer)

    def read(_module: nn.Module, _inputs: object, output: object) -> Tensor:
        if not isinstance(output, Tensor) or output.dim() != 4:
            what = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"Layer “{layer}” gives {what}; a map needs (B, C, h, w).")
        if captured._output is not None:
            raise ValueError(f"The forward pass comes through layer “{layer}” more than once.")
        if cut:
            torch.set_grad_enabled(True)
            kept = output.detach().requires_grad_()
        elif require_grad and not output.requires_grad:
            kept = output.detach().requires_grad_()
        else:
            kept = output
        captured._output = kept
        return kept.clone()

    handle = find_layer(model, layer).register_forward_hook(read)
    try:
        yield captured
    finally:
        handle.remove()
