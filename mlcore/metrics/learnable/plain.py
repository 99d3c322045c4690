"""A learnable metric as a metric of maps: what it says when it judges maps that are made already.

`of_<name>` is the class for the learnable metric of that name; the catalogue's paths lead there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mlcore.attribution.base import untouched
from mlcore.catalogue.learnable import LEARNABLE as SPECS
from mlcore.metrics.base import (
    CONSTANT_MAP,
    EMPTY_MASK,
    NONFINITE_MAP,
    ZERO_MAP,
    Masks,
    Metric,
    as_maps,
    check_lengths,
)
from mlcore.metrics.intervals import mean_interval
from mlcore.metrics.learnable.base import Explain, LearnableMetric
from mlcore.metrics.learnable.registry import make
from mlcore.metrics.learnable.values import Remembered, as_measured
from mlcore.metrics.perturbation import NONFINITE_IMAGE

NO_VALUE = "no value"
WAITING = "too few images to be scored together"
PREFIX = "of_"

Row = tuple[str, Tensor, Tensor, Tensor, Tensor | None]


class PlainMetric(Metric):
    """`evaluate` of a learnable metric, one value an image.

    The maps that are given stand for those of the images; maps of any other picture come from the method. Masks are
    at the images' size. A metric that scores images together (`group`) waits for enough of them; its interval is
    over groups.
    """

    learnable: ClassVar[str]

    def __init__(self, model: nn.Module, explain: Explain, **options: Any) -> None:
        """explain: (images, targets) → maps (B, h, w) of the method. Raises ValueError where options do not fit."""
        super().__init__()
        self.model = model
        self.explain = explain
        self.metric: LearnableMetric = make(self.learnable, options)
        masks = ("masks",) if self.metric.needs_masks else ()
        self.takes = ("maps", "images", "targets", "names", *masks)  # type: ignore[misc]
        self.waiting: list[Row] = []
        self.groups: dict[str, int] = {}  # which images were scored together

    def reset(self) -> None:
        """Forget every image."""
        super().reset()
        self.waiting, self.groups = [], {}

    def update(
        self, maps: Tensor, images: Tensor, targets: Tensor, names: Sequence[str], masks: Masks | None = None
    ) -> None:
        """maps (B, h, w) of images (B, 3, H, W) for classes targets (B,); names; masks (B, H, W), > 0 on objects.

        Raises ValueError where sizes do not fit.
        """
        columns = {} if masks is None else {"masks": masks}
        check_lengths(maps=maps, images=images, targets=targets, names=names, **columns)
        if images.dim() != 4:
            raise ValueError(f"Images come as (B, 3, H, W), not as {tuple(images.shape)}.")
        images, targets = images.detach(), torch.as_tensor(targets, device=images.device).long()
        heat = as_measured(as_maps(maps).to(images.device), images)
        objects = [None] * len(names) if masks is None else [_object(mask, images) for mask in masks]
        again = set(names)
        self.waiting = [row for row in self.waiting if row[0] not in again]
        seen = torch.isfinite(images.flatten(1)).all(1).tolist()
        for finite, row in zip(seen, zip(names, heat, images, targets, objects, strict=True), strict=True):
            if finite:
                self.waiting.append(row)
            else:
                self.leave_out(row[0], NONFINITE_IMAGE)
        count = len(self.waiting) // self.metric.group
        if count:
            ready = self.waiting[: self.metric.group * count]
            self.waiting = self.waiting[self.metric.group * count :]
            self._score(ready, count)

    def _score(self, rows: list[Row], count: int) -> None:
        """`count` groups of images: the i-th, count + i-th, … together."""
        names, heat, pictures, asked, objects = zip(*rows, strict=True)
        if len({tuple(one.shape) for one in pictures}) > 1:
            raise ValueError("Images that are scored together must have one size.")
        maps, images, targets = torch.stack(heat), torch.stack(pictures), torch.stack(asked)
        masks = torch.stack([one for one in objects if one is not None]) if objects[0] is not None else None

        def explain(some: Tensor, classes: Any) -> Tensor:
            return as_measured(self.explain(some, classes).detach().float(), some)

        with untouched(self.model):
            values = self.metric.evaluate(
                self.model, images, targets, Remembered(explain, images, targets, maps), masks=masks
            )
        if tuple(values.shape) != (len(rows),):
            raise ValueError(f"{len(rows)} images have as many scores, not {tuple(values.shape)}.")
        first = max(self.groups.values(), default=-1) + 1
        reasons = _why_none(maps, masks)
        for place, (name, value, reason) in enumerate(zip(names, values.tolist(), reasons, strict=True)):
            self.groups[name] = first + place % count
            self.note(name, value if math.isfinite(value) else reason)

    def interval(self) -> tuple[float, float] | None:
        """95 % over groups of images that are scored together, Student's t; over images where each is alone."""
        together: dict[int, list[float]] = {}
        for name, value in self.per_image.items():
            together.setdefault(self.groups[name], []).append(value)
        return mean_interval([fmean(values) for values in together.values()])

    def compute(self) -> dict[str, Any]:
        """As every metric. Images that still wait for others are left out by name."""
        for row in self.waiting:
            self.leave_out(row[0], WAITING)
        return super().compute()


def _object(mask: Tensor, images: Tensor) -> Tensor:
    """One mask (H, W) as bool, on the images' device."""
    if tuple(mask.shape) != tuple(images.shape[2:]):
        raise ValueError(f"Masks are as large as the images, {tuple(images.shape[2:])}, not {tuple(mask.shape)}.")
    return (mask > 0).to(images.device)


def _why_none(maps: Tensor, masks: Tensor | None) -> list[str]:
    """Why an image would have no score, for each."""
    reasons = []
    for row, heat in enumerate(maps):
        if not bool(torch.isfinite(heat).all()):
            reasons.append(NONFINITE_MAP)
        elif not bool(heat.any()):
            reasons.append(ZERO_MAP)
        elif masks is not None and not bool(masks[row].any()):
            reasons.append(EMPTY_MASK)
        else:
            reasons.append(CONSTANT_MAP if float(heat.amin()) == float(heat.amax()) else NO_VALUE)
    return reasons


def __getattr__(name: str) -> Any:
    """`of_<name>`, made when it is first asked for and kept: an instance is pickled by its class's name."""
    metric = name.removeprefix(PREFIX)
    if metric == name or metric not in SPECS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = type(
        name,
        (PlainMetric,),
        {"name": metric, "learnable": metric, "__module__": __name__, "__doc__": SPECS[metric].summary},
    )
    globals()[name] = made
    return made
