"""Asking the classifier again about altered pictures: one batched engine, and what metrics that use it share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor, nn

from mlcore.attribution.base import class_scores, resolve_targets, untouched
from mlcore.attribution.maps import minmax, status, upsample
from mlcore.metrics.base import CONSTANT_MAP, NONFINITE_MAP, Metric, check_lengths
from mlcore.metrics.inputs import NORMALISATIONS, Normalisation

NONFINITE_IMAGE = "non-finite image"
NONFINITE_ANSWER = "non-finite probability"
NO_PROBABILITY = "class has probability 0"
# A larger batch falls out of a processor's cache: SqueezeNet at 224 px takes 1.4 times as long an image by 64 as by 8.
BATCH = {"cpu": 8}
BATCH_ELSEWHERE = 64

Explain = Callable[[Tensor, Tensor], Tensor]
Copies = Callable[[int, int, int], Tensor]


@dataclass(frozen=True)
class Answers:
    """probability (B, S) of each image's target class and predicted class (B, S) for every copy; beyond an image's
    own number of copies: NaN and −1."""

    probability: Tensor
    predicted: Tensor


class Engine:
    """Puts altered copies of images to a classifier, `batch` at a time (None: what suits the device), across images
    and steps.

    Eval mode, without a graph; modes and random state are as before afterwards, also after an error. Copies are
    computed in float32 on the images' device and cast to the images' type. Raises ValueError where batch < 1.
    """

    def __init__(self, model: nn.Module, batch: int | None = None) -> None:
        if batch is not None and batch < 1:
            raise ValueError(f"internal_batch_size is 1 or more, not {batch}.")
        self.model = model
        self.batch = batch

    def size_for(self, images: Tensor) -> int:
        """Copies asked about at once."""
        return self.batch or BATCH.get(images.device.type, BATCH_ELSEWHERE)

    def probabilities(self, images: Tensor) -> Tensor:
        """Softmax (B, K) in float32 of images (B, 3, H, W)."""
        with untouched(self.model), torch.inference_mode(False), torch.no_grad():
            return torch.cat([self._ask(part) for part in images.detach().split(self.size_for(images))])

    def series(self, images: Tensor, targets: Tensor, counts: Sequence[int], copies: Copies) -> Answers:
        """Ask about counts[i] copies of each image; copies(i, first, end) makes those of image i from first to end.

        Copies are made only when they are asked about, so that few of them are in memory at a time.
        """
        longest = max(counts, default=0)
        probability = torch.full((len(images), longest), math.nan, device=images.device)
        predicted = torch.full((len(images), longest), -1, dtype=torch.int64, device=images.device)
        with untouched(self.model), torch.inference_mode(False), torch.no_grad():
            for spans in _batches(counts, self.size_for(images)):
                asked = torch.cat([copies(*span).to(images.dtype) for span in spans])
                found = self._ask(asked)
                rows = torch.cat([torch.full((end - first,), index) for index, first, end in spans]).to(images.device)
                columns = torch.cat([torch.arange(first, end) for _, first, end in spans]).to(images.device)
                probability[rows, columns] = found.gather(1, targets[rows, None])[:, 0]
                predicted[rows, columns] = found.argmax(1)
        return Answers(probability, predicted)

    def _ask(self, images: Tensor) -> Tensor:
        return class_scores(self.model(images)).float().softmax(1)


def _batches(counts: Sequence[int], size: int) -> Iterator[list[tuple[int, int, int]]]:
    """All copies in order, as lists of (image, first, end) of `size` copies together."""
    spans: list[tuple[int, int, int]] = []
    room = size
    for index, count in enumerate(counts):
        first = 0
        while first < count:
            end = min(count, first + room)
            spans.append((index, first, end))
            room -= end - first
            first = end
            if not room:
                yield spans
                spans, room = [], size
    if spans:
        yield spans


class PerturbationMetric(Metric):
    """A metric that alters images and asks the classifier again.

    model: the classifier the maps are of. internal_batch_size: how many copies it is asked about at once.
    normalisation: how its input relates to the picture in [0, 1], "imagenet", "none" or a Normalisation.
    Constant and non-finite maps, non-finite images and answers are left out by name.
    """

    takes = ("maps", "images", "targets", "names")

    def __init__(
        self,
        model: nn.Module,
        *,
        normalisation: str | Normalisation = "imagenet",
        internal_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if isinstance(normalisation, str):
            if normalisation not in NORMALISATIONS:
                raise ValueError(f"Normalisations are {', '.join(NORMALISATIONS)}, not “{normalisation}”.")
            normalisation = NORMALISATIONS[normalisation]
        self.normalisation = normalisation
        self.engine = Engine(model, internal_batch_size)

    def update(self, maps: Tensor, images: Tensor, targets: Tensor, names: Sequence[str]) -> None:
        """maps (B, h, w) of images (B, 3, H, W) for classes targets (B,); names of the B images."""
        check_lengths(maps=maps, images=images, targets=targets, names=names)
        if maps.dim() != 3 or images.dim() != 4:
            raise ValueError(
                f"Maps come as (B, h, w) and images as (B, 3, H, W), not {tuple(maps.shape)} and {tuple(images.shape)}."
            )
        maps = maps.detach().to(images.device).float()
        images, targets = images.detach(), torch.as_tensor(targets, device=images.device).long()
        seen = torch.isfinite(images.flatten(1)).all(1).tolist()
        kept = []
        for index, (state, finite) in enumerate(zip(status(maps), seen, strict=True)):
            if state != "ok":
                self.leave_out(names[index], NONFINITE_MAP if state == "nonfinite" else CONSTANT_MAP)
            elif not finite:
                self.leave_out(names[index], NONFINITE_IMAGE)
            else:
                kept.append(index)
        if not kept:
            return
        for index, value in zip(kept, self.values(maps[kept], images[kept], targets[kept]), strict=True):
            if isinstance(value, str):
                self.leave_out(names[index], value)
            elif math.isfinite(value):
                self.record(names[index], value)
            else:
                self.leave_out(names[index], NONFINITE_ANSWER)

    @abstractmethod
    def values(self, maps: Tensor, images: Tensor, targets: Tensor) -> list[float | str]:
        """The value of each image, or why it has none; maps and images are finite, no map is constant."""

    def unaltered(self, images: Tensor, targets: Tensor) -> Tensor:
        """Probability (B,) of the target classes for the images as they are."""
        found = self.engine.probabilities(images)
        return found.gather(1, resolve_targets(found, targets)[:, None])[:, 0]


def explained_part(maps: Tensor, images: Tensor, normalisation: Normalisation, keep: float = 100.0) -> Tensor:
    """What the map shows of each image (definitions §4): inputs (B, C, H, W) float32.

    The map, min–max, bilinear to the image, its lowest 100 − keep % of pixels (⌊HW·(100 − keep)/100⌋) set to zero
    and the rest soft, times the [0, 1] picture, normalised again.
    """
    height, width = images.shape[2:]
    heat = upsample(minmax(maps, eps=0.0), (height, width))
    dropped = math.floor(height * width * (100 - keep) / 100)
    if dropped:
        heat = torch.where(ranks(heat) < height * width - dropped, heat, 0.0)
    return normalisation.from_unit(normalisation.to_unit(images.float()) * heat[:, None])


def ranks(heat: Tensor) -> Tensor:
    """Place of each pixel when the most relevant come first: (B, H, W) → (B, H, W) int64 from 0.

    One sort; equal values stand in reading order.
    """
    order = heat.flatten(1).argsort(dim=1, descending=True, stable=True)
    places = torch.empty_like(order)
    places.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
    return places.view_as(heat)


def content_seed(image: Tensor, seed: int, purpose: str) -> int:
    """64 bits that depend on what the image (C, H, W) shows and on nothing else: not on its name or its place."""
    content = image.detach().float().cpu().contiguous().numpy().tobytes()
    digest = blake2b(content, digest_size=8, key=f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest, "little") >> 1
