"""Features of the queries and of the gallery: taken from what is kept on the disk, the missing ones computed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlcore.catalogue.gallery_size import size_of
from mlcore.correspondence.base import Described
from mlcore.correspondence.features import describe
from mlcore.correspondence.store import Gallery, GalleryCancelled, update
from mlcore.training.data import NO_AUGMENTATION, BatchDataset, Frames
from mlcore.training.errors import Cancelled, JobError
from mlcore.training.events import Reporter
from mlcore.training.job import Item, Job
from mlcore.training.machine import Machine
from mlcore.training.setup import batch_of, geometry_of

Progress = Callable[[int, int], None]


class FirstRows:
    """The first rows (n, C) of pooled features: the gallery, where queries lie behind it in the same store."""

    def __init__(self, rows: Any, count: int) -> None:
        self._rows = rows
        self.shape = (count, int(rows.shape[1]))

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        return self._rows[slice(*rows.indices(self.shape[0]))] if isinstance(rows, slice) else self._rows[rows]


@dataclass
class Kept:
    """Features by one layer: of the gallery, whose rows are in its order, and of the queries by their names."""

    gallery: Gallery
    queries: Gallery
    count: int

    @property
    def pooled(self) -> FirstRows:
        return FirstRows(self.gallery.pooled_rows, self.count)

    def place_of(self, name: str) -> int:
        """An image's place in the gallery; −1 where it is not there."""
        row = self.gallery.row_of.get(name, -1)
        return row if row < self.count else -1

    def pooled_of(self, names: Sequence[str]) -> Tensor:
        return self.queries.pooled([self.queries.row_of[name] for name in names])

    def queries_of(self, names: Sequence[str]) -> Tensor:
        return self.queries.spatial([self.queries.row_of[name] for name in names])


@dataclass
class Features:
    """What is compared: cells of the last layer, and those of the stage that a correspondence network reads."""

    last: Kept
    middle: Kept | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return self.last.gallery.shape[1:]

    def bytes_of(self, candidates: int) -> int:
        """Of one query and its candidates, in float32."""
        sizes = [kept.gallery.shape for kept in (self.last, self.middle) if kept is not None]
        return 4 * (candidates + 1) * sum(channels * height * width for channels, height, width in sizes)

    def described(self, names: Sequence[str], rows: Tensor, device: torch.device) -> tuple[Described, Described]:
        """Queries (Q, C, h, w) and their candidates (Q, K, C, h, w); rows (Q, K) are places in the gallery.

        Raises GalleryCorrupt where a file was damaged since it was opened.
        """
        count, width = rows.shape
        parts: list[tuple[Tensor, Tensor] | tuple[None, None]] = []
        for kept in (self.last, self.middle):
            if kept is None:
                parts.append((None, None))
                continue
            flat = kept.gallery.spatial(rows.flatten())
            parts.append((kept.queries_of(names).to(device), flat.view(count, width, *flat.shape[1:]).to(device)))
        (ours, theirs), (our_middle, their_middle) = parts
        assert ours is not None, "the last layer is always there"
        assert theirs is not None, "and so is the gallery's"
        return Described(ours, our_middle), Described(theirs, their_middle)


class Stores:
    """The folders of a job's features, as its "stores" name them: {"last": {…}, "middle": {…}}, each {"layer",
    "gallery": {"folder", "key"}, "queries": {"folder", "key"}}."""

    def __init__(
        self,
        job: Job,
        machine: Machine,
        model: nn.Module,
        told: Mapping[str, Any],
        reporter: Reporter,
        cancelled: Callable[[], bool],
    ) -> None:
        self.job, self.machine, self.model, self.raw = job, machine, model, told
        self.reporter, self.cancelled = reporter, cancelled
        self.told: list[dict[str, Any]] = []
        self._first = True

    def ready(self, queries: Sequence[Item], gallery: Sequence[Item], progress: Progress) -> Features:
        """Compute what is missing. Progress counts images of one layer, again for each. Raises Cancelled, JobError."""
        self.told = []
        last = self._kept("last", queries, gallery, progress)
        middle = self._kept("middle", queries, gallery, progress) if "middle" in self.raw else None
        self._first = False
        return Features(last, middle)

    def _kept(self, which: str, queries: Sequence[Item], gallery: Sequence[Item], progress: Progress) -> Kept:
        told = self.raw[which]
        layer = str(told["layer"])
        one, other = told["gallery"], told["queries"]
        listed = {item.id for item in gallery}
        rest = [item for item in queries if item.id not in listed]
        if one["folder"] == other["folder"]:
            # The gallery first: its places are the rows.
            made = self._update(one, layer, [*gallery, *rest], 0, progress)
            return Kept(made, made, len(gallery))
        found = self._update(one, layer, list(gallery), 0, progress)
        return Kept(found, self._update(other, layer, list(queries), len(gallery), progress), len(gallery))

    def _update(
        self, told: Mapping[str, Any], layer: str, items: list[Item], before: int, progress: Progress
    ) -> Gallery:
        folder = Path(told["folder"])
        describer = Describer(self.job, self.machine, self.model, layer, items)
        total = len(items)
        if self._first:
            self._refuse_full_disk(folder, describer, total)

        def tell(done: int, missing: int) -> None:
            progress(before + total - missing + done, total)

        try:
            gallery = update(
                folder,
                dict(told["key"]),
                [(item.id, item.key or item.id) for item in items],
                describer,
                batch=int(self.job.option("batch_size", 32)),
                # Another run may need what other parts of the set have.
                whole=False,
                progress=tell,
                cancelled=self.cancelled,
                tell=lambda sentence: self.reporter.log(sentence, "warning"),
            )
        except GalleryCancelled as error:
            raise Cancelled from error
        except OSError as error:
            raise JobError(f"The features could not be written ({error.strerror or error}).") from error
        except JobError:
            raise
        except ValueError as error:
            raise JobError(f"The features of “{layer}” cannot be kept: {error}") from error
        row = {
            "key": folder.name,
            "layer": layer,
            "shape": list(gallery.shape),
            "images": len(gallery),
            "bytes": gallery.nbytes,
            "computed": describer.count,
        }
        self.told.append(row)
        self.reporter.send("gallery", **row)
        return gallery

    def _refuse_full_disk(self, folder: Path, describer: Describer, images: int) -> None:
        """The size is known for sure once a picture has gone through the layer."""
        channels, height, width = describer.shape
        needed = size_of(images, channels, height, width)
        there = sum(path.stat().st_size for path in folder.glob("*")) if folder.is_dir() else 0
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        size = f"{channels} × {height} × {width} numbers of {images} images, {needed / 1e6:.0f} MB"
        if needed - there > free:
            raise JobError(f"The features need {size} on the disk, and {free / 1e6:.0f} MB are free.")
        self.reporter.log(f"Features of “{describer.layer}”: {size} on the disk.")


class Describer:
    """Cells of pictures by their positions among the items; `count` were asked for."""

    def __init__(self, job: Job, machine: Machine, model: nn.Module, layer: str, items: Sequence[Item]) -> None:
        self.job, self.machine, self.model, self.layer = job, machine, model, layer
        self.frames = Frames(items, geometry_of(job), cache=False)
        self.count = 0
        self._pool = ThreadPoolExecutor(max(int(job.option("data_workers", 0)), 2))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, h, w) of one picture. Raises JobError where the layer has no cells."""
        _, channels, height, width = self._cells([0]).shape
        return channels, height, width

    def __call__(self, positions: Sequence[int]) -> Tensor:
        """(m, C, h, w) float32. Always in full precision: what is kept is read by runs of every precision."""
        self.count += len(positions)
        return self._cells(positions)

    def _cells(self, positions: Sequence[int]) -> Tensor:
        # Pillow decodes outside the interpreter's lock.
        read = dict(zip(positions, self._pool.map(self.frames.__getitem__, positions), strict=True))
        dataset = BatchDataset(_Read(self.frames, read), seed=self.job.seed, augmentation=NO_AUGMENTATION)
        batch = batch_of(self.job, self.machine, dataset[0, list(positions)])
        try:
            return describe(self.model, self.layer, batch.images)
        except ValueError as error:
            raise JobError(str(error)) from error


class _Read(Frames):
    """Frames that were read already."""

    def __init__(self, frames: Frames, read: Mapping[int, Any]) -> None:
        self.items, self.keys, self.geometry, self._there = frames.items, frames.keys, frames.geometry, read

    def __getitem__(self, index: int) -> Any:
        return self._there[index]
