"""Classifiers by name: every classification model of torchvision, our own small one, ResNets with a global max pool."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlcore.catalogue.architectures import ARCHITECTURES, GLOBAL_MAX_POOL
from mlcore.training.padding import use_tensorflow_padding
from mlcore.training.sixconv import SixConv
from mlcore.training.weights import load_into, load_weights, save_weights

__all__ = [
    "architectures",
    "build",
    "head_of",
    "load_weights",
    "num_parameters",
    "replace_head_of",
    "save_weights",
]

PADDINGS = ("torch", "tensorflow")
MAX_POOLED = tuple(name for name in ARCHITECTURES if name.endswith(GLOBAL_MAX_POOL))


class GlobalMaxPool(nn.Module):
    """The largest value of each channel: (B, C, h, w) → (B, C, 1, 1). Equal ones share the gradient."""

    def forward(self, features: Tensor) -> Tensor:
        return features.amax(dim=(2, 3), keepdim=True)


def _torchvision() -> Any:
    """Imported when one of its classifiers is asked for: it takes longer than a small run takes to start."""
    from mlcore.training.vision import torchvision

    return torchvision


def architectures() -> list[str]:
    """Names that `build` knows, sorted."""
    torchvision = _torchvision()
    return sorted([*torchvision.models.list_models(module=torchvision.models), *MAX_POOLED, "sixconv"])


def _make(architecture: str, num_classes: int) -> nn.Module:
    if architecture == "sixconv":
        return SixConv(num_classes)
    if architecture in MAX_POOLED:
        model = _make(architecture.removesuffix(GLOBAL_MAX_POOL), num_classes)
        model.avgpool = GlobalMaxPool()
        return model
    torchvision = _torchvision()
    if architecture not in torchvision.models.list_models(module=torchvision.models):
        raise ValueError(f"There is no classifier named “{architecture}”.")
    builder: Callable[..., nn.Module] = torchvision.models.get_model_builder(architecture)
    options: dict[str, Any] = {"weights": None, "num_classes": num_classes}
    if architecture in ("googlenet", "inception_v3"):
        # The auxiliary heads change what the model returns in train mode; they are a training aid of 2014.
        options |= {"aux_logits": False, "init_weights": False}
    elif "init_weights" in inspect.signature(builder).parameters:
        options["init_weights"] = True
    return builder(**options)


def head_of(model: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """Name and module of the layer that gives the logits: the last Linear, or the 1x1 convolution of
    SqueezeNet.

    Raises ValueError where the model ends in neither.
    """
    if hasattr(model, "classifier") and isinstance(model.classifier, nn.Sequential):
        last = [(name, child) for name, child in model.classifier.named_children() if _has_weights(child)]
        if last and isinstance(last[-1][1], nn.Conv2d) and last[-1][1].kernel_size == (1, 1):
            return f"classifier.{last[-1][0]}", last[-1][1]
    linear = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError("The classifier has no linear layer or 1×1 convolution that gives the logits.")
    return linear[-1]


def _has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def replace_head_of(model: nn.Module, num_classes: int) -> nn.Linear | nn.Conv2d:
    """Put a freshly initialised head with `num_classes` outputs in place of the model's own; it is
    returned.
    """
    name, old = head_of(model)
    fresh: nn.Linear | nn.Conv2d
    if isinstance(old, nn.Conv2d):
        fresh = nn.Conv2d(old.in_channels, num_classes, 1, bias=old.bias is not None)
        nn.init.normal_(fresh.weight, mean=0.0, std=0.01)
        if fresh.bias is not None:
            nn.init.zeros_(fresh.bias)
    else:
        fresh = nn.Linear(old.in_features, num_classes, bias=old.bias is not None)
    parent_name, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent_name), child, fresh)
    if hasattr(model, "num_classes"):
        model.num_classes = num_classes  # type: ignore[assignment]
    return fresh


def build(
    architecture: str,
    num_classes: int,
    *,
    weights: str | Path | None = None,
    padding: str = "torch",
    replace_head: bool = False,
) -> nn.Module:
    """A classifier of `num_classes` outputs in float32 on the CPU (or on the device of ``torch.device`` in
    force).

    Args:
        architecture: a name from `architectures`.
        num_classes: outputs, at least 2.
        weights: a file that `load_weights` reads; loaded strictly.
        padding: "tensorflow" for weights trained with SAME padding (`mlcore.training.padding`).
        replace_head: where the file's head has another number of classes, load the body and start a fresh
            head.
            A head that fits is loaded.

    Raises ValueError with a plain sentence for an unknown name, an impossible count or weights that do not
    fit.
    """
    if padding not in PADDINGS:
        raise ValueError(f"Padding must be one of {', '.join(PADDINGS)}, not “{padding}”.")
    if num_classes < 2:
        raise ValueError(f"A classifier needs at least two classes, not {num_classes}.")
    model = _make(architecture, num_classes)
    if padding == "tensorflow":
        use_tensorflow_padding(model)
    if weights is not None:
        _load_into(model, architecture, Path(weights), num_classes, replace_head)
    return model


def _load_into(model: nn.Module, architecture: str, path: Path, num_classes: int, replace_head: bool) -> None:
    state = load_weights(path)
    wanted = model.state_dict()
    # Auxiliary heads are left out of our models (see _make), so their weights are left out of the file too.
    if not any("aux" in name.lower() for name in wanted):
        state = {name: value for name, value in state.items() if not name.lower().startswith("aux")}
    head, _ = head_of(model)
    found = state.get(f"{head}.weight")
    if found is not None and found.shape[0] != num_classes:
        if not replace_head:
            raise ValueError(
                f"{path.name}: the weights are for {found.shape[0]} classes, the run has {num_classes}. "
                "Choose “replace the head” to keep the rest and start a new last layer."
            )
        # The fresh head is drawn after the rest, so that a seed gives the same head whatever the body needed.
        replace_head_of(model, num_classes)
        fresh = model.state_dict()
        for part in ("weight", "bias"):
            if f"{head}.{part}" in fresh:
                state[f"{head}.{part}"] = fresh[f"{head}.{part}"]
    # Files from before torch counted batches lack this counter; it takes no part in the output.
    for name, value in wanted.items():
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, value)
    problems = _misfits(state, model.state_dict())
    if problems:
        raise ValueError(f"{path.name}: the weights do not fit {architecture}: {problems}.")
    load_into(model, state)


def _misfits(state: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> str:
    missing = [name for name in wanted if name not in state]
    extra = [name for name in state if name not in wanted]
    shaped = [name for name in wanted if name in state and state[name].shape != wanted[name].shape]
    said = []
    for names, what in ((missing, "missing"), (extra, "not part of it"), (shaped, "of another shape")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            said.append(f"{names[0]}{more} {what}")
    return "; ".join(said)


def num_parameters(model: nn.Module) -> int:
    """How many numbers training changes (parameters that require a gradient)."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
