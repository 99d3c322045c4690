"""From a list of items to batches on a device.

The fixed part of the geometry is done once where the pictures fit in memory; the random part (crop, flip)
is drawn from (seed, epoch, image id) and moves picture, supervision and reference together. Pictures travel
as bytes and are normalised on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mlcore.objectives.batch import Batch
from mlcore.training.errors import JobError
from mlcore.training.job import Item
from mlcore.training.keyed import below, draw, shuffled
from mlcore.training.pictures import Frame, Geometry, load_frame
from mlcore.training.tar_items import SharedOrder, TarItems

# Pictures are kept in memory while they take no more than this; beyond, each is read when it is needed.
CACHE_BYTES = 1 << 30
# Batches that each loader process has ready.
PREFETCHED = 4

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
NORMALISATIONS = ("imagenet", "none")


@dataclass(slots=True, frozen=True)
class Augmentation:
    """What chance does to a training picture. `flip_moves_maps=False` is GRADIA's released way. any_annotation: of an
    image with several labels, the label is that of one of its annotations; otherwise of the first."""

    flip: bool = False
    random_crop: bool = False
    flip_moves_maps: bool = True
    any_annotation: bool = False


NO_AUGMENTATION = Augmentation()


class Frames:
    """Items as frames, kept in memory where they fit."""

    def __init__(
        self,
        items: Sequence[Item],
        geometry: Geometry,
        *,
        supervision: str = "none",
        reference: bool = False,
        cache: bool = True,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        lazy = isinstance(items, TarItems)
        self.items: Sequence[Item] = items if lazy else list(items)
        self.keys = [] if lazy else [item.chance_key for item in self.items]
        self.geometry = geometry
        # A million pictures of shards are not begun to be kept where they cannot all be.
        cache = cache and not (lazy and len(items) * geometry.size**2 * 3 > cache_bytes)
        self._load = lambda item: load_frame(item, geometry, supervision=supervision, reference=reference)
        self._budget = cache_bytes if cache else 0
        self._kept: list[Frame | None] = [None] * len(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Frame:
        kept = self._kept[index]
        return kept if kept is not None else self._load(self.items[index])

    def keep(self, *, threads: int = 2, progress: Callable[[int, int], None] | None = None) -> int:
        """Read pictures ahead until all are in memory or the limit is reached; how many are kept is returned.

        Pillow decodes outside the interpreter's lock, so a few threads read faster than one.
        """
        spent = 0
        if self._budget <= 0:
            return 0
        with ThreadPoolExecutor(max(threads, 1)) as pool:
            pending = iter(range(len(self.items)))
            # Small portions: a picture too many is not read when the limit is met.
            while portion := list(islice(pending, 64)):
                for index, frame in zip(portion, pool.map(self.__getitem__, portion), strict=True):
                    spent += frame.nbytes
                    if spent > self._budget:
                        return index
                    self._kept[index] = frame
                if progress is not None:
                    progress(portion[-1] + 1, len(self.items))
        return len(self.items)


@dataclass(slots=True)
class RawBatch:
    """A batch as it leaves the loader: bytes on the CPU, `positions` in the frames' items.

    images (B, S, S, 3) uint8; maps (B, S, S) int8 and has_map (B,); truths (B, S, S) bool and has_truth (B,).
    targets (B, K) float32, 1 for every label of an image, where images have several. chances: see `Batch`.
    """

    positions: list[int]
    ids: list[str]
    images: Tensor
    labels: Tensor
    maps: Tensor | None
    has_map: Tensor
    truths: Tensor | None
    has_truth: Tensor
    w_p: Tensor
    w_a: Tensor
    targets: Tensor | None = None
    chances: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def pin_memory(self) -> RawBatch:
        """The same in page-locked memory (called by the loader)."""
        for name in ("images", "labels", "maps", "has_map", "w_p", "w_a", "targets"):
            value = getattr(self, name)
            if value is not None:
                setattr(self, name, value.pin_memory())
        return self

    def to_batch(self, device: torch.device, normalise: str, *, channels_last: bool = False) -> Batch:
        """What an objective is given: normalised pictures and all tensors on `device`."""
        images = to_input(self.images.to(device, non_blocking=True), normalise, channels_last=channels_last)
        return Batch(
            images=images,
            labels=self.labels.to(device, non_blocking=True),
            maps=None if self.maps is None else self.maps.to(device, non_blocking=True),
            has_map=self.has_map.to(device, non_blocking=True),
            w_p=self.w_p.to(device, non_blocking=True),
            w_a=self.w_a.to(device, non_blocking=True),
            ids=self.ids,
            targets=None if self.targets is None else self.targets.to(device, non_blocking=True),
            chances=self.chances,
        )


def to_input(images: Tensor, normalise: str, *, channels_last: bool = False) -> Tensor:
    """(B, S, S, 3) bytes to (B, 3, S, S) float32: /255, and ImageNet's mean and deviation where asked."""
    values = images.permute(0, 3, 1, 2).float().div_(255)
    if normalise == "imagenet":
        mean = torch.tensor(IMAGENET_MEAN, device=values.device).view(1, 3, 1, 1)
        deviation = torch.tensor(IMAGENET_STD, device=values.device).view(1, 3, 1, 1)
        values = values.sub_(mean).div_(deviation)
    elif normalise != "none":
        raise JobError(f"“normalise” must be one of {', '.join(NORMALISATIONS)}, not “{normalise}”.")
    return values.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


class BatchDataset(Dataset[RawBatch]):
    """Batches by epoch and positions: `dataset[2, [3, 0, 7]]` is a batch of three as the third epoch sees them.
    classes: of the targets; 0: there are none, images have one label each."""

    def __init__(self, frames: Frames, *, seed: int, augmentation: Augmentation, classes: int = 0) -> None:
        self.frames = frames
        self.classes = classes
        self.seed = seed
        self.epoch = 0
        self.augmentation = augmentation

    def __getitem__(self, asked: tuple[int, list[int]]) -> RawBatch:
        # Told with each batch: a loader process stays from one epoch to the next.
        self.epoch, positions = asked
        size = self.frames.geometry.size
        count = len(positions)
        items = [self.frames.items[position] for position in positions]
        images = np.empty((count, size, size, 3), dtype=np.uint8)
        maps: np.ndarray[Any, Any] | None = None
        truths: np.ndarray[Any, Any] | None = None
        has_map, has_truth = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
        for row, position in enumerate(positions):
            frame = self.frames[position]
            left, top, flip = self._chance(items[row].chance_key, frame)
            cut = np.s_[top : top + size, left : left + size]
            moved = flip and self.augmentation.flip_moves_maps
            images[row] = _flipped(frame.image[cut], flip)
            if frame.map is not None:
                maps = np.zeros((count, size, size), dtype=np.int8) if maps is None else maps
                maps[row] = _flipped(frame.map[cut], moved)
                has_map[row] = True
            if frame.truth is not None:
                truths = np.zeros((count, size, size), dtype=bool) if truths is None else truths
                truths[row] = _flipped(frame.truth[cut], moved)
                has_truth[row] = True
        weights = [item.w_a if has else 0.0 for item, has in zip(items, has_map, strict=True)]
        return RawBatch(
            positions=list(positions),
            ids=[item.id for item in items],
            images=torch.from_numpy(images),
            labels=torch.tensor([self._label(item) for item in items]),
            maps=None if maps is None else torch.from_numpy(maps),
            has_map=torch.from_numpy(has_map),
            truths=None if truths is None else torch.from_numpy(truths),
            has_truth=torch.from_numpy(has_truth),
            w_p=torch.tensor([item.w_p for item in items], dtype=torch.float32),
            # Weight without a map has nothing to act on (definitions §2: no drawn map, w_a = 0).
            w_a=torch.tensor(weights, dtype=torch.float32),
            targets=self._targets(items),
            chances=[draw(self.seed, self.epoch, item.chance_key, "objective") for item in items],
        )

    def _label(self, item: Item) -> int:
        if self.augmentation.any_annotation and item.labels:
            return item.labels[below(draw(self.seed, self.epoch, item.chance_key, "annotation"), len(item.labels))]
        return -1 if item.label is None else item.label

    def _targets(self, items: Sequence[Item]) -> Tensor | None:
        if not self.classes:
            return None
        targets = torch.zeros(len(items), self.classes)
        for row, item in enumerate(items):
            had = item.labels or (() if item.label is None else (item.label,))
            targets[row, list(had)] = 1.0
        return targets

    def _chance(self, name: str, frame: Frame) -> tuple[int, int, bool]:
        """(left, top) of the cut and whether to flip."""
        height, width = frame.image.shape[:2]
        flip = self.augmentation.flip and bool(draw(self.seed, self.epoch, name, "flip") & 1)
        if not self.augmentation.random_crop:
            return *self.frames.geometry.centre((width, height)), flip
        size = self.frames.geometry.size
        left = below(draw(self.seed, self.epoch, name, "left"), width - size + 1)
        top = below(draw(self.seed, self.epoch, name, "top"), height - size + 1)
        return left, top, flip


def _flipped(values: np.ndarray[Any, Any], flip: bool) -> np.ndarray[Any, Any]:
    return values[:, ::-1] if flip else values


def batches_of(count: int, batch_size: int, processes: int = 1) -> list[range]:
    """Consecutive batches; a few images left over join the batch before: BatchNorm needs two, each process one."""
    starts = list(range(0, count, batch_size))
    if len(starts) > 1 and count - starts[-1] < max(processes, 2):
        starts.pop()
    return [range(start, end) for start, end in zip(starts, [*starts[1:], count], strict=True)]


class BatchLoader:
    """Batches of frames in a keyed order, from any position of an epoch, for this process's share of them."""

    def __init__(
        self,
        frames: Frames,
        batch_size: int,
        *,
        seed: int = 0,
        augmentation: Augmentation = NO_AUGMENTATION,
        shuffle: bool = False,
        workers: int = 0,
        pin_memory: bool = False,
        rank: int = 0,
        processes: int = 1,
        classes: int = 0,
    ) -> None:
        if batch_size < 1:
            raise JobError(f"The batch size must be 1 or more, not {batch_size}.")
        if processes > batch_size:
            raise JobError(f"A batch of {batch_size} cannot be shared by {processes} processes.")
        self.frames = frames
        self.seed = seed
        self.augmentation = augmentation
        self.shuffle = shuffle
        self.workers = workers
        self.pin_memory = pin_memory
        self.rank, self.processes = rank, processes
        self.classes = classes
        self._batches = batches_of(len(frames), batch_size, processes)
        # What the loader is asked for next: changed in place from epoch to epoch, while the loader stays.
        self._asked: list[tuple[int, list[int]]] = []
        self._loader: DataLoader[RawBatch] | None = None

    def __len__(self) -> int:
        return len(self._batches)

    def order(self, epoch: int, start: int = 0) -> Sequence[list[int]]:
        """Positions of this process's share of every batch of an epoch, from batch `start` on."""
        items = self.frames.items
        if isinstance(items, TarItems):
            places = items.order(self.seed, epoch) if self.shuffle else np.arange(len(items))
            return SharedOrder(places, self._batches[start:], self.rank, self.processes)
        order = shuffled(self.frames.keys, self.seed, epoch) if self.shuffle else list(range(len(self.frames)))
        return [[order[place] for place in batch][self.rank :: self.processes] for batch in self._batches[start:]]

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[RawBatch]:
        """Batches of an epoch, from batch `start` on. An epoch that is not finished ends when the next is asked for."""
        self._asked[:] = [(epoch, positions) for positions in self.order(epoch, start)]
        if not self._asked:
            return iter(())
        if self._loader is None:
            self._loader = self._made()
        return iter(self._loader)

    def close(self) -> None:
        """End the loader processes; another epoch starts new ones."""
        self._loader = None

    def _made(self) -> DataLoader[RawBatch]:
        return DataLoader(
            BatchDataset(self.frames, seed=self.seed, augmentation=self.augmentation, classes=self.classes),
            sampler=self._asked,  # type: ignore[arg-type]
            batch_size=None,
            num_workers=self.workers,
            pin_memory=self.pin_memory,
            worker_init_fn=_start_worker if self.workers else None,
            # Starting them anew costs seconds an epoch; a few batches ahead hide one that takes longer.
            persistent_workers=self.workers > 0,
            prefetch_factor=PREFETCHED if self.workers else None,
            # The loader draws a base seed from the global generator at every epoch; a generator of its own
            # keeps the network's dropout the same whether or not the run was resumed.
            generator=torch.Generator().manual_seed(self.seed),
        )


def _start_worker(_: int) -> None:
    # A cancel request goes to the whole process group; the main process finishes its step first and then ends
    # its workers, so they must not die before.
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
