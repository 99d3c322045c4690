"""Which layer a map is taken from, and how its output is read without leaving a trace on the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isqrt
from typing import Literal

import torch
from torch import Tensor, nn

Layout = Literal["auto", "channels_first", "channels_last", "tokens"]
LAYOUTS = ("auto", "channels_first", "channels_last", "tokens")

# The last layer that still has a spatial extent, by the attribute under which torchvision's families keep it.
_LAST_SPATIAL = (
    "permute",  # Swin: its features with channels first
    "layer4",  # ResNet, ResNeXt, Wide ResNet
    "features",  # SqueezeNet, MobileNet, VGG, AlexNet, DenseNet, EfficientNet, ConvNeXt, sixconv
    "trunk_output",  # RegNet
    "inception5b",  # GoogLeNet
    "Mixed_7c",  # Inception v3
    "conv5",  # ShuffleNet
    "layers",  # MNASNet
)


def unwrap(model: nn.Module) -> nn.Module:
    """The classifier inside a DistributedDataParallel or DataParallel wrapper; any other model as it is."""
    if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
        return model.module
    return model


def default_layer(model: nn.Module) -> str:
    """Name of the last spatial feature layer of `model`.

    ViT: the first norm of the last block, the last place where every token still reaches the class scores.
    A model of no known family gets its last convolution with a kernel larger than 1×1.
    Raises ValueError where there is none.
    """
    inner = unwrap(model)
    family = type(inner).__name__
    children = dict(inner.named_children())
    if family == "VisionTransformer":
        blocks = inner.get_submodule("encoder.layers")
        return f"encoder.layers.{list(dict(blocks.named_children()))[-1]}.ln_1"
    if family == "MaxVit":
        return f"blocks.{len(inner.get_submodule('blocks')) - 1}"  # type: ignore[arg-type]
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


class _FarEnough(BaseException):
    """Ends a forward pass; no classifier catches it by mistake, as it might an Exception."""


@contextmanager
def capture(
    model: nn.Module,
    layer: str,
    *,
    require_grad: bool = False,
    cut: bool = False,
    stop: bool = False,
    layout: Layout = "auto",
) -> Iterator[Captured]:
    """Read the output of `layer` as (B, C, h, w) during a forward pass inside the block; the hook goes even on error.

    The rest of the network sees a copy, so an in-place operation after the layer (DenseNet's ReLU, a
    residual `+=`) cannot change what was read, and gradients with respect to it are those of the layer.

    require_grad: the output can be differentiated by even where all parameters before it are frozen.
    cut: everything before the layer runs without a graph and everything after it with one (call the model
        under `torch.no_grad()`; the block that set it puts the mode back). Implies `require_grad`.
    stop: the forward pass ends at the layer, and with it the block; nothing behind the layer is computed.
    layout: how the layer lays out what it gives: "channels_first" (B, C, h, w), "channels_last" (B, h, w, C) or
        "tokens" (B, h·w, C), with or without a class token in front; "auto" knows torchvision's families. Whatever
        it is, the network goes on with what the layer gave.

    Raises ValueError where the layer's output has no cells in rows and columns, or where one forward pass runs
    through the layer twice (one map could not stand for both).
    """
    check_layout(layout)
    captured = Captured(layer)
    module = find_layer(model, layer)
    found = layout_of(model, layer) if layout == "auto" else layout

    def read(_module: nn.Module, _inputs: object, output: object) -> Tensor:
        to_map, back = _conversions(output, found, layer)
        assert isinstance(output, Tensor)  # _conversions refuses the rest
        if captured._output is not None:
            raise ValueError(f"The forward pass comes through layer “{layer}” more than once.")
        if cut:
            torch.set_grad_enabled(True)
            output = output.detach()
            kept = to_map(output).requires_grad_()
        elif require_grad and not output.requires_grad:
            kept = to_map(output.detach()).requires_grad_()
        else:
            kept = to_map(output)
        captured._output = kept
        if stop:
            raise far_enough
        return back(kept, output)

    far_enough = _FarEnough()
    handle = module.register_forward_hook(read)
    try:
        yield captured
    except _FarEnough as reached:
        if reached is not far_enough:
            raise
    finally:
        handle.remove()


def check_layout(layout: str) -> None:
    """Raises ValueError for a layout that there is not."""
    if layout not in LAYOUTS:
        raise ValueError(f"A layer's layout is one of {', '.join(LAYOUTS)}, not “{layout}”.")


def layout_of(model: nn.Module, layer: str) -> Layout:
    """How `layer` of one of torchvision's families lays out its output; "auto" where only its shape can tell."""
    inner, layer = unwrap(model), canonical(layer)
    module, family = find_layer(inner, layer), type(inner).__name__
    if family == "VisionTransformer" and layer.partition(".")[0] == "encoder":
        return "tokens"
    if family == "SwinTransformer" and layer.partition(".")[0] in ("features", "norm"):
        return "channels_first" if isinstance(module, nn.Conv2d) else "channels_last"
    if isinstance(module, nn.Linear) or type(module) is nn.LayerNorm:  # inside a block of ConvNeXt
        return "channels_last"
    return "auto"


def as_map(output: object, layout: Layout, layer: str) -> Tensor:
    """What `layer` gave as (B, C, h, w). Raises ValueError where it cannot be laid out so."""
    to_map, _ = _conversions(output, layout, layer)
    assert isinstance(output, Tensor)  # _conversions refuses the rest
    return to_map(output)


def _conversions(
    output: object, layout: Layout, layer: str
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]:
    """From the layer's output to (B, C, h, w), and from that (and the output) to what the network goes on with.

    The way back always copies. Raises ValueError where the output cannot be laid out so.
    """
    if not isinstance(output, Tensor):
        raise ValueError(f"Layer “{layer}” gives {type(output).__name__}; a map needs (B, C, h, w).")
    shape = tuple(output.shape)
    if layout == "tokens" and output.dim() == 3:
        cells = shape[1]
        extra = 0 if isqrt(cells) ** 2 == cells else 1
        side = isqrt(cells - extra)
        if side == 0 or side**2 != cells - extra:
            raise ValueError(
                f"Layer “{layer}” gives {cells} tokens; a map needs a square number of them, "
                "or one more with the class token in front."
            )
        return (
            lambda tokens: tokens[:, extra:].transpose(1, 2).unflatten(2, (side, side)),
            lambda kept, tokens: torch.cat([tokens[:, :extra], kept.flatten(2).transpose(1, 2)], dim=1),
        )
    if output.dim() == 4 and layout == "channels_last":
        return lambda cells: cells.permute(0, 3, 1, 2), lambda kept, _: kept.permute(0, 2, 3, 1).clone()
    if output.dim() == 4 and layout in ("auto", "channels_first"):
        return lambda cells: cells, lambda kept, _: kept.clone()
    needed = {"tokens": "(B, tokens, C)", "channels_last": "(B, h, w, C)"}.get(layout, "(B, C, h, w)")
    named = ", or layout “tokens” where these are tokens" if output.dim() == 3 and layout != "tokens" else ""
    raise ValueError(f"Layer “{layer}” gives shape {shape}; a map needs {needed}{named}.")
