"""Features of an image set as they lie on the disk, read as a memory map.

The folder holds blocks (`mlcore.correspondence.blocks`), which are never changed, and manifest.json, which says where
each image's features lie and is replaced in one step: readers need not wait for whoever writes
(`mlcore.correspondence.store`).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlcore.attribution.files import written_whole
from mlcore.correspondence.blocks import Block, GalleryCorrupt, Halves, open_block

MANIFEST = "manifest.json"
VERSION = 1
Rows = Sequence[int] | Tensor | NDArray[np.int64]


class GalleryMissing(LookupError):
    """There is no gallery in the folder, or none was ever completed."""


class Gallery:
    """Features of n images, in the order in which `update` was given them.

    ids: the images' names. row_of: a name's row. shape: (C, h, w). key: what the features depend on.
    """

    def __init__(self, folder: Path, told: dict[str, Any], blocks: list[Block]) -> None:
        self.folder = folder
        self.key: dict[str, Any] = told["key"]
        self.ids: list[str] = told["ids"]
        self.row_of = {name: row for row, name in enumerate(self.ids)}
        self.shape: tuple[int, int, int] = tuple(told["shape"])
        self._blocks = blocks
        starts = np.cumsum([0, *(len(block.hashes) for block in blocks)])
        places = np.asarray(told["places"], dtype=np.int64)
        self._block = np.searchsorted(starts, places, side="right") - 1
        self._offset = places - starts[self._block]

    @classmethod
    def open(cls, folder: str | Path) -> Gallery:
        """Raises GalleryMissing, and GalleryCorrupt, which names the damaged file."""
        folder = Path(folder)
        told = read_manifest(folder)
        blocks = []
        for name, checksum in told["blocks"]:
            block = open_block(folder / name)
            if block.checksum != checksum:
                raise GalleryCorrupt(block.path, "it is not the one that manifest.json names")
            blocks.append(block)
        return cls(folder, told, blocks)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Bytes on the disk."""
        return (self.folder / MANIFEST).stat().st_size + sum(block.nbytes for block in self._blocks)

    @property
    def pooled_rows(self) -> PooledRows:
        """All pooled features, read from the disk where they are asked for: what a search goes through."""
        return PooledRows(self)

    def hashes(self) -> list[str]:
        """The SHA-256 of each row's picture."""
        pairs = zip(self._block, self._offset, strict=True)
        return [self._blocks[block].hashes[offset] for block, offset in pairs]

    def pooled(self, rows: Rows | None = None) -> Tensor:
        """(m, C) float32; all rows where none are named. Raises GalleryCorrupt."""
        return torch.from_numpy(self.halves("pooled", rows)).float()

    def spatial(self, rows: Rows) -> Tensor:
        """Raw cells (m, C, h, w) float32. Raises GalleryCorrupt."""
        return torch.from_numpy(self.halves("cells", rows)).float()

    def halves(self, part: str, rows: Rows | None = None) -> Halves:
        """Rows of "pooled" or "cells" as they are kept, float16. Raises GalleryCorrupt, IndexError."""
        wanted = np.arange(len(self)) if rows is None else np.asarray(rows, dtype=np.int64).reshape(-1)
        if wanted.size and not -len(self) <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"The gallery has rows 0 to {len(self) - 1}.")
        chosen, offsets = self._block[wanted], self._offset[wanted]
        shape = self.shape[:1] if part == "pooled" else self.shape
        found = np.empty((len(wanted), *shape), dtype=np.float16)
        # Rows that stand together on the disk are copied together; a search asks for thousands in order.
        ends = np.flatnonzero((np.diff(chosen) != 0) | (np.diff(offsets) != 1)) + 1
        if len(ends) < len(wanted) // 8:
            for start, end in pairwise([0, *ends.tolist(), len(wanted)]):
                first = offsets[start]
                found[start:end] = getattr(self._blocks[chosen[start]], part)[first : first + end - start]
            return found
        for number in np.unique(chosen):
            here = chosen == number
            values = getattr(self._blocks[number], part)
            found[here] = values[offsets[here]]
        return found


class PooledRows:
    """Pooled features of a gallery, (n, C); a slice of it is read from the disk as float16."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self.shape = (len(gallery), gallery.shape[0])

    def __len__(self) -> int:
        return self.shape[0]

    @overload
    def __getitem__(self, rows: slice) -> Tensor: ...
    @overload
    def __getitem__(self, rows: Tensor) -> Tensor: ...

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """(m, C) float16 of a slice, or of rows (m,)."""
        wanted = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows.cpu().numpy()
        return torch.from_numpy(self._gallery.halves("pooled", wanted))


def read_manifest(folder: Path) -> dict[str, Any]:
    """What manifest.json says. Raises GalleryMissing and GalleryCorrupt."""
    path = folder / MANIFEST
    try:
        read = json.loads(path.read_bytes())
        told, checksum = read["gallery"], read["crc32"]
        if told["version"] != VERSION:
            raise GalleryCorrupt(path, f"it is of version {told['version']}, not {VERSION}")
    except FileNotFoundError:
        raise GalleryMissing(f"There is no finished gallery in {folder.name}.") from None
    except GalleryCorrupt:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise GalleryCorrupt(path, f"it cannot be read ({error})") from error
    if zlib.crc32(_text(told)) != checksum:
        raise GalleryCorrupt(path, "its checksum differs")
    return told


def write_manifest(
    folder: Path, key: dict[str, Any], ids: Sequence[str], blocks: Sequence[Block], places: Sequence[int]
) -> Gallery:
    """Make `blocks` the gallery: image i has the features at `places[i]`, counted through all. Raises OSError."""
    told = {
        "version": VERSION,
        "key": key,
        "shape": list(blocks[0].shape),
        "ids": list(ids),
        "places": list(places),
        "blocks": [[block.path.name, block.checksum] for block in blocks],
    }
    text = _text(told)
    with written_whole(folder / MANIFEST) as temporary:
        temporary.write_bytes(b'{"crc32":%d,"gallery":%s}' % (zlib.crc32(text), text))
    return Gallery(folder, told, list(blocks))


def _text(told: dict[str, Any]) -> bytes:
    return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
