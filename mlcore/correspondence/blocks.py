"""One file of a gallery: features of some pictures in half precision, with what says whether they are still whole.

    HARMONY GALLERY 1 <length> <checksum>\n   of the head that follows, length in decimal, checksum in hexadecimal
    {"key", "hashes", "shape", "pooled", "cells"}   JSON; hashes: of the pictures; pooled, cells: [place, checksum]
    pooled (m, C) float16, cells (m, C, h, w) float16, little-endian, each at a multiple of 4096 bytes

A file is written whole and never changed. Checksums are CRC-32.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcore.attribution.files import written_whole

SUFFIX = ".block"
HALF = np.dtype("<f2")
_MAGIC = b"HARMONY GALLERY 1"
_LINE = len(_MAGIC) + 1 + 10 + 1 + 8 + 1
_PAGE = 4096
_STEP = 1 << 24

Halves = NDArray[np.float16]


class GalleryCorrupt(ValueError):
    """A file of a gallery is damaged; `file` is its path, and the message names it."""

    def __init__(self, file: Path, why: str) -> None:
        super().__init__(f"The file {file.name} of the gallery {file.parent.name} is damaged: {why}.")
        self.file = file


@dataclass(slots=True, eq=False)
class Block:
    """A block that lies on the disk. hashes: of its m pictures, by which they are found. checksum: of its head.

    Values are mapped from the file, and looked through for damage when they are first touched.
    """

    path: Path
    key: str
    hashes: list[str]
    shape: tuple[int, int, int]
    checksum: int
    _parts: dict[str, tuple[Halves, int]]
    _checked: set[str] = field(default_factory=set)

    @property
    def pooled(self) -> Halves:
        """(m, C) float16. Raises GalleryCorrupt."""
        return self._part("pooled")

    @property
    def cells(self) -> Halves:
        """(m, C, h, w) float16. Raises GalleryCorrupt."""
        return self._part("cells")

    @property
    def nbytes(self) -> int:
        return self.path.stat().st_size

    def check(self) -> None:
        """Read everything once. Raises GalleryCorrupt."""
        for name in self._parts:
            self._part(name)

    def _part(self, name: str) -> Halves:
        values, checksum = self._parts[name]
        if name not in self._checked:
            if _checksum(values) != checksum:
                raise GalleryCorrupt(self.path, f"the checksum of its {name} features differs")
            self._checked.add(name)
        return values


def write_block(path: Path, key: str, hashes: Sequence[str], pooled: Halves, cells: Halves) -> Block:
    """Write m pictures' features, whole or not at all: pooled (m, C), cells (m, C, h, w). Raises OSError."""
    parts = {"pooled": np.ascontiguousarray(pooled, dtype=HALF), "cells": np.ascontiguousarray(cells, dtype=HALF)}
    told: dict[str, Any] = {"key": key, "hashes": list(hashes), "shape": list(cells.shape[1:])}
    # As wide as they can become, so that writing the places down moves none of them.
    place = _page(_LINE + len(_json(told)) + 100)
    for name, values in parts.items():
        told[name] = [place, _checksum(values)]
        place = _page(place + values.nbytes)
    head = _json(told)
    with written_whole(path) as temporary, temporary.open("wb") as file:
        file.write(b"%s %010d %08x\n" % (_MAGIC, len(head), zlib.crc32(head)))
        file.write(head)
        for name, values in parts.items():
            file.seek(told[name][0])
            file.write(values.data)
    return open_block(path)


def open_block(path: Path) -> Block:
    """A block as it lies there, its head checked and its values mapped. Raises GalleryCorrupt."""
    try:
        with path.open("rb") as file:
            line = file.readline(_LINE)
            magic, length, checksum = line[: len(_MAGIC)], line[len(_MAGIC) :][:11], line[-9:]
            if magic != _MAGIC or len(line) != _LINE:
                raise GalleryCorrupt(path, "it does not begin as a block does")
            head = file.read(int(length))
        if zlib.crc32(head) != int(checksum, 16):
            raise GalleryCorrupt(path, "the checksum of its head differs")
        told = json.loads(head)
        channels, height, width = told["shape"]
        count = len(told["hashes"])
        shapes = {"pooled": (count, channels), "cells": (count, channels, height, width)}
        parts: dict[str, tuple[Halves, int]] = {}
        for name, shape in shapes.items():
            place, checksum_there = told[name]
            if path.stat().st_size < place + HALF.itemsize * int(np.prod(shape)):
                raise GalleryCorrupt(path, "it is shorter than it says")
            parts[name] = (np.memmap(path, HALF, "r", place, shape), checksum_there)
        return Block(path, told["key"], told["hashes"], (channels, height, width), zlib.crc32(head), parts)
    except GalleryCorrupt:
        raise
    except FileNotFoundError:
        raise GalleryCorrupt(path, "it is gone") from None
    except (ValueError, KeyError, TypeError) as error:
        raise GalleryCorrupt(path, f"its head cannot be read ({error})") from error


def _json(told: dict[str, Any]) -> bytes:
    return json.dumps(told, separators=(",", ":")).encode()


def _page(place: int) -> int:
    return -(-place // _PAGE) * _PAGE


def _checksum(values: Halves) -> int:
    flat = values.reshape(-1).view(np.uint8)
    found = 0
    for start in range(0, len(flat), _STEP):
        found = zlib.crc32(flat[start : start + _STEP].data, found)
    return found
