"""TAME's training as the objective of a run: what of it is trained, in which groups, and how an epoch is measured."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from mlcore.attribution.base import class_scores
from mlcore.attribution.l_cam import LCAM
from mlcore.attribution.tame import TAME
from mlcore.metrics.average_drop import AverageDrop, IncreaseInConfidence
from mlcore.metrics.perturbation import explained_part
from mlcore.objectives.batch import Batch
from mlcore.objectives.tame import TAMETraining, weights_and_biases

KEPT = (100, 50, 15)  # % of the pixels that stay when a map is measured (definitions §4)
MAPS = {"tame": TAME, "l_cam": LCAM}


class AttentionRun(TAMETraining):
    """TAMETraining in the one training loop: the attention is trained, saved and kept, the classifier is not.

    See TAMETraining for the loss and its arguments. Weights of the attention (BatchNorm's γ too) decay, biases do not
    and learn at double rate. What preset "tame" does to the statistics of the classifier is put back before it is
    measured; a step in train mode does not read them.
    """

    score: ClassVar[str] = "average_drop_50"
    guarded: ClassVar[bool] = False

    @classmethod
    def from_recipe(cls, recipe: Mapping[str, Any]) -> Self:
        """From a run's flat recipe, in which layers are one text, "a,b,c"; empty: the module's own."""
        names = inspect.signature(TAMETraining).parameters
        options = {key: value for key, value in recipe.items() if key in names and key != "attention"}
        layers = str(options.pop("layers", "") or "")
        return cls(**options, layers=[name.strip() for name in layers.split(",")] if layers.strip() else None)

    @property
    def higher_is_better(self) -> bool:
        """The score is an average drop."""
        return False

    def prepare(self, model: nn.Module) -> None:
        """See TAMETraining; what the classifier's statistics are is remembered."""
        super().prepare(model)
        moves = self.mode == "train"
        self._statistics = {name: value.clone() for name, value in model.named_buffers()} if moves else {}

    def trained(self, model: nn.Module) -> nn.Module:
        """The attention."""
        return self.attention

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """The attention's weights, and its biases."""
        return weights_and_biases(self.attention)

    def measure(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Average drop and increase in confidence of the class that the classifier predicts, in %, when 100, 50 and
        15 % of the pixels are kept by the map c: (B,) float64 each; not a number where the map shows nothing."""
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                if name in self._statistics:
                    buffer.copy_(self._statistics[name])
            said: list[Tensor] = []

            def predicted(logits: Tensor) -> Tensor:
                said.append(logits.detach().double())
                return logits.argmax(dim=1)

            maps = MAPS[self.attention.kind](model, self.attention, scores=True).explain(batch.images, predicted)
            targets = said[0].argmax(dim=1, keepdim=True)
            whole = said[0].softmax(dim=1).gather(1, targets)[:, 0]
            found: dict[str, Tensor] = {}
            for keep in KEPT:
                part = explained_part(maps.float(), batch.images, self.normalisation, keep)
                scores = class_scores(model(part.to(batch.images.dtype))).double()
                shown = scores.softmax(dim=1).gather(1, targets)[:, 0]
                suffix = "" if keep == 100 else f"_{keep}"
                found[f"{AverageDrop.base}{suffix}"] = AverageDrop.compare(whole, shown)
                found[f"{IncreaseInConfidence.base}{suffix}"] = IncreaseInConfidence.compare(whole, shown).double()
            return found
