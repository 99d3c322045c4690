"""What every metric is: values by image, and by name what was left out and why."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from mlcore.catalogue import METRICS, MetricSpec
from mlcore.metrics.intervals import mean_interval

CONSTANT_MAP = "constant map"
ZERO_MAP = "zero map"
NONFINITE_MAP = "non-finite map"
EMPTY_MASK = "empty mask"
DIFFICULT = "only difficult objects"

PIXELS_AT_ONCE = 2**20  # more at once leaves the processor's cache and is slower

Masks = Tensor | Sequence[Tensor]


class Metric(ABC):
    """Collects one value an image. `name` is how results call it.

    takes: what `update` is given, in its order; takes_also: what it can use besides. `feed` picks both from a batch.
    per_image: value of each image that counts. left_out: names of the others by reason; none of them enters
    a mean. An image given twice counts once, with its last value.
    Title, direction, reference and what a metric needs stand in its spec.
    """

    name: str
    takes: ClassVar[tuple[str, ...]] = ("maps", "names")
    takes_also: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.per_image: dict[str, float] = {}
        self._reasons: dict[str, str] = {}

    @property
    def left_out(self) -> dict[str, list[str]]:
        """Names of the images that do not count, by reason."""
        found: dict[str, list[str]] = {}
        for name, reason in self._reasons.items():
            found.setdefault(reason, []).append(name)
        return found

    @property
    def spec(self) -> MetricSpec | None:
        """How the catalogue describes the metric; None for one that is not registered under this name."""
        return METRICS.get(self.name)

    @property
    def higher_is_better(self) -> bool | None:
        """Which way is better; None where neither is, or where nobody said."""
        return self.spec.higher_is_better if self.spec else None

    @property
    def reference(self) -> str:
        """Where the definition comes from."""
        return self.spec.reference if self.spec else ""

    @property
    def needs(self) -> tuple[str, ...]:
        """What must be at hand: map, mask, person, model, method."""
        return self.spec.needs if self.spec else ()

    def reset(self) -> None:
        """Forget every image."""
        self.per_image = {}
        self._reasons = {}

    def record(self, name: str, value: float) -> None:
        """The image counts with this value."""
        self._reasons.pop(name, None)
        self.per_image.pop(name, None)
        self.per_image[name] = value

    def leave_out(self, name: str, reason: str) -> None:
        """The image does not count, for this reason."""
        self.per_image.pop(name, None)
        self._reasons.pop(name, None)
        self._reasons[name] = reason

    def note(self, name: str, outcome: float | str) -> None:
        """A value is recorded, a reason leaves the image out."""
        if isinstance(outcome, str):
            self.leave_out(name, outcome)
        else:
            self.record(name, outcome)

    def mean(self) -> float | None:
        """Mean over images; None where none counts."""
        return math.fsum(self.per_image.values()) / len(self.per_image) if self.per_image else None

    def interval(self) -> tuple[float, float] | None:
        """95 % over images, Student's t on their values; None below two images."""
        return mean_interval(list(self.per_image.values()))

    def compute(self) -> dict[str, Any]:
        """{"metric": name, "value": float or None, "low", "high": its 95 % interval over images or None,
        "n": images counted, "left_out": {reason: count}}.
        """
        low, high = self.interval() or (None, None)
        return {
            "metric": self.name,
            "value": self.mean(),
            "low": low,
            "high": high,
            "n": len(self.per_image),
            "left_out": {reason: len(names) for reason, names in self.left_out.items()},
        }


class MapMetric(Metric):
    """A metric that compares maps with masks. Masks may differ in size; those of one size are measured together.

    A metric implements `values_of` for a batch, or `value_of` for one map where nothing is gained by batches.
    """

    takes = ("maps", "masks", "names")

    def update(self, maps: Tensor, masks: Masks, names: Sequence[str]) -> None:
        """maps (B, h, w); masks (B, H, W) or B masks (H, W), object where > 0; names of the B images."""
        check_lengths(maps=maps, masks=masks, names=names)
        maps = as_maps(maps)
        outcomes: list[float | str] = [NONFINITE_MAP] * len(names)
        # Float32 values cannot overflow a float64 sum, and one sum is much cheaper than asking every pixel.
        finite = maps.flatten(1).sum(dim=1, dtype=torch.float64).isfinite().tolist()
        for rows, stacked in by_size(masks, [row for row, good in enumerate(finite) if good]):
            large = stacked.to(maps.device)
            large = large if large.dtype == torch.bool else large > 0
            marked = large.view(torch.uint8).flatten(1).any(dim=1).bool()  # bytes: far quicker than `any` of bool
            if not marked.all():
                for row in (row for row, any_there in zip(rows, marked.tolist(), strict=True) if not any_there):
                    outcomes[row] = EMPTY_MASK
                rows = [row for row, any_there in zip(rows, marked.tolist(), strict=True) if any_there]
                large = large[marked]
            if rows:
                heat = maps if rows == list(range(len(maps))) else maps[rows]
                for row, value in zip(rows, self.values_of(heat, large), strict=True):
                    outcomes[row] = value
        for name, outcome in zip(names, outcomes, strict=True):
            self.note(name, outcome)

    def values_of(self, maps: Tensor, masks: Tensor) -> list[float | str]:
        """Values of finite maps (B, h, w) against masks (B, H, W), bool, none of them empty; or why there is none."""
        return [self.value_of(heat, mask) for heat, mask in zip(maps, masks, strict=True)]

    def value_of(self, heat: Tensor, mask: Tensor) -> float | str:
        """The same of one map (h, w) and its mask (H, W)."""
        raise NotImplementedError(f"{type(self).__name__} says neither values_of nor value_of.")


def as_maps(maps: Tensor) -> Tensor:
    """Maps as they are measured: without a graph, float32 whatever they come in. Raises ValueError unless (B, h, w)."""
    if maps.dim() != 3 or not (maps.shape[1] and maps.shape[2]):
        raise ValueError(f"Maps come as (B, h, w), not as {tuple(maps.shape)}.")
    return maps.detach().float()


def by_size(pictures: Masks, rows: Sequence[int]) -> Iterator[tuple[list[int], Tensor]]:
    """Pictures of these rows, stacked where they share a size, at most `PIXELS_AT_ONCE` at once: (rows, (n, H, W)).

    Raises ValueError where one is not (H, W).
    """
    sizes: dict[tuple[int, ...], list[int]] = {}
    for row in rows:
        shape = tuple(pictures[row].shape)
        if len(shape) != 2:
            raise ValueError(f"Masks come as (H, W) for each image, not as {shape}.")
        sizes.setdefault(shape, []).append(row)
    for (height, width), same in sizes.items():
        step = max(1, PIXELS_AT_ONCE // max(1, height * width))
        for start in range(0, len(same), step):
            part = same[start : start + step]
            if isinstance(pictures, Tensor):
                yield part, pictures if len(part) == len(pictures) else pictures[part]
            else:
                yield part, torch.stack([pictures[row] for row in part])


def feed(metric: Any, batch: Mapping[str, Any]) -> None:
    """Update a metric with what it takes from a batch: maps, names, masks, people, images, targets, classes …

    Raises ValueError that says what is missing.
    """
    missing = [name for name in metric.takes if batch.get(name) is None]
    if missing:
        raise ValueError(
            f"{metric.name} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not at hand."
        )
    more = {name: batch[name] for name in metric.takes_also if batch.get(name) is not None}
    metric.update(*(batch[name] for name in metric.takes), **more)


def check_lengths(**columns: Tensor | Sequence[Any]) -> None:
    """Raises ValueError unless all have one entry for each image."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{length} {name}" for name, length in lengths.items())
        raise ValueError(f"Each image needs one of each: there are {said}.")


def boxes_to_mask(boxes: Sequence[Sequence[float]], height: int, width: int) -> Tensor:
    """Union of boxes (x0, y0, x1, y1) in pixels → (height, width) bool; a pixel is in by its centre."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    rows = torch.arange(height)[:, None] + 0.5
    columns = torch.arange(width)[None] + 0.5
    for x0, y0, x1, y1 in boxes:
        mask |= (rows >= y0) & (rows < y1) & (columns >= x0) & (columns < x1)
    return mask
