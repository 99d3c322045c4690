"""Small pictures, sound and hostile, for the import's tests."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def noise(width: int = 24, height: int = 16, seed: int = 0) -> Image.Image:
    """A picture that no other seed gives."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def save(path: Path, seed: int = 0, size: tuple[int, int] = (24, 16), **options) -> Path:
    """Writes a picture of noise; the suffix says the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise(*size, seed=seed).save(path, **options)
    return path


def save_mask(path: Path, box: tuple[int, int, int, int] = (2, 3, 10, 12), size: tuple[int, int] = (24, 16)) -> Path:
    """A mask that is white in `box`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((size[1], size[0]), dtype=np.uint8)
    values[box[1] : box[3], box[0] : box[2]] = 255
    Image.fromarray(values).save(path)
    return path


def png_of(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A few bytes whose header promises any number of pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
