"""Methods that look at the gradient of a class score at the picture's own colours."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from mlcore.attribution.base import Attribution, Targets, as_classes, class_scores, resolve_targets, to_one_map
from mlcore.attribution.head import ClosedFormHead, closed_form_head
from mlcore.attribution.layer_gradient import at_least_float32
from mlcore.attribution.layers import capture, default_layer
from mlcore.attribution.maps import upsample

HARMONY_SIZE = (224, 224)


def own_copy(images: Tensor) -> Tensor:
    """The pictures as a tensor of our own that gradients can be taken by; the caller's is never marked."""
    return images.detach().clone().requires_grad_()


def check_channels(channels: str) -> str:
    """`channels` as it is. Raises ValueError where `to_one_map` does not know it."""
    to_one_map(torch.zeros(0, 1, 1, 1), channels)
    return channels


def without_nonfinite(maps: Tensor, *looked: Tensor) -> Tensor:
    """Maps (B, …) with NaN for every image where what is looked at, (B, …) each, such as its class scores, is not
    finite: its gradient means nothing.
    """
    for values in looked:
        values = values.detach()
        if not values.sum().isfinite():  # so it is nearly always, and one sum is cheap
            finite = torch.isfinite(values).flatten(1).all(dim=1)
            maps = torch.where(finite.reshape(-1, *[1] * (maps.dim() - 1)), maps, torch.nan)
    return maps


def _closed_form(model: nn.Module) -> tuple[str, ClosedFormHead | None]:
    """The last spatial layer and its head, where the gradient at the layer is known and meets no ReLU on the features:
    a rule of a method's own may hold for that one.
    """
    try:
        layer = default_layer(model)
    except ValueError:  # no convolution
        return "", None
    head = closed_form_head(model, layer)
    return layer, None if head is None or head.kind == "relu_pool_linear" else head


class PixelGradient(Attribution):
    """g = ∂y_t/∂x by the rules of `watching`, combined with the picture by `values`, colours summed up as named.

    channels: "sum" (signed), "abs_sum" or "max_abs".
    preset: "harmony": sum over channels, clamped at 0, bilinear to 224×224.

    Maps (B, H, W) at the picture's size. They can be differentiated by the model's parameters exactly. An image
    whose class scores (or features, where these are enough) are not finite gets a map of NaN. Raises ValueError for
    an unknown preset or `channels`.
    """

    def __init__(self, model: nn.Module, *, preset: str = "default", channels: str = "sum") -> None:
        super().__init__(model)
        if preset not in ("default", "harmony"):
            raise ValueError(f"{type(self).__name__} has the presets default and harmony, not “{preset}”.")
        self.preset = preset
        self.channels = "sum" if preset == "harmony" else check_channels(channels)
        self.layer, self.head = _closed_form(model)

    @abstractmethod
    def values(self, images: Tensor, gradient: Tensor) -> Tensor:
        """Relevance of every colour: images and gradient (B, C, H, W) → (B, C, H, W)."""

    def watching(self) -> AbstractContextManager[Any]:
        """What the forward pass runs in. It may have `backward()`, what the backward pass runs in."""
        return nullcontext()

    def forward(self, images: Tensor, targets: Targets, *, create_graph: bool, **options: Any) -> tuple[Tensor, Tensor]:
        """Logits (B, K), the model's own, and maps (B, H, W) of one shared forward pass, in its current mode.

        create_graph: the maps can be differentiated by the model's parameters; False gives them detached.
        """
        recording = torch.is_grad_enabled()
        keep = create_graph and recording
        logits, chosen, values = self.colours(images, targets, create_graph=keep, retain_graph=recording)
        if chosen.dim() == 2:
            raise ValueError("One class for each image can be trained through at once.")
        maps = self._finish(values[0])
        return logits if recording else logits.detach(), maps if keep else maps.detach()

    def colours(
        self, images: Tensor, targets: Targets, *, create_graph: bool = False, retain_graph: bool = False
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Logits, classes and the relevance of every colour (B, C, H, W), once for each class an image."""
        with torch.enable_grad():
            pictures = own_copy(images)
            watch = self.watching()
            with watch as watched:
                logits = class_scores(self.model(pictures))
            chosen = resolve_targets(logits, targets)
            columns = chosen[:, None] if chosen.dim() == 1 else chosen
            scores = [logits.gather(1, column[:, None]).sum() for column in columns.unbind(1)]
            found = []
            with torch.autocast(images.device.type, enabled=False), watched.backward() if watched else nullcontext():
                for index, score in enumerate(scores):
                    (gradient,) = torch.autograd.grad(
                        score,
                        pictures,
                        create_graph=create_graph,
                        retain_graph=retain_graph or create_graph or index + 1 < len(scores),
                        allow_unused=True,
                        materialize_grads=True,
                    )
                    with torch.set_grad_enabled(create_graph):
                        found.append(without_nonfinite(self.values(pictures, gradient), logits))
        return logits, chosen, found

    def relevance(self, images: Tensor, targets: Targets) -> tuple[Tensor, list[Tensor]]:
        """Classes and the relevance of every colour as `colours` gives them, without the class scores.

        Behind the last layer whose head has a closed form nothing runs: there the gradient is known (as in Grad-CAM).
        """
        if self.head is None or not isinstance(targets, Tensor | int):
            return self.colours(images, targets)[1:]
        with torch.enable_grad():
            pictures = own_copy(images)
            with self.watching() as watched, capture(self.model, self.layer, stop=True) as captured:
                self.model(pictures)
            output = watched.current(captured.output) if watched else captured.output
        chosen = as_classes(targets, len(output), len(self.head.weight), output.device)
        columns = (chosen[:, None] if chosen.dim() == 1 else chosen).unbind(1)
        found = []
        with torch.autocast(images.device.type, enabled=False), watched.backward() if watched else nullcontext():
            features = at_least_float32(output.detach())
            for index, column in enumerate(columns):
                start = self.head.gradient(features, column).expand_as(output)
                gradient = torch.zeros_like(images)
                if output.requires_grad:
                    (gradient,) = torch.autograd.grad(
                        output,
                        pictures,
                        start.to(output.dtype),
                        retain_graph=index + 1 < len(columns),
                        allow_unused=True,
                        materialize_grads=True,
                    )
                values = self.values(pictures.detach(), gradient)
                found.append(without_nonfinite(values, features, start))
        return chosen, found

    def _explain(self, images: Tensor, targets: Targets) -> Tensor:
        chosen, found = self.relevance(images, targets)
        maps = [self._finish(values.detach()) for values in found]
        return maps[0] if chosen.dim() == 1 else torch.stack(maps, dim=1)

    def _explain_several(self, images: Tensor, targets: Tensor) -> Tensor:
        return self._explain(images, targets)

    def _finish(self, values: Tensor) -> Tensor:
        if values.dtype in (torch.float16, torch.bfloat16):
            values = values.float()
        maps = to_one_map(values, self.channels)
        return upsample(maps.clamp(min=0), HARMONY_SIZE) if self.preset == "harmony" else maps
