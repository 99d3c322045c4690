"""Training an attention module on a frozen classifier, by itself: optimiser groups, schedule, steps (definitions §4).

objective = TAMETraining()
train_attention(model, objective, Pictures(items), learning_rate=1e-4, epochs=4)
objective.attention.save("attention.safetensors")
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, count
from typing import Any, Protocol

import torch
from torch import nn

from mlcore.objectives.batch import Batch
from mlcore.objectives.feature_store import LIMIT, FeatureStore
from mlcore.objectives.tame import TAMETraining, weights_and_biases
from mlcore.training.data import Augmentation, BatchLoader, Frames
from mlcore.training.errors import JobError
from mlcore.training.job import Item
from mlcore.training.lr_test import HIGH, LOW, LearningRateCurve, enough_steps, learning_rate_test
from mlcore.training.optimisation import Schedule
from mlcore.training.pictures import Geometry

WEIGHT_DECAY = 5e-4
MOMENTUM = 0.95  # at both ends of OneCycle; 0.1 less where the learning rate is highest


class Batches(Protocol):
    """An epoch's batches each time it is gone through; its length is how many."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


class Pictures:
    """Items as TAME is trained on them: the short side 256, a random cut of 224 (or the same share), flipped or not.

    Each time it is gone through is another epoch, with another order and other cuts; all follow from `seed`. views: so
    many epochs are different, then the first one comes again, so that features of a frozen classifier can be kept; the
    batches' ids then tell the view. channels_last: colours stand together in memory, which is faster for many
    classifiers on a CPU. Pictures stay in memory while they take at most 1 GiB.
    Raises JobError for a picture that cannot be read, and for less than one view.
    """

    def __init__(
        self,
        items: Sequence[Item],
        *,
        batch_size: int = 32,
        size: int = 224,
        seed: int = 0,
        normalise: str = "imagenet",
        device: torch.device | str = "cpu",
        views: int | None = None,
        channels_last: bool = False,
    ) -> None:
        if views is not None and views < 1:
            raise JobError(f"Pictures are seen in 1 view or more, not {views}.")
        frames = Frames(items, Geometry(size, "crop", margin=True))
        augmentation = Augmentation(flip=True, random_crop=True)
        self._loader = BatchLoader(frames, batch_size, seed=seed, augmentation=augmentation, shuffle=True)
        self._frames: Frames | None = frames
        self._normalise, self._device = normalise, torch.device(device)
        self._channels_last = channels_last
        self.views = views
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        if self._frames is not None:
            self._frames.keep()
            self._frames = None
        epoch, self.epoch = self.epoch, self.epoch + 1
        view = epoch % self.views if self.views else epoch
        for raw in self._loader.epoch(view):
            batch = raw.to_batch(self._device, self._normalise, channels_last=self._channels_last)
            yield replace(batch, ids=[f"{name}, view {view + 1}" for name in batch.ids]) if self.views else batch


def train_attention(
    model: nn.Module,
    objective: TAMETraining,
    batches: Batches,
    *,
    learning_rate: float,
    epochs: int,
    weight_decay: float = WEIGHT_DECAY,
    on_step: Callable[[int, dict[str, float]], None] = lambda step, terms: None,
    cache_bytes: int = LIMIT,
) -> list[dict[str, float]]:
    """Train `objective`'s attention for so many epochs; "loss" and the terms of each step are returned.

    learning_rate: the highest of OneCycle, of the weights; biases have twice as much. Published: 1e-3 for 8 epochs
    (VGG-16), 1e-4 for 4 (ResNet-50). on_step: told each step's number, from 1, and terms. cache_bytes: of features that
    are kept of batches that come again (`Pictures` with fixed views, the classifier in eval mode); 0: none are. A store
    that the objective has already is used as it is.

    Afterwards the attention is in eval mode and the classifier as it was: weights, mode, and what batch statistics
    preset "tame" moved. Raises JobError where there is nothing to train on or the loss is not a number any more.
    """
    total = epochs * len(batches)
    if total < 1:
        raise JobError("An attention module needs at least one batch and one epoch to be trained.")
    told: list[dict[str, float]] = []
    again = epochs > (getattr(batches, "views", None) or epochs)
    with _in_training(model, objective), _remembering(objective, batches, cache_bytes if again else 0):
        optimizer = optimizer_of(objective, learning_rate, weight_decay=weight_decay)
        schedule = one_cycle(learning_rate, total)
        for _ in range(epochs):
            for batch in batches:
                schedule.apply(optimizer, len(told))
                told.append(_step(model, objective, batch, optimizer))
                if not math.isfinite(told[-1]["loss"]):
                    raise JobError(
                        f"The loss was not a number any more at step {len(told)}; a smaller learning rate often helps."
                    )
                on_step(len(told), told[-1])
    return told


def attention_learning_rate(
    model: nn.Module,
    objective: TAMETraining,
    batches: Batches,
    *,
    steps: int | None = None,
    cache_bytes: int = LIMIT,
    **options: Any,
) -> LearningRateCurve:
    """The learning-rate test over `steps` batches, as many epochs as that takes; options as in `learning_rate_test`.

    steps: None makes one epoch, or as many epochs as give the suggestion enough steps. cache_bytes: as in
    `train_attention`. Leaves attention and classifier as they were. Raises JobError where there is no batch.
    """
    if not len(batches):
        raise JobError("A learning-rate test needs at least one batch.")
    if steps is None:
        least = enough_steps(options.get("low", LOW), options.get("high", HIGH))
        steps = len(batches) * math.ceil(least / len(batches))
    with _in_training(model, objective), _remembering(objective, batches, cache_bytes):
        before = copy.deepcopy(objective.state_dict())
        optimizer = optimizer_of(objective, 1.0)
        following = chain.from_iterable(iter(batches) for _ in count())

        def step(rate: float) -> float:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["rate"]
            return _step(model, objective, next(following), optimizer)["loss"]

        try:
            return learning_rate_test(step, steps, **options)
        finally:
            objective.load_state_dict(before)


def optimizer_of(
    module: nn.Module, learning_rate: float, *, weight_decay: float = WEIGHT_DECAY
) -> torch.optim.Optimizer:
    """SGD with Nesterov's momentum: parameters named weight (BatchNorm's γ too) decay, biases do not and have twice
    the rate."""
    groups = [
        {
            "params": group["params"],
            "rate": group["rate"],
            "lr": learning_rate * group["rate"],
            "weight_decay": weight_decay * group["decay"],
        }
        for group in weights_and_biases(module)
    ]
    return torch.optim.SGD(groups, lr=learning_rate, momentum=MOMENTUM, nesterov=True)


def one_cycle(learning_rate: float, steps: int) -> Schedule:
    """The OneCycle of runs over `steps`, up to `learning_rate`: 30 % up from 1/25, down by a cosine to 1/10,000 of the
    start; momentum 0.95 → 0.85 → 0.95."""
    return Schedule("one_cycle", learning_rate, steps_per_epoch=steps, total=steps, step_epochs=1, momentum=MOMENTUM)


def _step(
    model: nn.Module, objective: TAMETraining, batch: Batch, optimizer: torch.optim.Optimizer
) -> dict[str, float]:
    """One step: its loss and terms. A loss that is not a number changes no weight."""
    loss = objective.loss(model, batch)
    found = {"loss": loss.total.detach(), **loss.terms}
    numbers = torch.stack([value.to(loss.total.dtype) for value in found.values()]).tolist()
    if math.isfinite(numbers[0]):
        optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        optimizer.step()
    return dict(zip(found, numbers, strict=True))


@contextmanager
def _remembering(objective: TAMETraining, batches: Batches, limit: int) -> Iterator[None]:
    """Features are kept inside the block where the same views come again, and forgotten after it."""
    wanted = getattr(batches, "views", None) is not None and limit > 0 and objective.store is None
    if not wanted:
        yield
        return
    objective.store = FeatureStore(limit)
    try:
        yield
    finally:
        objective.store = None


@contextmanager
def _in_training(model: nn.Module, objective: TAMETraining) -> Iterator[None]:
    """The attention in train mode, the classifier in the objective's; afterwards eval mode, and as it was."""
    if objective.module is None:
        try:
            objective.prepare(model)
        except ValueError as error:
            raise JobError(str(error)) from error
    modes = {module: module.training for module in model.modules()}
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    try:
        model.train(objective.mode == "train")
        objective.train()
        yield
    finally:
        objective.eval()
        for parameter in objective.parameters():
            parameter.grad = None
        for module, training in modes.items():
            module.training = training
        with torch.no_grad():
            for name, value in model.named_buffers():
                value.copy_(buffers[name])
