"""Reading several layers in one forward pass, and which layers an attention module reads by default."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from mlcore.attribution.base import class_scores, untouched
from mlcore.attribution.layers import Captured, capture, unwrap

_COUNT = 3


@contextmanager
def capture_all(model: nn.Module, layers: Sequence[str]) -> Iterator[list[Captured]]:
    """Read the outputs of `layers` during one forward pass inside the block; the hooks go even on error.

    See `capture`, which reads each of them, for what the rest of the network sees and what is refused.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(capture(model, layer)) for layer in layers]


def attention_layers(model: nn.Module) -> tuple[str, ...]:
    """Names of the layers that an attention module over several layers reads where nobody names any.

    ResNet and its kin: layer2, layer3, layer4. A `features` sequence with three or more max pools (VGG, SqueezeNet)
    is read where its resolution ends: VGG at its last three pools, the layers of the paper; one that goes on after
    the last pool, also at its end. Raises ValueError for another classifier: its layers must be named.
    """
    inner = unwrap(model)
    children = dict(inner.named_children())
    if {"layer2", "layer3", "layer4"} <= children.keys():
        return ("layer2", "layer3", "layer4")
    features = children.get("features")
    if isinstance(features, nn.Sequential):
        names = list(dict(features.named_children()))
        ends = [name for name, module in features.named_children() if isinstance(module, nn.MaxPool2d)]
        if names[-1] not in ends:
            ends.append(names[-1])
        if len(ends) > _COUNT:
            return tuple(f"features.{name}" for name in ends[-_COUNT:])
    raise ValueError(f"An attention module knows no layers of {type(inner).__name__} by itself: name 2 to 4 layers.")


def probe(model: nn.Module, layers: Sequence[str], size: int = 224) -> tuple[tuple[int, ...], int]:
    """Channels of each layer and number of classes, from one grey picture of `size` px; leaves no trace."""
    parameter = next(model.parameters(), torch.zeros(()))
    grey = torch.zeros(1, 3, size, size, dtype=parameter.dtype, device=parameter.device)
    with untouched(model), torch.no_grad(), capture_all(model, layers) as captured:
        logits: Tensor = class_scores(model(grey))
    return tuple(layer.output.shape[1] for layer in captured), logits.shape[1]
