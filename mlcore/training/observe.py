"""What an objective itself measures of a classifier on a part: a metric's score of its maps, and whether it still says
what it said before (`Objective.measure`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mlcore.metrics.base import Metric
from mlcore.metrics.intervals import mean_interval
from mlcore.objectives.base import Objective
from mlcore.training.data import BatchLoader
from mlcore.training.errors import Cancelled
from mlcore.training.job import Item
from mlcore.training.keyed import shuffled
from mlcore.training.machine import Machine
from mlcore.training.measure import Progress, Viewing

NO_VALUE = "no value"


class Values(Metric):
    """Values that were measured elsewhere, under a name of their own. Images that were scored together (a mosaic's
    four) are one sample of the interval."""

    takes = ("values", "names")

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.together: dict[str, str] = {}

    def update(self, values: Tensor, names: Sequence[str], *, together: Sequence[str] = ()) -> None:
        """values (B,), NaN or infinite where an image has none; names of the B images; `together`: the same word for
        images that were scored together (none: each alone)."""
        self.together |= dict(zip(names, together, strict=bool(together)))
        for value, name in zip(values.double().cpu().tolist(), names, strict=True):
            self.note(name, value if math.isfinite(value) else NO_VALUE)

    def minus(self, before: Values, name: str) -> Values:
        """What each image gained, under a new name; of images that have both values."""
        gain = Values(name)
        gain.together = self.together
        for image, value in self.per_image.items():
            gain.note(image, value - before.per_image[image] if image in before.per_image else NO_VALUE)
        return gain

    def interval(self) -> tuple[float, float] | None:
        """95 %, Student's t over images, or over those scored together; None below two."""
        samples: dict[str, list[float]] = {}
        for name, value in self.per_image.items():
            samples.setdefault(self.together.get(name, name), []).append(value)
        return mean_interval([math.fsum(values) / len(values) for values in samples.values()])


def measures(objective: Objective) -> bool:
    """Whether an objective has figures of its own."""
    return type(objective).measure is not Objective.measure


def mixed(items: Sequence[Item]) -> list[Item]:
    """The items in a random order that depends on their pictures alone: neighbours in a table are often of one class,
    and what is measured on a few batches, or on four pictures at once, shall not be."""
    return [items[place] for place in shuffled([item.chance_key for item in items], 0, 0)]


def groups(count: int, size: int) -> list[str]:
    """Which of a batch's images are scored together, in fours: i, b + i, 2b + i, 3b + i (definitions §5, Focus)."""
    across = max(count // size, 1)
    return [str(place % across) for place in range(count)]


def observe(
    machine: Machine,
    objective: Objective,
    model: nn.Module,
    loader: BatchLoader,
    viewing: Viewing,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Values]:
    """The objective's figures of every item of a loader, in eval mode; the model's mode is put back.

    Chance begins anew each time, so that two looks at the same images differ by the classifier alone, and training goes
    on as if nobody had looked. Raises Cancelled between batches.
    """
    training = model.training
    devices = [machine.device] if machine.device.type == "cuda" else []
    size = getattr(getattr(objective, "metric", None), "group", 1)
    found: dict[str, Values] = {}
    with torch.random.fork_rng(devices):
        torch.manual_seed(0)
        model.eval()
        try:
            for number, raw in enumerate(loader.epoch()):
                if cancelled():
                    raise Cancelled
                batch = raw.to_batch(machine.device, viewing.normalise, channels_last=viewing.channels_last)
                with machine.autocast():
                    measured = objective.measure(model, batch)
                together = [f"{number}/{place}" for place in groups(len(batch), size)] if size > 1 else []
                for name, values in measured.items():
                    found.setdefault(name, Values(name)).update(values.detach(), raw.ids, together=together)
                if progress is not None:
                    progress(number + 1, len(loader))
        finally:
            model.train(training)
    return found
