"""Training images in tar shards: items made when they are asked for, in an order that reads nearly in sequence.

A million images are a few arrays here, no objects: what is known of each follows from the shards' indexes.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from mlcore.catalogue.tuning import learns
from mlcore.tars.index import Index, class_numbers, ensure
from mlcore.tars.names import ShardsRefused
from mlcore.tars.reading import TarMember
from mlcore.training.errors import JobError
from mlcore.training.job import Item, Job
from mlcore.training.keyed import draw

# Pictures of so many shards are mixed with each other: their tars are open at a time, and read again and again.
WINDOW = 8


class TarItems(Sequence[Item]):
    """The samples of shards in their order, with labels (numbers of classes, an array a shard) or without."""

    def __init__(
        self, tars: Sequence[Path], indexes: Sequence[Index], labels: Sequence[NDArray[np.int32]] | None
    ) -> None:
        self.tars, self.indexes, self.labels = list(tars), list(indexes), labels
        self.starts = np.cumsum([0, *(len(index) for index in indexes)]).tolist()

    def __len__(self) -> int:
        return int(self.starts[-1])

    @overload
    def __getitem__(self, position: int) -> Item: ...
    @overload
    def __getitem__(self, position: slice) -> list[Item]: ...
    def __getitem__(self, position: int | slice) -> Item | list[Item]:
        if isinstance(position, slice):
            return [self[place] for place in range(*position.indices(len(self)))]
        if position < 0:
            position += len(self)
        if not 0 <= position < len(self):
            raise IndexError(position)
        shard = bisect.bisect_right(self.starts, position) - 1
        index, row = self.indexes[shard], position - self.starts[shard]
        tar, key = self.tars[shard], index.key(row)
        return Item(
            id=f"{tar.stem}/{key}",
            path=TarMember(tar, key, int(index.offsets[row]), int(index.sizes[row])),
            label=None if self.labels is None else int(self.labels[shard][row]),
        )

    def __iter__(self) -> Iterator[Item]:
        return (self[position] for position in range(len(self)))

    def order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Positions in the order of an epoch: shards shuffled, and images shuffled within windows of some shards.

        Every chance is drawn from (seed, epoch, name of the shard), so a resumed run and one of several processes see
        the same order.
        """
        names = [tar.name for tar in self.tars]
        chance = [(draw(seed, epoch, name, "shard"), name) for name in names]
        shards = sorted(range(len(names)), key=chance.__getitem__)
        order = np.empty(len(self), np.int64)
        filled = 0
        for first in range(0, len(shards), WINDOW):
            window = shards[first : first + WINDOW]
            places = np.concatenate([np.arange(self.starts[shard], self.starts[shard + 1]) for shard in window])
            bits = np.random.Philox(key=draw(seed, epoch, names[window[0]], "window")).random_raw(len(places))
            order[filled : filled + len(places)] = places[np.argsort(bits, kind="stable")]
            filled += len(places)
        return order


class SharedOrder(Sequence[list[int]]):
    """One process's share of every batch of an epoch, made when it is asked for."""

    def __init__(self, places: NDArray[np.int64], batches: Sequence[range], rank: int, processes: int) -> None:
        self.places, self.batches, self.rank, self.processes = places, batches, rank, processes

    def __len__(self) -> int:
        return len(self.batches)

    @overload
    def __getitem__(self, number: int) -> list[int]: ...
    @overload
    def __getitem__(self, number: slice) -> list[list[int]]: ...
    def __getitem__(self, number: int | slice) -> list[int] | list[list[int]]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        batch = self.batches[number]
        found: list[int] = self.places[batch.start : batch.stop][self.rank :: self.processes].tolist()
        return found


def tar_items(shards: Sequence[Mapping[str, Any]], classes: Sequence[str], *, labelled: bool = True) -> TarItems:
    """The items of a job's shards ({"tar", "indexes": folder, "sha256" of the index} each).

    Raises JobError naming a shard that is gone or changed and, where they are to be `labelled`, the first sample whose
    label is none of the classes.
    """
    tars = [Path(shard["tar"]) for shard in shards]
    try:
        indexes = [ensure(tar, Path(shard["indexes"]))[0] for tar, shard in zip(tars, shards, strict=True)]
        for tar, index, shard in zip(tars, indexes, shards, strict=True):
            if index.digest() != shard["sha256"]:
                raise ShardsRefused(f"The shard {tar.name} is not the one that this run was started with.")
        labels = None
        if labelled:
            labels = [class_numbers(index, tar.name, list(classes)) for tar, index in zip(tars, indexes, strict=True)]
    except (ShardsRefused, OSError) as refused:
        raise JobError(str(refused)) from refused
    return TarItems(tars, indexes, labels)


def training_items(job: Job) -> Sequence[Item]:
    """What a job trains on: its shards, or else its parts train and annotation_pool."""
    if job.shards:
        return tar_items(job.shards, job.classes, labelled=learns(job.recipe))
    return [item for part in ("train", "annotation_pool") for item in job.parts.get(part, ())]
