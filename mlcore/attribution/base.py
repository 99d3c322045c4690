"""What every attribution method is: one calling convention that leaves no trace on the classifier."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Targets = Tensor | int | Callable[[Tensor], Tensor]


class Attribution(ABC):
    """One way of asking a classifier what it looked at.

    A method implements `_explain`. One that can be trained through also implements `forward`.

    model: any classifier (B, 3, H, W) → (B, K), also inside a DistributedDataParallel wrapper.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def explain(self, images: Tensor, targets: Targets, *, internal_batch_size: int | None = None) -> Tensor:
        """Maps in eval mode: images (B, 3, H, W), targets (B,) → (B, h, w) float32, without a graph.

        targets: class of each image, one class for all, a function of the logits (B, K) giving classes, or several
        classes an image (B, T), which give (B, T, h, w).
        internal_batch_size: at most so many images at once; the maps are the same.

        Leaves no trace: the images' and parameters' `.grad` and `requires_grad`, hooks, BatchNorm statistics,
        train/eval mode of every module and the random state are as before, also after an exception. Under autocast
        the classifier runs in the lower precision; maps are float32 all the same.
        Raises ValueError where images or targets do not fit the classifier.
        """
        if images.dim() != 4:
            raise ValueError(f"Images come as (B, 3, H, W), not as {tuple(images.shape)}.")
        if internal_batch_size is not None and internal_batch_size < 1:
            raise ValueError(f"internal_batch_size is 1 or more, not {internal_batch_size}.")
        if isinstance(targets, Tensor) and targets.dim() and len(targets) != len(images):
            raise ValueError(f"{len(images)} images need as many target classes, not {tuple(targets.shape)}.")
        size = internal_batch_size or max(len(images), 1)
        found = []
        with untouched(self.model), torch.inference_mode(False), torch.no_grad():
            for start in range(0, max(len(images), 1), size):
                part = _ordinary(images[start : start + size].detach())
                chosen = targets[start : start + size] if isinstance(targets, Tensor) and targets.dim() else targets
                if isinstance(chosen, Tensor) and chosen.dim() == 2:
                    maps = self._explain_several(part, chosen)
                else:
                    maps = self._explain(part, chosen)
                found.append(maps.detach().float())
        return found[0] if len(found) == 1 else torch.cat(found)

    def forward(self, images: Tensor, targets: Targets, *, create_graph: bool, **options: Any) -> tuple[Tensor, Tensor]:
        """Logits (B, K) and maps (B, h, w) of one shared forward pass, in the model's current mode.

        create_graph: the maps can be differentiated by the model's parameters. Raises NotImplementedError for a
        method that cannot be trained through (`differentiable` in its spec says which can).
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be trained through.")

    @abstractmethod
    def _explain(self, images: Tensor, targets: Targets) -> Tensor:
        """Maps (B, h, w), one class each. Called in eval mode, without recording: enable it where it is needed."""

    def _explain_several(self, images: Tensor, targets: Tensor) -> Tensor:
        """Maps (B, T, h, w) for targets (B, T); a method that can share work between classes does."""
        return torch.stack([self._explain(images, column) for column in targets.unbind(1)], dim=1)


def resolve_targets(logits: Tensor, targets: Targets) -> Tensor:
    """Classes (B,) as int64 on the logits' device. Raises ValueError where they do not fit the logits."""
    if callable(targets) and not isinstance(targets, Tensor):
        targets = targets(logits.detach())
    return as_classes(targets, len(logits), logits.shape[1], logits.device)


def as_classes(targets: Tensor | int, images: int, classes: int, device: torch.device) -> Tensor:
    """`resolve_targets` where logits (images, classes) are not at hand, and no function that asks for them."""
    if isinstance(targets, Tensor) and not targets.dim():
        targets = int(targets)
    if isinstance(targets, int):
        targets = torch.full((images,), targets)
    chosen = _ordinary(targets.to(device=device, dtype=torch.int64))
    if len(chosen) != images or chosen.dim() > 2:
        raise ValueError(f"{images} images need as many target classes, not {tuple(chosen.shape)}.")
    low, high = (int(end) for end in chosen.aminmax()) if chosen.numel() else (0, 0)
    if low < 0 or high >= classes:
        raise ValueError(f"The classifier has classes 0 to {classes - 1}; targets reach from {low} to {high}.")
    return chosen


def class_scores(output: object) -> Tensor:
    """The class scores (B, K); GoogLeNet and Inception v3 give auxiliary ones beside them in train mode."""
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise ValueError("The classifier must give one row of class scores for each image.")
    return logits


def to_one_map(values: Tensor, channels: str) -> Tensor:
    """Relevance of colours (B, C, H, W) → (B, H, W): "sum", "abs_sum" or "max_abs"."""
    if channels == "sum":
        return values.sum(dim=1)
    if channels == "abs_sum":
        return values.abs().sum(dim=1)
    if channels == "max_abs":
        return values.abs().amax(dim=1)
    raise ValueError(f"Colours become one map by sum, abs_sum or max_abs, not by “{channels}”.")


def _ordinary(tensor: Tensor) -> Tensor:
    """What was made under `inference_mode` cannot be differentiated through; a copy of it can."""
    return tensor.clone() if tensor.is_inference() else tensor


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Eval mode and a random state of its own inside the block; afterwards both are as they were, module by module."""
    modes = _modes(model)
    # Before CUDA is started no parameter can be on a GPU, and asking each of them takes longer than a small layer.
    looked = model.parameters() if torch.cuda.is_initialized() else ()
    devices = {parameter.device for parameter in looked if parameter.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)):
        try:
            if any(modes.values()):
                model.eval()
            yield
        finally:
            for module, training in modes.items():
                if module.training != training:  # to set it is what costs
                    module.training = training


def _modes(model: nn.Module) -> dict[nn.Module, bool]:
    """Of every module; `model.modules()` takes three times as long, which small networks feel."""
    found: dict[nn.Module, bool] = {}
    left: list[nn.Module | None] = [model]
    while left:
        module = left.pop()
        if module is not None and module not in found:
            found[module] = module.training
            left.extend(module._modules.values())
    return found
