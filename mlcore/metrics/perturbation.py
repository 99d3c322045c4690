"""Asking the classifier again about altered pictures: one batched engine, and what metrics that use it share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor, nn

from mlcore.attribution.base import class_scores, resolve_targets, untouched
from mlcore.attribution.maps import minmax, status, upsample
from mlcore.metrics.base import CONSTANT_MAP, NONFINITE_MAP, Metric, check_lengths
from mlcore.metrics.inputs import NORMALISATIONS, Normalisation
from mlcore.metrics.pixel_exchange import Exchange, Span, writer

NONFINITE_IMAGE = "non-finite image"
NONFINITE_ANSWER = "non-finite probability"
NO_PROBABILITY = "class has probability 0"
BATCH = 64
# On a CPU, 4 copies of 224 px. With more, features no longer fit what the C library keeps of freed memory (32 MiB a
# block): each layer's pages are asked for anew. SqueezeNet takes 12 ms an image by 4, 15 by 8, 21 by 24.
PIXELS_ON_CPU = 4 * 224 * 224

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
        self.layouts: dict[torch.Size, torch.memory_format] = {}

    def size_for(self, images: Tensor) -> int:
        """Copies of images (…, H, W) asked about at once."""
        if self.batch or images.device.type != "cpu":
            return self.batch or BATCH
        return min(BATCH, max(1, PIXELS_ON_CPU // max(1, images.shape[-2] * images.shape[-1])))

    def probabilities(self, images: Tensor) -> Tensor:
        """Softmax (B, K) in float32 of images (B, 3, H, W)."""
        with untouched(self.model), torch.inference_mode(False), torch.no_grad():
            return torch.cat([self._ask(part) for part in images.detach().split(self.size_for(images))])

    def series(self, images: Tensor, targets: Tensor, counts: Sequence[int], copies: Copies) -> Answers:
        """Ask about counts[i] copies of each image; copies(i, first, end) makes those of image i from first to end.

        Copies are made only when they are asked about, so that few of them are in memory at a time.
        Raises ValueError where a target is none of the classifier's classes.
        """
        probability: list[Tensor] = []
        predicted: list[Tensor] = []
        done = 0
        with untouched(self.model), torch.inference_mode(False), torch.no_grad():
            wanted = _each(targets, counts)
            for spans in _batches(counts, self.size_for(images)):
                made = [copies(*span).to(images.dtype) for span in spans]
                found = self._ask(made[0] if len(made) == 1 else torch.cat(made))
                if not done:
                    _check(found, targets)
                probability.append(found.gather(1, wanted[done : done + len(found)])[:, 0])
                predicted.append(found.argmax(1))
                done += len(found)
            return Answers(_rows(probability, counts, math.nan, images), _rows(predicted, counts, -1, images))

    def exchange(self, series: Sequence[Exchange], targets: Tensor) -> Tensor:
        """Probability (B, S) of each picture's target class for each copy of its series; NaN beyond a series' end.

        The classifier is given a view of one buffer, which is written anew as soon as it has answered.
        Raises ValueError where a target is none of the classifier's classes.
        """
        if not series:
            return torch.empty(0, 0, device=targets.device)
        counts, found = [len(one.numbers) for one in series], []
        with untouched(self.model), torch.inference_mode(False), torch.no_grad():
            wanted = _each(targets, counts)
            size = min(self.size_for(series[0].before), len(wanted))
            copies, done = writer(series, size), 0
            for spans in _batches(counts, size):
                # The answer may be a view of the copies; softmax is not.
                answers = self._ask(copies.write(spans))
                if not done:
                    _check(answers, targets)
                found.append(answers.gather(1, wanted[done : done + len(answers)])[:, 0])
                done += len(answers)
            return _rows(found, counts, math.nan, series[0].before)

    def _ask(self, images: Tensor) -> Tensor:
        return class_scores(self._answer(images)).float().softmax(1)

    def _answer(self, images: Tensor) -> object:
        """What the classifier answers. On a CPU it is given colours that stand together in memory, which takes half as
        long for SqueezeNet and GoogLeNet and is never slower, unless it cannot take them (`view` of features)."""
        if images.device.type != "cpu":
            return self.model(images)
        shape = images.shape[1:]
        if shape not in self.layouts:
            self.layouts[shape] = torch.channels_last
            try:
                return self.model(images.clone(memory_format=torch.channels_last))
            except RuntimeError:
                self.layouts[shape] = torch.contiguous_format
        return self.model(images.contiguous(memory_format=self.layouts[shape]))


def _each(targets: Tensor, counts: Sequence[int]) -> Tensor:
    """Every copy's target class: (total, 1)."""
    return targets.repeat_interleave(torch.tensor(counts, device=targets.device))[:, None]


def _check(found: Tensor, targets: Tensor) -> None:
    resolve_targets(found[:1].expand(len(targets), -1), targets)


def _rows(values: list[Tensor], counts: Sequence[int], beyond: float, like: Tensor) -> Tensor:
    """Values of all copies in order → one row a picture (B, longest), `beyond` where it has fewer."""
    longest = max(counts, default=0)
    if not values:
        return torch.full((len(counts), longest), beyond, device=like.device)
    flat = torch.cat(values)
    if flat.numel() == len(counts) * longest:
        return flat.view(len(counts), longest)
    rows = flat.new_full((len(counts), longest), beyond)
    rows[torch.arange(longest) < torch.tensor(counts)[:, None]] = flat
    return rows


def _batches(counts: Sequence[int], size: int) -> Iterator[list[Span]]:
    """All copies in order, as lists of (image, first, end) of `size` copies together."""
    spans: list[Span] = []
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


def by_relevance(heat: Tensor) -> Tensor:
    """Places of the pixels (B, n) of finite relevance, the most relevant first, equal ones in order: int64 from 0."""
    if heat.device.type != "cpu" or heat.dtype != torch.float32:
        return heat.argsort(dim=1, descending=True, stable=True)
    # Relevance and place in one integer, all different: numpy's quick sort does, 14 times as fast as a stable one.
    bits = (heat.detach() + 0.0).numpy().view(np.int32)  # a float's bits rise with its size; −0 becomes 0
    falling = np.where(bits < 0, bits & 0x7FFFFFFF, ~bits)
    keys = (falling.astype(np.int64) << 32) | np.arange(heat.shape[1])
    keys.sort(axis=1)
    return torch.from_numpy(keys & 0xFFFFFFFF)


def ranks(heat: Tensor) -> Tensor:
    """Place of each pixel when the most relevant come first: (B, H, W) → (B, H, W) int64 from 0.

    One sort; equal values stand in reading order.
    """
    order = by_relevance(heat.flatten(1))
    places = torch.empty_like(order)
    places.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
    return places.view_as(heat)


def content_seed(image: Tensor, seed: int, purpose: str) -> int:
    """64 bits that depend on what the image (C, H, W) shows and on nothing else: not on its name or its place."""
    content = image.detach().float().cpu().contiguous().numpy().tobytes()
    digest = blake2b(content, digest_size=8, key=f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest, "little") >> 1
