"""What trained attention modules share: they read a frozen classifier's layers and draw one map a class.

The module is trained, saved and loaded by itself; the classifier never changes (definitions §4).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from mlcore.attribution.attention_layers import capture_all
from mlcore.attribution.base import Attribution, Targets, class_scores, resolve_targets, untouched
from mlcore.attribution.layers import canonical, find_layer, unwrap
from mlcore.attribution.maps import minmax
from mlcore.attribution.weight_files import fill, read_module, save_module

FORMAT = "harmony attention 1"


class AttentionModule(nn.Module, ABC):
    """Features of `layers`, each (B, C_i, h_i, w_i), → c, one map for each of `classes`; a = σ(c).

    kind: the method that it belongs to. channels: C_i of each layer. variant: which of the published forms.
    Raises ValueError where layers, channels or classes cannot be.
    """

    kind: ClassVar[str]

    def __init__(self, layers: Sequence[str], channels: Sequence[int], classes: int, variant: str) -> None:
        super().__init__()
        self.layers = tuple(canonical(layer) for layer in layers)
        self.channels = tuple(int(number) for number in channels)
        self.classes = int(classes)
        self.variant = variant
        if len(set(self.layers)) != len(self.layers):
            raise ValueError(
                f"An attention module reads each layer once; {', '.join(layers)} names one more than once."
            )
        if len(self.channels) != len(self.layers):
            raise ValueError(
                f"{len(self.layers)} layers need as many numbers of channels, not {len(self.channels)}: one for each."
            )
        if self.classes < 1 or not self.channels or min(self.channels) < 1:
            raise ValueError("An attention module needs at least one class, and at least one channel in each layer.")

    @abstractmethod
    def forward(self, features: Sequence[Tensor], targets: Tensor | None = None) -> Tensor:
        """c before the sigmoid: without targets (B, K, h, w), with targets (B,) only the class's own map (B, h, w),
        with targets (B, T) one for each (B, T, h, w).
        """

    def check(self, features: Sequence[Tensor], logits: Tensor) -> None:
        """Raises ValueError where features (B, C_i, h_i, w_i) and logits (B, K) are another classifier's."""
        for layer, expected, feature in zip(self.layers, self.channels, features, strict=True):
            if feature.shape[1] != expected:
                raise ValueError(
                    f"Layer “{layer}” gives {feature.shape[1]} channels; this attention was made for {expected}: "
                    "it belongs to another classifier."
                )
        if logits.shape[1] != self.classes:
            raise ValueError(
                f"The classifier has {logits.shape[1]} classes; this attention was made for {self.classes}: "
                "it belongs to another classifier."
            )

    def save(self, path: str | Path) -> Path:
        """Write weights and what they fit as one safetensors file, whole or not at all. Raises OSError."""
        said = {
            "format": FORMAT,
            "kind": self.kind,
            "variant": self.variant,
            "layers": json.dumps(self.layers),
            "channels": json.dumps(self.channels),
            "classes": str(self.classes),
        }
        return save_module(self, path, said, what="the attention")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """An attention module as `save` wrote it, on the CPU, in eval mode. Raises ValueError with one sentence."""
        path = Path(path)
        said, state = read_module(path, format=FORMAT, what="attention module")
        if said.get("kind") != cls.kind:
            raise ValueError(f"{path.name}: the file holds an attention of “{said.get('kind')}”, not of “{cls.kind}”.")
        try:
            made = cls._from_file(
                json.loads(said["layers"]), json.loads(said["channels"]), int(said["classes"]), said["variant"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name}: what the file says of itself cannot be read ({error}).") from error
        fill(made, state, path)
        return made.eval()

    @classmethod
    @abstractmethod
    def _from_file(cls, layers: list[str], channels: list[int], classes: int, variant: str) -> Self:
        """A module without weights, of what `save` wrote beside them."""


class AttentionAttribution(Attribution):
    """Maps a = σ(c) (B, h, w) of a trained attention module, in one forward pass of the classifier.

    model: the classifier that the attention was trained on. attention: its module, or the file that `save` wrote
    (put on the classifier's device). scores: give c itself; scaled: c scaled by its least and greatest value, by which
    §4 evaluates. a = σ(c) is what the classifier was shown in training; where σ is saturated it draws nothing.

    `forward` runs the classifier once. Maps can be differentiated by the attention's parameters, and by those of the
    classifier that ask for a gradient (a frozen one, `requires_grad_(False)`, keeps no graph). `explain` leaves
    the attention as it leaves the classifier.

    Raises ValueError where there is no attention, where it is another method's or classifier's, or the file is bad.
    """

    module: ClassVar[type[AttentionModule]]

    def __init__(
        self,
        model: nn.Module,
        attention: nn.Module | str | Path | None = None,
        *,
        scores: bool = False,
        scaled: bool = False,
    ) -> None:
        super().__init__(model)
        if attention is None or attention == "":
            raise ValueError(f"{type(self).__name__} needs a trained attention module: give attention=….")
        if isinstance(attention, str | Path):
            parameter = next(model.parameters(), torch.zeros(()))
            attention = self.module.load(attention).to(parameter.device)
        inner = unwrap(attention)
        if not isinstance(inner, AttentionModule):
            raise ValueError(
                f"{type(self).__name__} needs an attention module or its file, not a {type(inner).__name__}."
            )
        if not isinstance(inner, self.module):
            raise ValueError(f"This is an attention of “{inner.kind}”, not of “{self.module.kind}”.")
        for layer in inner.layers:
            find_layer(model, layer)
        self.attention: Any = attention
        self.scores, self.scaled = scores, scaled

    def forward(self, images: Tensor, targets: Targets, *, create_graph: bool, **options: Any) -> tuple[Tensor, Tensor]:
        if options:
            raise TypeError(f"{type(self).__name__} has no option {', '.join(options)}.")
        logits, features = self._read(images)
        with torch.set_grad_enabled(create_graph and torch.is_grad_enabled()):
            return logits, self._maps(features, logits, targets)

    def _explain(self, images: Tensor, targets: Targets) -> Tensor:
        with untouched(self.attention):
            logits, features = self._read(images)
            return self._maps(features, logits, targets)

    def _explain_several(self, images: Tensor, targets: Tensor) -> Tensor:
        return self._explain(images, targets)

    def _read(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        inner = cast(AttentionModule, unwrap(self.attention))
        with capture_all(self.model, inner.layers) as captured:
            logits = class_scores(self.model(images))
        features = [layer.output for layer in captured]
        inner.check(features, logits)
        return logits, features

    def _maps(self, features: list[Tensor], logits: Tensor, targets: Targets) -> Tensor:
        chosen = resolve_targets(logits, targets)
        kind = next(self.attention.parameters()).dtype
        with torch.autocast(logits.device.type, enabled=False):
            found = self.attention([feature.to(kind) for feature in features], chosen)
            if self.scaled:
                return minmax(found, eps=0.0)
            return found if self.scores else torch.sigmoid(found)
