"""Is this file a picture, and one that a browser and a classifier see alike?

A picture is kept byte for byte unless it is broken in a way that can be mended or odd: CMYK, 16 bits a channel,
turned by its EXIF entry, animated, see-through, or TIFF. Those are decoded and written as PNG, and a note says so.
Everything else that cannot be decoded whole is refused with a sentence.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from django.conf import settings
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp"}
MAX_BYTES = 256 * 1024 * 1024
PLAIN_MODES = ("1", "L", "P", "RGB")
READABLE = "JPEG, PNG, WebP, GIF, BMP or TIFF"


class BadImage(Exception):
    """A file that cannot be imported; the text is the sentence for the person."""


@dataclass(frozen=True)
class Verified:
    """A picture's bytes as they are to be stored, `suffix` without dot; `note` is empty where nothing changed."""

    data: bytes
    sha256: str
    width: int
    height: int
    suffix: str
    note: str = ""


def verify(path: Path) -> Verified:
    """Decodes the whole file. Raises BadImage with a sentence."""
    data = _read(path)
    picture = open_picture(data)
    kind = picture.format or ""
    odd = _oddities(picture, data)
    width, height = picture.size
    if not odd:
        return Verified(data, hashlib.sha256(data).hexdigest(), width, height, SUFFIXES[kind])
    plain = _plain(picture)
    encoded = png_bytes(plain)
    return Verified(
        data=encoded,
        sha256=hashlib.sha256(encoded).hexdigest(),
        width=plain.width,
        height=plain.height,
        suffix="png",
        note=f"Written anew as PNG: {', '.join(odd)}.",
    )


def open_picture(data: bytes) -> Image.Image:
    """The first frame, decoded whole, with limits checked before any pixel is. Raises BadImage."""
    if not data:
        raise BadImage("The file is empty.")
    if b"<svg" in data[:2048].lower():
        raise BadImage("SVG drawings are not taken, because they can carry scripts. Export it as PNG.")
    with warnings.catch_warnings():
        # Pillow's own warning comes far above our limit on most installations; ours is the sentence below.
        warnings.simplefilter("ignore")
        try:
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
            limit = settings.IMAGE_MAX_PIXELS
            if picture.width * picture.height > limit:
                size = f"{picture.width}×{picture.height}"
                raise BadImage(f"The picture has {size} pixels; at most {limit / 1e6:g} million are taken.")
            picture.load()
        except BadImage:
            raise
        except UnidentifiedImageError as error:
            raise BadImage(f"The file is not a picture that can be read ({READABLE}).") from error
        except Image.DecompressionBombError as error:
            raise BadImage("The picture says that it has more pixels than any picture should.") from error
        except Exception as error:  # hostile bytes make the decoders raise nearly anything
            detail = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
            raise BadImage(f"The picture is damaged or cut off ({detail}).") from error
    return picture


def png_bytes(picture: Image.Image) -> bytes:
    """The pixels alone as PNG, always with the same settings: no times, names or profiles come along."""
    stream = io.BytesIO()
    bare = Image.frombytes(picture.mode, picture.size, picture.tobytes())
    if picture.mode == "P" and (palette := picture.getpalette("RGB")) is not None:
        bare.putpalette(palette)
    bare.save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def to_8_bits(picture: Image.Image) -> Image.Image:
    """A 16-bit grey picture with 0…65535 spread over 0…255. Raises BadImage where values lie outside."""
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65_535:
        raise BadImage("The picture has 32-bit values, which have no range of their own. Save it with 8 or 16 bits.")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise BadImage(f"The file has {size / 1e6:.0f} MB; at most {MAX_BYTES / 1e6:.0f} MB are taken.")
        return path.read_bytes()
    except OSError as error:
        raise BadImage(f"The file cannot be read ({error.strerror or error}).") from error


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a broken EXIF block turns nothing
        return 1


def _see_through(picture: Image.Image) -> bool:
    if picture.mode not in ("RGBA", "LA", "PA", "La", "RGBa") and "transparency" not in picture.info:
        return False
    return picture.convert("RGBA").getchannel("A").getextrema()[0] != 255


def _frames(data: bytes, kind: str) -> bool:
    """Whether there is a second frame; counting them all would let a hostile file keep us busy."""
    if kind not in ("GIF", "PNG", "WEBP", "TIFF"):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as again:
                again.seek(1)
        except Exception:  # no second frame, or none that can be read
            return False
    return True


def _oddities(picture: Image.Image, data: bytes) -> list[str]:
    odd = []
    if _frames(data, picture.format or ""):
        odd.append("only the first of its frames is kept")
    if picture.mode.startswith("I"):
        odd.append("16-bit values were brought to 8 bits")
    elif picture.mode == "F":
        raise BadImage("The picture has 32-bit values, which have no range of their own. Save it with 8 or 16 bits.")
    elif picture.mode not in (*PLAIN_MODES, "RGBA", "LA", "PA", "La", "RGBa", "RGBX"):
        odd.append(f"{picture.mode} colours became RGB")
    if _see_through(picture):
        odd.append("see-through places became white")
    orientation = _orientation(picture)
    if orientation in range(2, 9):
        odd.append("turned as its EXIF entry says")
    if picture.format == "TIFF":
        odd.append("browsers do not show TIFF")
    return odd


def _plain(picture: Image.Image) -> Image.Image:
    """Upright, opaque, 8 bits: L or RGB."""
    if picture.mode.startswith("I"):
        upright = to_8_bits(picture)
        if (orientation := _orientation(picture)) != 1:
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = orientation
            upright.info["exif"] = exif.tobytes()
        return ImageOps.exif_transpose(upright)
    upright = ImageOps.exif_transpose(picture) if _orientation(picture) in range(2, 9) else picture
    if _see_through(picture):
        layered = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
    return upright if upright.mode == "L" else upright.convert("RGB")
