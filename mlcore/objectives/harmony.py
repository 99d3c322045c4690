"""HARMONY: a copy of a classifier scores better on one metric of its maps while its outputs stay (definitions §5)."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution import METHODS
from mlcore.attribution.base import Attribution, class_scores, untouched
from mlcore.attribution.grad_cam import GradCAM
from mlcore.attribution.layers import unwrap
from mlcore.catalogue.learnable import LEARNABLE
from mlcore.catalogue.methods import METHODS as METHOD_SPECS
from mlcore.metrics.learnable.base import LearnableMetric, Step
from mlcore.metrics.learnable.parts import laid_out
from mlcore.metrics.learnable.registry import make
from mlcore.metrics.learnable.values import Remembered, as_measured
from mlcore.objectives.base import Loss, Objective, count_reduce, mean_over
from mlcore.objectives.batch import Batch
from mlcore.objectives.known_logits import KnownLogits


class Harmony(Objective):
    """keep_weight · mean(1 − (cos(z_original, z_tuned) + 1)/2) + c · the metric's term.

    The original is a frozen copy of the classifier as it is at `prepare`: neither trained nor in a checkpoint. Each
    step asks either classifier about the batch once, the original (on a CPU) only about images that it has not seen;
    what a metric shows besides is its own. Maps are those of the
    class that the original predicts, clamped at 0, bilinear at the images' size; gradients through them are exact.

    metric, method: names in the catalogue; or a metric itself. term_weight: c; 0: the metric's published weight, 1
    for a metric itself. metric_options: the named metric's, "name=value; name=value". layer: where the method reads,
    for methods that have one; empty: its own default. method_options: the method's others. object_source: where
    `batch.maps` come from, for the loader. seed: of the steps' chance; None: that of PyTorch's own generator at
    `prepare`.

    Raises ValueError with a sentence where metric, method, layer or options do not fit.
    """

    mode: ClassVar[str] = "eval"

    seed: Tensor
    steps: Tensor
    previous: Tensor

    def __init__(
        self,
        *,
        metric: str | LearnableMetric = "focus",
        method: str = "grad_cam",
        term_weight: float = 0.0,
        keep_weight: float = 1.0,
        object_source: str = "masks",
        metric_options: str = "",
        layer: str | None = None,
        method_options: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if not term_weight >= 0 or not keep_weight >= 0:
            raise ValueError(f"Weights are 0 or more, not {term_weight} and {keep_weight}.")
        self.metric: LearnableMetric = make(metric, metric_options) if isinstance(metric, str) else metric
        published = LEARNABLE[metric].term_weight if isinstance(metric, str) else 1.0
        self.term_weight = float(term_weight) or published
        self.keep_weight = float(keep_weight)
        self.object_source = object_source
        self.method = method
        self.method_options = _method_options(method, layer, method_options or {})
        self.given_seed = seed
        # What a resumed run needs to go on equally; the original and the method are made by `prepare`.
        self.register_buffer("seed", torch.tensor(seed or 0, dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("previous", torch.ones((), dtype=torch.float64))
        # In a list, so that no module is found in it: neither parameters nor state nor `train()` reach the original.
        self._original: list[nn.Module] = []
        self._attribution: Attribution | None = None
        self._known = KnownLogits()

    @property
    def original(self) -> nn.Module:
        """The classifier as it was. Raises ValueError before `prepare`."""
        if not self._original:
            raise ValueError("The original classifier is known only after `prepare`.")
        return self._original[0]

    @property
    def higher_is_better(self) -> bool:
        """Of `measure`'s score: the metric's."""
        return self.metric.better_higher

    def prepare(self, model: nn.Module) -> None:
        """Keep a frozen copy of the classifier as it is now, and make the method for the one that is tuned."""
        self._attribution = self._method_of(model)
        self._original = [copy.deepcopy(unwrap(model)).eval().requires_grad_(False)]
        self._known = KnownLogits()
        for parameter in self._original[0].parameters():
            parameter.grad = None
        if self.given_seed is None:
            self.seed.fill_(torch.initial_seed() % 2**63)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The loss of one batch. Terms: keep, term, agreement; dark_maps where the metric looks at the batch's maps,
        images_without_mask where it needs objects."""
        attribution = self._attribution_of(model)
        images = laid_out(batch.images)
        original = self._known(self.original, batch.images)
        targets = original.argmax(dim=1)
        if self.metric.uses_maps:
            logits, maps = self._forward(attribution, images, targets, graph=self.metric.trains_maps)
        else:
            logits, maps = class_scores(model(images)), torch.zeros_like(images[:, 0])
        masks = self._masks(batch)
        step = Step(
            model=model,
            images=images,
            targets=targets,
            original=original,
            logits=logits,
            maps=maps,
            explain=lambda shown, asked: self._forward(attribution, shown, asked, graph=True)[1],
            masks=masks,
            agreement=float(self.previous),
            generator=self._generator(),
        )
        term = self.metric.loss(step)
        images = torch.tensor(float(len(batch)), device=logits.device)
        keep = mean_over(outputs_apart(original, logits), images, "images")
        agreement = self._agreement(logits, targets)
        self.previous.copy_(agreement)
        self.steps += 1
        terms = {"keep": keep.detach(), "term": term.detach(), "agreement": agreement}
        if self.metric.uses_maps:
            terms["dark_maps"] = _dark(maps).sum()
        if self.metric.needs_masks and masks is not None:
            terms["images_without_mask"] = (~masks.flatten(1).any(dim=1)).sum()
        return Loss(self.keep_weight * keep + self.term_weight * term, terms, logits)

    def measure(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """ "score" (B,), the metric's; "agreement" (B,): 1 where both classifiers predict the same. Both float64."""
        attribution = self._attribution_of(model)
        with untouched(model), torch.no_grad():
            targets = self._known(self.original, batch.images).argmax(dim=1)
            logits, maps = self._forward(attribution, batch.images, targets, graph=False)

            def explain(images: Tensor, asked: Any) -> Tensor:
                return as_measured(attribution.explain(images, asked), images)

            score = self.metric.evaluate(
                model,
                batch.images,
                targets,
                Remembered(explain, batch.images, targets, maps.float()),
                masks=self._masks(batch),
            )
        return {"score": score, "agreement": (logits.argmax(dim=1) == targets).double()}

    def _method_of(self, model: nn.Module) -> Attribution:
        try:
            return METHODS[self.method](model, **self.method_options)
        except TypeError as error:
            raise ValueError(f"{METHOD_SPECS[self.method].title} refuses its options: {error}") from error

    def _attribution_of(self, model: nn.Module) -> Attribution:
        if not self._original:
            self.prepare(model)
        if self._attribution is None or self._attribution.model is not model:
            self._attribution = self._method_of(model)
        return self._attribution

    def _forward(self, attribution: Attribution, images: Tensor, targets: Any, *, graph: bool) -> tuple[Tensor, Tensor]:
        """Logits (B, K) and maps (B, H, W) of one pass."""
        # Grad-CAM's weights belong to the map that is scored: held constant, the gradient would be another's.
        exact = {"stop_gradient_weights": False} if isinstance(attribution, GradCAM) else {}
        logits, maps = attribution.forward(images, targets, create_graph=graph, **exact)
        return logits, as_measured(maps, images)

    def _masks(self, batch: Batch) -> Tensor | None:
        """Where the objects are (B, H, W) bool; nowhere for images that have none; None where nobody asks."""
        if batch.maps is None:
            if not self.metric.needs_masks:
                return None
            shape = (len(batch), batch.images.shape[2], batch.images.shape[3])
            return torch.zeros(shape, dtype=torch.bool, device=batch.images.device)
        return (batch.maps > 0) & batch.has_map[:, None, None]

    def _agreement(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Share of the batch, over all processes, on which both classifiers predict the same."""
        same = (logits.detach().argmax(dim=1) == targets).sum().double()
        return count_reduce(same) / count_reduce(torch.full_like(same, len(targets)))

    def _generator(self) -> torch.Generator:
        """This step's chance: seed, step and process say it all."""
        rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
        said = f"{int(self.seed)}/{int(self.steps)}/{rank}".encode()
        return torch.Generator().manual_seed(
            int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "little") >> 1
        )


def outputs_apart(original: Tensor, tuned: Tensor) -> Tensor:
    """1 − (cos + 1)/2 of class scores (B, K), at least float32: (B,), 0 where they point the same way."""
    wide = [scores.float() if scores.dtype.itemsize < 4 else scores for scores in (original, tuned)]
    return 1 - (F.cosine_similarity(wide[0], wide[1], dim=1) + 1) / 2


def _method_options(method: str, layer: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the method's constructor is given. Raises ValueError where the method does not fit."""
    if method not in METHOD_SPECS:
        raise ValueError(f"There is no attribution method “{method}”; there are {', '.join(METHOD_SPECS)}.")
    spec = METHOD_SPECS[method]
    if not spec.differentiable:
        able = ", ".join(name for name, one in METHOD_SPECS.items() if one.differentiable)
        raise ValueError(f"{spec.title} cannot be trained through; these can: {able}.")
    if not layer:
        return dict(options)
    if "layer" not in {field.name for field in spec.fields}:
        raise ValueError(f"{spec.title} looks at the picture itself: leave the layer empty.")
    return {"layer": layer} | dict(options)


def _dark(maps: Tensor) -> Tensor:
    """(B,) bool: maps without anything positive, and maps that are not finite."""
    total = maps.detach().sum(dim=(1, 2))
    return ~(torch.isfinite(total) & (total > 0))
