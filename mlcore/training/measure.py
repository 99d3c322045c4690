"""Looking at a part with a classifier as it is: predictions, how right they are, and how maps fit the references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mlcore.attribution.grad_cam import GradCAM
from mlcore.metrics.accuracy import Accuracy
from mlcore.metrics.attention_iou import AttentionIoU
from mlcore.metrics.average_precision import MeanAveragePrecision
from mlcore.metrics.base import MapMetric, Metric
from mlcore.metrics.content_heat_map import ContentHeatMap
from mlcore.metrics.pointing import PointingGame
from mlcore.objectives.classification import binary_cross_entropy
from mlcore.training.data import BatchLoader, RawBatch
from mlcore.training.errors import Cancelled
from mlcore.training.machine import Machine
from mlcore.training.pictures import reference_in_window
from mlcore.training.predictions import prediction_rows

NO_REFERENCE = "no mask or box"

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Viewing:
    """How pictures reach the classifier, and what of its maps is measured.

    maps: make the predicted class's map and measure attention IoU at `thresholds` where a reference exists.
    pointing_tolerance: also measure the content heat map and play the pointing game, the latter on the true
        class's map (None: neither). relu: of the map.
    bce_weight: images have several labels, and the loss is so many times the binary cross-entropy. Then mean average
        precision stands in place of accuracy, and all maps are of the first annotation's class, as the references are.
    """

    normalise: str = "imagenet"
    channels_last: bool = False
    maps: bool = False
    thresholds: Sequence[float] = (0.5, 0.75)
    pointing_tolerance: float | None = None
    layer: str | None = None
    preset: str = "default"
    elementwise: bool = False
    relu: bool = True
    bce_weight: float | None = None


@dataclass(slots=True)
class Measurement:
    """What was seen: the mean loss, one row a prediction, and the metrics by name."""

    loss: float | None = None
    predictions: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, Metric] = field(default_factory=dict)

    def value(self, name: str) -> float | None:
        """A metric's value; None where nothing was counted."""
        return self.metrics[name].compute()["value"] if name in self.metrics else None

    def rows(self) -> list[dict[str, Any]]:
        """The rows of a "scores" event."""
        return [metric.compute() | {"per_image": dict(metric.per_image)} for metric in self.metrics.values()]


def cam_of(model: nn.Module, viewing: Viewing) -> GradCAM:
    """Grad-CAM as metrics look at it."""
    return GradCAM(
        model,
        viewing.layer or None,
        relu=viewing.relu,
        preset=viewing.preset,  # type: ignore[arg-type]
        elementwise=viewing.elementwise,
    )


def measure(
    machine: Machine,
    model: nn.Module,
    loader: BatchLoader,
    viewing: Viewing,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Measurement:
    """Predictions and metrics of every item of a loader, in eval mode; the model's mode is put back.

    Items without a label count in no metric but those of maps. Raises Cancelled between batches.
    """
    training = model.training
    model.eval()
    try:
        return _measure(machine, model, loader, viewing, progress, cancelled)
    finally:
        model.train(training)


def _measure(
    machine: Machine,
    model: nn.Module,
    loader: BatchLoader,
    viewing: Viewing,
    progress: Progress | None,
    cancelled: Callable[[], bool],
) -> Measurement:
    items = loader.frames.items
    referenced = viewing.maps and any(item.has_reference for item in items)
    several = viewing.bce_weight is not None
    accuracy: Accuracy | MeanAveragePrecision = MeanAveragePrecision() if several else Accuracy()
    on_maps: list[MapMetric] = [
        AttentionIoU(threshold, relu=viewing.relu) for threshold in dict.fromkeys(viewing.thresholds)
    ]
    # At the picture's own size, as a score run measures them too.
    at_own_size = (
        None if viewing.pointing_tolerance is None else (ContentHeatMap(), PointingGame(viewing.pointing_tolerance))
    )
    cam = cam_of(model, viewing) if referenced else None
    losses: list[Tensor] = []
    found = Measurement(metrics={accuracy.name: accuracy})
    if referenced:
        found.metrics |= {metric.name: metric for metric in on_maps}
        found.metrics |= {metric.name: metric for metric in at_own_size or ()}
    for number, raw in enumerate(loader.epoch()):
        if cancelled():
            raise Cancelled
        batch = raw.to_batch(machine.device, viewing.normalise, channels_last=viewing.channels_last)
        with torch.no_grad(), machine.autocast():
            if cam is not None:
                asked = _first_annotation(batch.labels) if several else _predicted
                logits, maps = cam.forward(batch.images, asked, create_graph=False)
            else:
                logits, maps = _plain(model(batch.images)), None
        logits = logits.float().cpu()
        labelled = raw.labels >= 0
        names = [name for name, known in zip(raw.ids, labelled.tolist(), strict=True) if known]
        if names:
            told = raw.labels if raw.targets is None else raw.targets
            accuracy.update(logits[labelled], told[labelled], names)
            losses.append(_losses(logits[labelled], told[labelled], viewing.bce_weight))
        found.predictions += prediction_rows(raw.ids, logits, several=several)
        if cam is not None:
            for name, has in zip(raw.ids, raw.has_truth.tolist(), strict=True):
                if not has:
                    for metric in found.metrics.values():
                        if metric is not accuracy:
                            metric.leave_out(name, NO_REFERENCE)
        if maps is not None and raw.truths is not None:
            seen = raw.has_truth
            marked = [name for name, has in zip(raw.ids, seen.tolist(), strict=True) if has]
            maps = maps.float().cpu()
            for metric in on_maps:
                metric.update(maps[seen], raw.truths[seen], marked)
            if at_own_size is not None:
                other = None if several else cam
                _at_own_size(*at_own_size, other, machine, batch.images, maps, logits, raw, loader)
        if progress is not None:
            progress(number + 1, len(loader))
    found.loss = torch.cat(losses).mean().item() if losses else None
    return found


def _predicted(logits: Tensor) -> Tensor:
    return logits.argmax(dim=1)


def _first_annotation(labels: Tensor) -> Callable[[Tensor], Tensor]:
    """The class whose map is made: the label, the predicted class where there is none."""
    return lambda logits: torch.where(labels >= 0, labels, _predicted(logits))


def _losses(logits: Tensor, told: Tensor, bce_weight: float | None) -> Tensor:
    """(B,) losses, from labels (B,) or, where images have several, targets (B, K)."""
    if bce_weight is None:
        return functional.cross_entropy(logits, told, reduction="none")
    return bce_weight * binary_cross_entropy(logits, told)


def _plain(output: Any) -> Tensor:
    return getattr(output, "logits", output)


def _at_own_size(
    content: ContentHeatMap,
    pointing: PointingGame,
    cam: GradCAM | None,
    machine: Machine,
    images: Tensor,
    maps: Tensor,
    logits: Tensor,
    raw: RawBatch,
    loader: BatchLoader,
) -> None:
    """The pointing game asks where the TRUE class is; only wrongly predicted images need another map. cam: makes it;
    None where the maps are of the true class already."""
    rows = (raw.has_truth & (raw.labels >= 0)).nonzero()[:, 0]
    wrong = rows[logits[rows].argmax(dim=1) != raw.labels[rows]]
    of_the_truth = maps.clone()
    if len(wrong) and cam is not None:
        with torch.no_grad(), machine.autocast():
            chosen = raw.labels[wrong].to(machine.device)
            _, others = cam.forward(images[wrong.to(machine.device)], chosen, create_graph=False)
        of_the_truth[wrong] = others.float().cpu()
    labelled = set(rows.tolist())
    for row in raw.has_truth.nonzero()[:, 0].tolist():
        # Read again at the picture's own size, one at a time: sizes differ, and all at once would not fit.
        mask = reference_in_window(loader.frames.items[raw.positions[row]], loader.frames.geometry)
        if mask is None:
            continue
        masks, names, one = [torch.from_numpy(mask)], [raw.ids[row]], slice(row, row + 1)
        content.update(maps[one], masks, names)
        if row in labelled:
            pointing.update(of_the_truth[one], masks, names, [int(raw.labels[row])])
