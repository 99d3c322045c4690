"""Which layers of a classifier a map can be taken from, with their shapes; and which of them one starts with."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mlcore.attribution.attention_layers import attention_layers
from mlcore.attribution.base import class_scores, untouched
from mlcore.attribution.layers import as_map, default_layer, layout_of, unwrap

_COUNT = 3  # layers that an attention module reads where nobody names any
_DEPTH = 2  # names of so many parts are stages and blocks; longer ones are what a block is made of


@dataclass(frozen=True)
class Layer:
    """A module whose output is (B, channels, height, width) for one picture of the classifier's input size.

    name: as `get_submodule` finds it. type: of the module. `parts` counts the parts of its name.
    """

    name: str
    type: str
    channels: int
    height: int
    width: int

    @property
    def parts(self) -> int:
        return self.name.count(".") + 1


def usable_layers(model: nn.Module, size: int = 224) -> list[Layer]:
    """Every layer that a map can be taken from, in the order in which they finish; a block comes after its parts.

    A layer is usable where one forward pass comes through it exactly once and its output has several cells in rows
    and columns, by itself or in a layout that `capture` knows (tokens of ViT, channels last in Swin and ConvNeXt).
    The model is asked once with a grey picture of `size` px and keeps no trace; parameters on the meta device are
    enough. Raises ValueError where the model gives no row of class scores, or cannot take such a picture.
    """
    inner = unwrap(model)
    parameter = next(inner.parameters(), torch.zeros(()))
    grey = torch.zeros(1, 3, size, size, dtype=parameter.dtype, device=parameter.device)
    seen: dict[str, list[tuple[int, ...] | None]] = {}
    with ExitStack() as stack:
        stack.enter_context(untouched(inner))
        stack.enter_context(torch.no_grad())
        for name, module in inner.named_modules():
            if name:
                stack.callback(module.register_forward_hook(_reader(inner, name, seen)).remove)
        try:
            class_scores(inner(grey))
        except (RuntimeError, AssertionError, ValueError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ValueError(f"The classifier cannot read a picture of {size}×{size} px: {first}") from error
    found = []
    for name, shapes in seen.items():
        shape = shapes[0]
        if len(shapes) == 1 and shape is not None:
            found.append(Layer(name, type(inner.get_submodule(name)).__name__, *shape))
    return found


def _reader(model: nn.Module, name: str, seen: dict[str, list[tuple[int, ...] | None]]) -> Any:
    layout = layout_of(model, name)

    def read(_module: nn.Module, _inputs: object, output: object) -> None:
        # A second pass moves it to the end; it is left out anyway.
        seen.setdefault(name, []).append(_shape(output))

    def _shape(output: object) -> tuple[int, ...] | None:
        try:
            found: Tensor = as_map(output, layout, name)
        except ValueError:
            return None
        batch, channels, height, width = found.shape
        # Of a square picture every map is square; what is not counts windows or heads of attention.
        return (channels, height, width) if batch == 1 and height == width and height > 1 else None

    return read


def suggested_layers(model: nn.Module, layers: Sequence[Layer]) -> dict[str, tuple[str, ...]]:
    """What one starts with, of `usable_layers`: "grad_cam" → one name, "tame" → three, the finest first.

    Grad-CAM: the last layer with space left in it. TAME: the published layers of ResNet and VGG (`attention_layers`);
    elsewhere the ends of the last three resolutions, and where a classifier keeps one resolution (ViT) its last three
    blocks. A method without a fitting layer is left out.
    """
    found: dict[str, tuple[str, ...]] = {}
    names = [layer.name for layer in layers]
    try:
        last = default_layer(model)
    except ValueError:
        return found
    if last in names:
        found["grad_cam"] = (last,)
    try:
        read: tuple[str, ...] = attention_layers(model)
    except ValueError:
        read = _by_resolution(layers, last) or _siblings(names, last)
    if read and set(read) <= set(names):
        found["tame"] = read
    return found


def _by_resolution(layers: Sequence[Layer], last: str) -> tuple[str, ...]:
    """The last stage (where there is none, the last block) of each of the last three resolutions, up to `last`."""
    ends: dict[int, Layer] = {}
    for layer in layers:
        before = ends.get(layer.height)
        if layer.name == last or (layer.parts <= _DEPTH and (before is None or layer.parts <= before.parts)):
            ends[layer.height] = layer
        if layer.name == last:
            break
    coarse = sorted(ends)[:_COUNT]
    return tuple(ends[side].name for side in reversed(coarse)) if len(coarse) == _COUNT else ()


def _siblings(names: Sequence[str], last: str) -> tuple[str, ...]:
    """The layer that stands where `last` stands, in its own and the two blocks before it."""
    parts = last.split(".")
    for place in range(len(parts) - 1, -1, -1):
        stem = parts[place].rstrip("0123456789")
        number = parts[place][len(stem) :]
        if number and int(number) >= _COUNT - 1:
            chosen = [
                ".".join([*parts[:place], f"{stem}{index}", *parts[place + 1 :]])
                for index in range(int(number) - _COUNT + 1, int(number) + 1)
            ]
            return tuple(chosen) if set(chosen) <= set(names) else ()
    return ()
