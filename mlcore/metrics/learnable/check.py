"""Is a learnable metric as it should be? Each thing that is not, in a sentence.

    from mlcore.metrics.learnable.check import problems
    assert problems(MyMetric) == []

tries it on a small classifier of coloured patches (mlcore.metrics.learnable.toy), in a few seconds on a CPU.
`manage.py check_plugin FILE` does the same for a plug-in file.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from mlcore.attribution.base import class_scores
from mlcore.attribution.grad_cam import GradCAM
from mlcore.metrics.learnable.base import LearnableMetric, Step
from mlcore.metrics.learnable.toy import classifier, pictures
from mlcore.metrics.learnable.values import as_measured
from mlcore.objectives.batch import Batch
from mlcore.objectives.harmony import Harmony

WARNING = "Warning: "
STEPS = 10
RATES = (3e-3, 1e-3)
CLOSE = 1e-5

DEMANDED = {
    "perturb": "perturb(images, maps, generator=None): what the metric shows besides the images, or the images",
    "evaluate": "evaluate(model, images, targets, explain, *, masks=None): the score (B,) of each image",
    "loss": "loss(step): the term, a scalar with a graph",
}


def problems(metric_class: Any, options: Mapping[str, Any] | None = None, *, steps: int = STEPS) -> list[str]:
    """What is wrong with a learnable metric; empty where nothing is.

    options: of its constructor. steps: of tuning a small classifier; 0: none. Sentences that begin with "Warning: "
    tell of what may be meant so. Nothing is raised, whatever the metric does, and PyTorch's own chance is left as it
    was.
    """
    found = list(_what_is_missing(metric_class))
    if found:
        return found
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(0)
        try:
            metric: LearnableMetric = metric_class(**dict(options or {}))
        except Exception as error:  # whatever a researcher's code raises is a sentence
            return [f"{metric_class.__name__} cannot be made: {_said(error)}"]
        for ask in (_of_scores, _of_terms):
            if not found:
                found += ask(metric)
        if not found and steps:
            found += _of_tuning(metric, steps)
    return found


def _what_is_missing(metric_class: Any) -> Iterator[str]:
    if not (inspect.isclass(metric_class) and issubclass(metric_class, LearnableMetric)):
        name = getattr(metric_class, "__name__", repr(metric_class))
        yield f"{name} is no learnable metric: write class {name}(LearnableMetric)."
        return
    for method in sorted(metric_class.__abstractmethods__):
        yield f"{metric_class.__name__} has no {DEMANDED.get(method, method)}."
    for attribute, kind, example in (("name", str, "“my_metric”"), ("better_higher", bool, "True or False")):
        if not isinstance(getattr(metric_class, attribute, None), kind):
            yield f"{metric_class.__name__} does not say {attribute}: {example}."


class _World:
    """Patches, a classifier that knows them, a copy that differs a little, and Grad-CAM of the copy."""

    def __init__(self, metric: LearnableMetric, count: int = 8) -> None:
        count = math.lcm(count, metric.group)
        self.images, _, masks = pictures(count)
        self.masks: Tensor | None = masks if metric.needs_masks else None
        self.original, self.model = classifier(), classifier()
        with torch.no_grad():
            for number, parameter in enumerate(self.model.parameters()):
                parameter.mul_(1.02 if number % 2 else 0.98)
        # Something to lose: gradients of a step before.
        for parameter in self.model.parameters():
            parameter.grad = torch.ones_like(parameter)
        self.method = GradCAM(self.model)
        with torch.no_grad():
            self.targets = self.original(self.images).argmax(1)

    def explain(self, images: Tensor, targets: Any) -> Tensor:
        """With a graph where one is recorded."""
        _, maps = self.method.forward(images, targets, create_graph=True, stop_gradient_weights=False)
        return as_measured(maps, images)

    def measured(self, images: Tensor, targets: Any) -> Tensor:
        """As scores get them: float32."""
        return self.explain(images, targets).float()

    def scores(self, metric: LearnableMetric, rows: list[int] | None = None) -> Tensor:
        chosen = list(range(len(self.images))) if rows is None else rows
        masks = None if self.masks is None else self.masks[chosen]
        with torch.no_grad():
            return metric.evaluate(self.model, self.images[chosen], self.targets[chosen], self.measured, masks=masks)

    def step(self, metric: LearnableMetric, rows: list[int] | None = None, images: Tensor | None = None) -> Step:
        chosen = list(range(len(self.images))) if rows is None else rows
        asked = self.images[chosen] if images is None else images[chosen]
        with torch.no_grad():
            original = class_scores(self.original(asked))
        targets = original.argmax(1)
        logits, maps = self.method.forward(asked, targets, create_graph=metric.trains_maps, stop_gradient_weights=False)
        return Step(
            self.model,
            asked,
            targets,
            original,
            logits,
            as_measured(maps, asked) if metric.uses_maps else torch.zeros_like(asked[:, 0]),
            self.explain,
            masks=None if self.masks is None else self.masks[chosen],
            generator=torch.Generator().manual_seed(3),
        )

    def traces(self) -> dict[str, Any]:
        """Everything that a metric leaves as it found it, in the words of a sentence."""
        model = self.model
        return {
            "parameters of the classifier": _copies(dict(model.named_parameters())),
            "running statistics of the classifier": _copies(dict(model.named_buffers())),
            "gradients (.grad) of the classifier": _copies({n: p.grad for n, p in model.named_parameters()}),
            "requires_grad of parameters": {n: p.requires_grad for n, p in model.named_parameters()},
            "train or eval mode of the classifier": {n: m.training for n, m in model.named_modules()},
            "hooks of the classifier": {n: len(m._forward_hooks) for n, m in model.named_modules()},
            "images": _copies({"images": self.images}),
            "masks": _copies({"masks": self.masks}),
            "classes": _copies({"targets": self.targets}),
        }


def _of_scores(metric: LearnableMetric) -> Iterator[str]:
    """What is wrong with `evaluate`."""
    world = _World(metric)
    before = world.traces()
    try:
        first = world.scores(metric)
    except Exception as error:
        yield f"evaluate fails: {_said(error)}"
        return
    left = list(_changed("evaluate", before, world.traces()))
    if left:
        yield from left
        return
    count = len(world.images)
    if not isinstance(first, Tensor) or tuple(first.shape) != (count,):
        shape = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
        yield f"evaluate gives {shape} for {count} images, not one score for each: ({count},)."
        return
    if first.dtype != torch.float64:
        yield f"evaluate gives {first.dtype}, not torch.float64."
    if not bool(torch.isfinite(first).all()):
        yield f"evaluate gives NaN or infinity for {int((~torch.isfinite(first)).sum())} of {count} ordinary images."
        return
    torch.rand(3)  # a metric's chance is its own, whatever was drawn outside
    if not torch.equal(first, world.scores(metric)):
        yield "evaluate gives other scores when it is asked again: seed its chance."
        return
    groups = count // metric.group
    for start in range(groups):
        rows = list(range(start, count, groups))
        try:
            alone = world.scores(metric, rows)
        except Exception as error:
            yield f"evaluate fails for a batch of {len(rows)}: {_said(error)}"
            return
        if not torch.allclose(alone.double(), first[rows].double(), rtol=CLOSE, atol=CLOSE):
            yield f"evaluate gives other scores for {count} images at once than for {len(rows)} at a time."
            return
    yield from _of_nothing(metric)


def _of_nothing(metric: LearnableMetric) -> Iterator[str]:
    """What is wrong with the scores of images that have no object, or a map of nothing."""
    world = _World(metric)
    if world.masks is not None:
        world.masks[0] = False
        try:
            found = world.scores(metric)
        except Exception as error:
            yield f"evaluate fails where an image has no object: {_said(error)}"
        else:
            if bool(torch.isfinite(found[0])):
                yield "evaluate gives a score to an image without an object; NaN says that there is none."
        world.masks = None
        try:
            world.scores(metric)
            yield "evaluate must raise ValueError where masks are needed and missing."
        except ValueError:
            pass
        except Exception as error:
            yield f"evaluate must raise ValueError where masks are needed and missing, not {_said(error)}"
    world = _World(metric)
    world.explain = lambda images, targets: images[:, 0] * 0  # type: ignore[method-assign]
    try:
        world.scores(metric)
    except Exception as error:
        yield f"evaluate fails where a map is zero everywhere: {_said(error)}"


def _of_terms(metric: LearnableMetric) -> Iterator[str]:
    """What is wrong with `loss`."""
    world = _World(metric)
    step = world.step(metric)
    before = world.traces()
    try:
        term = metric.loss(step)
    except Exception as error:
        yield f"loss fails: {_said(error)}"
        return
    yield from _changed("loss", before, world.traces())
    if not isinstance(term, Tensor) or term.dim():
        shape = tuple(term.shape) if isinstance(term, Tensor) else type(term).__name__
        yield f"loss gives {shape}, not a scalar."
        return
    if not bool(torch.isfinite(term)):
        yield "loss is not a number for ordinary images."
        return
    if not term.requires_grad:
        yield "loss has no graph: something in it is detached, or computed without gradients."
        return
    if (
        metric.trains_maps
        and metric.uses_maps
        and torch.autograd.grad(term, step.maps, retain_graph=True, allow_unused=True)[0] is None
    ):
        yield "loss does not go back through step.maps: say trains_maps = False where that is meant."
    weights = list(world.model.parameters())
    found = torch.autograd.grad(term, weights, allow_unused=True)
    gradients = [one for one in found if one is not None]
    if not all(bool(torch.isfinite(one).all()) for one in gradients):
        yield "The gradient of loss is not a number."
    elif not any(bool(one.any()) for one in gradients):
        yield "The gradient of loss is zero for every weight of the classifier."
    yield from _of_hard_batches(metric, world)


def _of_hard_batches(metric: LearnableMetric, world: _World) -> Iterator[str]:
    """Batches that a run meets sooner or later: a single image, and one whose map shows nothing."""
    dark = world.images.clone()
    dark[0] = 0
    for words, step in (
        ("a batch of one image", lambda: world.step(metric, [0])),
        ("an image whose map is zero everywhere", lambda: _without_map(world.step(metric, images=dark))),
        ("an image without an object", lambda: _without_object(world.step(metric))),
    ):
        try:
            term = metric.loss(step())
        except Exception as error:
            yield f"loss fails for {words}: {_said(error)}"
            continue
        parts = (
            torch.autograd.grad(term, list(world.model.parameters()), allow_unused=True) if term.requires_grad else ()
        )
        if not all(bool(torch.isfinite(one).all()) for one in (term, *parts) if one is not None):
            yield f"loss or its gradient is not a number for {words}; leave such images out."


def _without_map(step: Step) -> Step:
    step.maps = torch.cat([step.maps[:1] * 0, step.maps[1:]])
    return step


def _without_object(step: Step) -> Step:
    if step.masks is not None:
        step.masks = step.masks.clone()
        step.masks[0] = False
    return step


def _of_tuning(metric: LearnableMetric, steps: int) -> Iterator[str]:
    """Whether the score gets better when a small classifier is tuned for it."""
    images, labels, masks = pictures(math.lcm(8, metric.group))
    batch = Batch.plain(images, labels)
    batch.maps, batch.has_map = masks.to(torch.int8), torch.ones(len(images), dtype=torch.bool)
    told: list[str] = []
    for rate in RATES:
        model = classifier()
        objective = Harmony(metric=metric, seed=0)
        objective.prepare(model)
        before = float(objective.measure(model, batch)["score"].nanmean())
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        for _ in range(steps):
            optimizer.zero_grad()
            objective.loss(model, batch).total.backward()
            optimizer.step()
        after = float(objective.measure(model, batch)["score"].nanmean())
        if (after > before) if metric.better_higher else (after < before):
            return
        told.append(f"{before:.4g} → {after:.4g} at learning rate {rate:g}")
    yield f"{WARNING}{steps} steps on a small classifier do not improve the score: {'; '.join(told)}."


def _copies(tensors: Mapping[str, Tensor | None]) -> dict[str, Any]:
    return {name: None if one is None else deepcopy(one.detach()) for name, one in tensors.items()}


def _changed(what: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for words, was in before.items():
        now = after[words]
        if was.keys() != now.keys() or not all(_same(was[key], now[key]) for key in was):
            yield f"{what} changes the {words}."


def _same(was: Any, now: Any) -> bool:
    if isinstance(was, Tensor) and isinstance(now, Tensor):
        return torch.equal(was, now)
    return type(was) is type(now) and was == now


def _said(error: Exception) -> str:
    """An error in one line."""
    first = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {first}" if first else f"{type(error).__name__}."
