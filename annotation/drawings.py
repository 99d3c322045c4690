"""A drawn map: what the browser sends, checked and re-encoded; a palette PNG of exactly the image's size.

Three values: 0 unknown, 1 important, 2 unimportant. The palette paints important white and the rest black, so that
the file also reads as a plain mask.
"""

import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from django.conf import settings
from django.utils.translation import gettext as _
from PIL import Image, UnidentifiedImageError

UNKNOWN, IMPORTANT, UNIMPORTANT = 0, 1, 2
_PALETTE = [0, 0, 0, 255, 255, 255, 0, 0, 0, 0, 0, 0]
# Everything that Pillow raises on pictures that are cut off, forged or of another kind.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, IndexError, OverflowError, MemoryError,
    UnidentifiedImageError, struct.error, zlib.error,
)  # fmt: skip


class DrawingRefused(ValueError):
    """The file is not a drawing of this picture; the message is a sentence for the page."""


@dataclass(frozen=True)
class Drawing:
    """`values`: (H, W) uint8 of 0 unknown, 1 important, 2 unimportant."""

    values: np.ndarray

    @property
    def height(self) -> int:
        return int(self.values.shape[0])

    @property
    def width(self) -> int:
        return int(self.values.shape[1])

    @cached_property
    def share(self) -> float:
        """Share of pixels painted important."""
        return float((self.values == IMPORTANT).mean())

    @property
    def is_empty(self) -> bool:
        return not bool((self.values == IMPORTANT).any())

    @cached_property
    def png(self) -> bytes:
        """The same values always give the same bytes."""
        return palette_png(self.values)

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.png).hexdigest()


def palette_png(values: np.ndarray) -> bytes:
    """(H, W) values 0, 1, 2 as a palette PNG of two bits a pixel."""
    height, width = values.shape
    picture = Image.frombytes("P", (width, height), np.ascontiguousarray(values, dtype=np.uint8).tobytes())
    picture.putpalette(_PALETTE)
    stream = io.BytesIO()
    picture.save(stream, format="PNG", bits=2)
    return stream.getvalue()


def read_palette(data: bytes) -> np.ndarray:
    """The values of one of our own palette PNGs, (H, W) uint8."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
        if picture.mode != "P":
            raise DrawingRefused("The stored drawing is not a palette picture.")
        return np.asarray(picture, dtype=np.uint8)


def decode(data: bytes, size: tuple[int, int], *, rest: int = UNIMPORTANT) -> Drawing:
    """The drawing in a PNG that came from outside: any pixel that is neither black nor transparent is important.

    `size` is the image's (width, height), compared before any pixel is decoded. `rest` is what everything that was
    not painted becomes. Raises DrawingRefused with a sentence.
    """
    most = settings.MAX_DRAWING_BYTES
    if len(data) > most:
        raise DrawingRefused(_("The drawing is larger than %d MB.") % (most // (1024 * 1024)))
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if picture.size != tuple(size):
                raise DrawingRefused(
                    _("The drawing is %(drawn)s pixels; the picture is %(shown)s. Reload the page and draw again.")
                    % {"drawn": f"{picture.width} × {picture.height}", "shown": f"{size[0]} × {size[1]}"}
                )
            painted = _painted(picture)
    except DrawingRefused:
        raise
    except Image.DecompressionBombError as error:
        raise DrawingRefused(_("The drawing is far larger than the picture.")) from error
    except _BROKEN as error:
        raise DrawingRefused(_("The drawing did not arrive whole. Send it again.")) from error
    return Drawing(np.where(painted, IMPORTANT, rest).astype(np.uint8))


def _painted(picture: Image.Image) -> np.ndarray:
    if picture.mode in ("1", "L") and "transparency" not in picture.info:
        return np.asarray(picture.convert("L")) > 0
    if picture.mode.startswith("I"):  # 16 and 32 bits: converting to 8 would clip, not scale
        return np.asarray(picture) > 0
    pixels = np.asarray(picture.convert("RGBA"))
    return (pixels[..., :3].max(axis=-1) > 0) & (pixels[..., 3] > 0)
