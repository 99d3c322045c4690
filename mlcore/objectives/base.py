"""What every objective is: options in, one loss a step out."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.objectives.batch import Batch
from mlcore.objectives.shares import known_count


@dataclass
class Loss:
    """A step's loss: `total` to call backward on, `terms` (detached scalars) to log, `logits` (B, K)."""

    total: Tensor
    terms: dict[str, Tensor]
    logits: Tensor


class Objective(nn.Module):
    """What a run optimises.

    An objective is a module, so that parameters of its own (RES's learned smoothing) reach the optimizer
    through `.parameters()` after `prepare`, and checkpoints through `.state_dict()`. It never holds the
    classifier as a submodule.

    mode: whether the classifier is trained in train or in eval mode (dropout off, BatchNorm's statistics fixed).
    compiles: whether it asks the classifier for nothing but its outputs, so that `torch.compile` may take its place.
    score: which of `measure`'s figures a run is chosen by. guarded: whether it counts only with an agreement above the
        run's guard.
    """

    mode: ClassVar[str] = "train"
    compiles: ClassVar[bool] = False
    score: ClassVar[str] = "score"
    guarded: ClassVar[bool] = True

    @classmethod
    def from_recipe(cls, recipe: Mapping[str, Any]) -> Self:
        """An objective from a run's flat recipe: takes the keys that its constructor names, no others."""
        names = inspect.signature(cls).parameters
        return cls(**{key: value for key, value in recipe.items() if key in names})

    def prepare(self, model: nn.Module) -> None:
        """Called once before the optimizer is made. Raises ValueError where the classifier does not fit."""

    def trained(self, model: nn.Module) -> nn.Module:
        """What the run changes, keeps and gives: the classifier, or a module of the objective's own that is trained
        beside it. Then the classifier gets no gradient, and no checkpoint holds it. Asked after `prepare`."""
        return model

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """What the optimizer is given: "params" of each group and, where they are not 1, the factors of the run's
        learning rate ("rate") and weight decay ("decay"). Asked after `prepare`."""
        return [{"params": [*model.parameters(), *self.parameters()]}]

    def counts(self, batch: Batch) -> dict[str, Tensor]:
        """By name, the denominators of the loss that are known before it is computed (`mean_over`); scalars."""
        return {"images": torch.tensor(float(len(batch)), device=batch.images.device)}

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The loss of one batch, in the model's current mode."""

    def measure(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """What the run is chosen by besides accuracy: values of each image (B,) by name, NaN where there is none.

        Asked on the fixed validation part, in eval mode, without a graph. The one that `score` names is what the
        objective improves (`higher_is_better` says which way), "agreement" whether the classifier says what it said
        before tuning. Empty for an objective that has no such figure.
        """
        return {}

    @property
    def higher_is_better(self) -> bool:
        """Of `measure`'s score."""
        return True


def count_reduce(count: Tensor, name: str = "") -> Tensor:
    """The denominator of a mean, when several processes each hold a part of the batch.

    Gives the average of the counts over processes: gradients are averaged over processes too, so that
    (sum here) / (average count), averaged, is the mean over the whole batch. Identity in one process.
    Every process must call it in the same order. `name`: what is counted, where `Objective.counts` tells it before the
    step; the parts of a batch that is computed in parts then add up to the mean over the whole.
    """
    known = known_count(name)
    if known is not None:
        return known.to(count)
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return count
    total = count.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def mean_over(values: Tensor, count: Tensor, name: str = "") -> Tensor:
    """Sum of `values` / the reduced `count`; 0 (with a graph) where nothing was counted anywhere. `name` as there."""
    reduced = count_reduce(count.to(values.dtype), name)
    return values.sum() / torch.where(reduced > 0, reduced, torch.ones_like(reduced))


def weighted_cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """mean_i(w_p · CE_i), a scalar."""
    single = F.cross_entropy(logits.float() if logits.dtype.itemsize < 4 else logits, batch.labels, reduction="none")
    images = torch.as_tensor(float(len(batch)), device=single.device)
    return mean_over(batch.w_p.to(single.dtype) * single, images, "images")
