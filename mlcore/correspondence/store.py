"""Features of an image set, computed once and completed when images come or go.

    def describe(positions): return features.describe(model, layer, pictures(positions))
    gallery = update(folder, key, [(image, sha256), …], describe)
    gallery.pooled()                 # (n, C) float32
    gallery.spatial([3, 7])          # (2, C, h, w) float32

One process writes at a time, others wait for it and find its work. What was computed before a process was stopped or
killed stays; a damaged file is named, and what it held is computed again.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlcore.catalogue.gallery_key import hash_of
from mlcore.catalogue.gallery_lock import GalleryBusy, held
from mlcore.correspondence.blocks import SUFFIX, Block, GalleryCorrupt, Halves, open_block, write_block
from mlcore.correspondence.features import pool
from mlcore.correspondence.gallery import MANIFEST, Gallery, GalleryMissing, read_manifest, write_manifest

__all__ = ["Gallery", "GalleryCancelled", "GalleryCorrupt", "GalleryMissing", "update"]

BLOCK_BYTES = 32 << 20
BLOCK_SECONDS = 10.0  # so much work is lost at most when a process is killed
WORN = 8  # blocks less than half full of what is still needed are joined when there are so many

Items = Sequence[tuple[str, str]]
Describe = Callable[[Sequence[int]], Tensor]
Tell = Callable[[str], None]

logger = logging.getLogger(__name__)


class GalleryCancelled(Exception):
    """The update stopped because it was asked to; what it has computed is there when it goes on."""


def update(
    folder: str | Path,
    key: dict[str, Any],
    items: Items,
    describe: Describe,
    *,
    batch: int = 32,
    whole: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
    tell: Tell = logger.warning,
) -> Gallery:
    """Make the folder the gallery of these items, in their order, computing only what is missing.

    key: all that the features depend on but the pictures, as JSON; a folder keeps the features of one key. items: an
    image's name and the SHA-256 of its picture; equal pictures share their features. describe: positions among the
    items → raw cells (m, C, h, w); asked for `batch` at a time. whole: the features of other images go; without it
    these items are a part of the set, and what is there of others stays, behind them. progress: told how many of the
    missing are done. cancelled: asked between batches, and while another process writes. tell: told in a sentence what
    was damaged.

    Raises GalleryCancelled; ValueError where the folder belongs to another key, where there is no item or one comes
    twice, where cells have another shape than those before or are beyond half precision; OSError.
    """
    folder, names = Path(folder), [name for name, _ in items]
    if not names:
        raise ValueError("A gallery needs at least one image.")
    if len(set(names)) != len(names):
        raise ValueError("Each image of a gallery needs a name of its own.")
    try:
        with held(folder, goes_on=lambda: not cancelled()):
            return _Update(folder, key, tell, whole).run(items, describe, batch, progress, cancelled)
    except GalleryBusy as busy:
        raise GalleryCancelled from busy


class _Update:
    """One update, by the process that holds the folder."""

    def __init__(self, folder: Path, key: dict[str, Any], tell: Tell, whole: bool) -> None:
        self.folder, self.key, self.tell, self.whole = folder, key, tell, whole
        self.key_hash = hash_of(key)
        self.blocks = self._whole_blocks()
        self._waiting: list[tuple[list[str], Halves, Halves]] = []
        self._bytes, self._since = 0, time.monotonic()
        self._number = 1 + max(
            (int(path.stem) for path in folder.glob(f"*{SUFFIX}") if path.stem.isdigit()), default=-1
        )

    def run(
        self,
        items: Items,
        describe: Describe,
        batch: int,
        progress: Callable[[int, int], None],
        cancelled: Callable[[], bool],
    ) -> Gallery:
        there = {name for block in self.blocks for name in block.hashes}
        first: dict[str, int] = {}
        for position, (_, sha256) in enumerate(items):
            if sha256 not in there:
                first.setdefault(sha256, position)
        missing = list(first.values())
        try:
            for start in range(0, len(missing), batch):
                if cancelled():
                    raise GalleryCancelled
                positions = missing[start : start + batch]
                self._keep([items[position] for position in positions], describe(positions))
                progress(start + len(positions), len(missing))
        finally:
            self._flush()
        return self._finish(items)

    def _whole_blocks(self) -> list[Block]:
        """Blocks that are there and undamaged; those that are not go, and what is lost is told."""
        for left in [*self.folder.glob(f".*{SUFFIX}.*"), *self.folder.glob(f".{MANIFEST}.*")]:
            left.unlink(missing_ok=True)  # half written by a process that was killed
        try:
            named = {name for name, _ in read_manifest(self.folder)["blocks"]}
        except GalleryMissing:
            named = set()
        except GalleryCorrupt as error:
            self.tell(f"{error} It is written anew.")
            named = set()
        whole: list[Block] = []
        paths = set(self.folder.glob(f"*{SUFFIX}")) | {self.folder / name for name in named}
        for path in sorted(paths):
            try:
                block = open_block(path)
                block.check()
            except GalleryCorrupt as error:
                self.tell(f"{error} Its features are computed again.")
                path.unlink(missing_ok=True)
                continue
            if block.key != self.key_hash:
                raise ValueError(
                    f"The folder {self.folder.name} holds features of another layer, weights or transform."
                )
            whole.append(block)
        return whole

    def _keep(self, items: Items, cells: Tensor) -> None:
        if cells.dim() != 4 or len(cells) != len(items):
            raise ValueError(f"{len(items)} pictures need cells ({len(items)}, C, h, w), not {tuple(cells.shape)}.")
        shape = tuple(cells.shape[1:])
        before = self._shape()
        if before is not None and shape != before:
            raise ValueError(f"The layer gives cells {shape} here and {before} for the other pictures of the gallery.")
        cells = cells.detach()
        pooled, halves = pool(cells).half().cpu(), cells.half().cpu()
        whole = torch.isfinite(halves.flatten(1)).all(dim=1)
        if not whole.all():
            name = items[int((~whole).nonzero()[0])][0]
            raise ValueError(f"The features of the image {name} are not finite numbers in half precision.")
        self._waiting.append(([sha256 for _, sha256 in items], pooled.numpy(), halves.numpy()))
        self._bytes += halves.numel() * halves.element_size()
        if self._bytes >= BLOCK_BYTES or time.monotonic() - self._since >= BLOCK_SECONDS:
            self._flush()

    def _shape(self) -> tuple[int, ...] | None:
        if self.blocks:
            return self.blocks[0].shape
        return self._waiting[0][2].shape[1:] if self._waiting else None

    def _flush(self) -> None:
        """Write what waits as a block."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            names, pooled, cells = zip(*waiting, strict=True)
            hashes = [name for part in names for name in part]
            self.blocks.append(self._write(hashes, np.concatenate(pooled), np.concatenate(cells)))
        self._bytes, self._since = 0, time.monotonic()

    def _write(self, hashes: list[str], pooled: Halves, cells: Halves) -> Block:
        path = self.folder / f"{self._number:06d}{SUFFIX}"
        self._number += 1
        return write_block(path, self.key_hash, hashes, pooled, cells)

    def _finish(self, items: Items) -> Gallery:
        """The new manifest; then what it does not name can go."""
        before = {block.path for block in self.blocks}
        if not self.whole:
            items = [*items, *self._others({name for name, _ in items})]
        hashes = {sha256 for _, sha256 in items}
        self.blocks = self._joined(hashes if self.whole else hashes.union(*(block.hashes for block in self.blocks)))
        places: dict[str, int] = {}
        start = 0
        for block in self.blocks:
            for row, sha256 in enumerate(block.hashes):
                places.setdefault(sha256, start + row)
            start += len(block.hashes)
        gallery = write_manifest(
            self.folder, self.key, [name for name, _ in items], self.blocks, [places[sha256] for _, sha256 in items]
        )
        for path in before - {block.path for block in self.blocks}:
            path.unlink(missing_ok=True)
        return gallery

    def _others(self, named: set[str]) -> list[tuple[str, str]]:
        """Images of the last manifest that are not `named` and whose features are still there."""
        there = {name for block in self.blocks for name in block.hashes}
        try:
            gallery = Gallery.open(self.folder)
        except (GalleryMissing, GalleryCorrupt):
            return []
        pairs = zip(gallery.ids, gallery.hashes(), strict=True)
        return [(name, sha256) for name, sha256 in pairs if name not in named and sha256 in there]

    def _joined(self, needed: set[str]) -> list[Block]:
        """Blocks with something that is needed; those with little of it become few, once there are many."""
        rows_of: dict[Path, list[int]] = {}
        for block in self.blocks:
            rows_of[block.path] = [row for row, sha256 in enumerate(block.hashes) if sha256 in needed]
            needed = needed.difference(block.hashes)  # a process killed while joining leaves features twice
        used = [block for block in self.blocks if rows_of[block.path]]
        full = max(BLOCK_BYTES // (2 * math.prod(used[0].shape)), 1)
        worn = [block for block in used if 2 * len(rows_of[block.path]) < full]
        if len(worn) < WORN:
            return used
        rows = [(block, row) for block in worn for row in rows_of[block.path]]
        joined = [block for block in used if block not in worn]
        for first in range(0, len(rows), full):
            some = rows[first : first + full]
            hashes = [block.hashes[row] for block, row in some]
            pooled = np.stack([block.pooled[row] for block, row in some])
            joined.append(self._write(hashes, pooled, np.stack([block.cells[row] for block, row in some])))
        return joined
