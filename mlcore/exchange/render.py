"""Maps and pictures for eyes, without torch: rendered when asked for, from the arrays that runs left.

A map is clamped at 0, brought to the picture's size bilinearly and divided by its own maximum, so that a blind
map says where and not how much. A common scale is for comparison with open eyes only.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import ImageFilter

from mlcore.exchange.colormaps import COLORMAPS
from mlcore.exchange.shards import MapUnavailable, load_map
from mlcore.models import Explanation, Image

__all__ = ["STYLES", "MapUnavailable", "bilinear", "load_map", "map_png", "overlay", "scaled_map", "thumbnail"]

# Style → how strong it is where nobody says: colours let the picture through, the dark is quite dark.
STYLES = {"overlay": 0.6, "spotlight": 1.0, "contour": 1.0}
# A quarter, a half and three quarters of the maximum; a line takes the colour a quarter above its level.
LEVELS = (64, 128, 191)
NO_PICTURE = (118, 118, 118)
FloatMap = NDArray[np.float32]
Mask = NDArray[np.bool_] | Pictures.Image


def bilinear(values: NDArray, size: tuple[int, int]) -> FloatMap:
    """(h, w) to (H, W) for size = (W, H): each cell's value stands at its centre and the border goes on flat.

    The same numbers as torch's `interpolate(mode="bilinear", align_corners=False)`.
    """
    values = np.asarray(values, dtype=np.float32)
    top, bottom, down = _weights(values.shape[0], size[1])
    rows = values[top] * (1 - down[:, None]) + values[bottom] * down[:, None]
    left, right, across = _weights(values.shape[1], size[0])
    return (rows[:, left] * (1 - across) + rows[:, right] * across).astype(np.float32, copy=False)


def _weights(before: int, after: int) -> tuple[NDArray[np.intp], NDArray[np.intp], FloatMap]:
    """For each of `after` places: the two cells around it, and how far it lies towards the second."""
    place = np.maximum((np.arange(after) + 0.5) * (before / after) - 0.5, 0.0)
    first = np.minimum(place.astype(np.intp), before - 1)
    second = np.minimum(first + 1, before - 1)
    return first, second, (place - first).astype(np.float32)


def scaled_map(explanation: Explanation, size: tuple[int, int], scale: str | float = "own") -> FloatMap:
    """The map at (H, W) for size = (W, H), in [0, 1].

    scale: "own" divides by its own maximum; a number is the value that becomes 1. A map without a positive
    value, or with values that are not finite, is 0 there. Raises MapUnavailable, ValueError for a bad scale.
    """
    raw = np.nan_to_num(load_map(explanation), nan=0.0, posinf=0.0, neginf=0.0)
    values = bilinear(np.maximum(raw, 0), size)
    if scale == "own":
        divisor = float(values.max())
        return values / np.float32(divisor) if divisor > 0 else values
    if not isinstance(scale, int | float) or not np.isfinite(scale) or scale <= 0:
        raise ValueError(f"A map's scale is “own” or a positive number, not {scale!r}.")
    return np.minimum(values / np.float32(scale), 1)


def map_png(explanation: Explanation, size: tuple[int, int], scale: str | float = "own") -> bytes:
    """The scaled map as 8-bit grey PNG of size = (W, H), every one with the same encoder settings."""
    stream = io.BytesIO()
    Pictures.fromarray(_bytes(scaled_map(explanation, size, scale))).save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def _bytes(values: FloatMap) -> NDArray[np.uint8]:
    return np.rint(values * 255).astype(np.uint8)


def overlay(
    explanation: Explanation,
    *,
    style: str = "overlay",
    colormap: str = "cividis",
    opacity: float | None = None,
    mask: Mask | None = None,
    scale: str | float = "own",
    side: int | None = None,
) -> Pictures.Image:
    """The picture under its map, RGB.

    style: "overlay" mixes the map's colours in, "spotlight" darkens what the map leaves out, "contour" draws
        lines at a quarter, a half and three quarters of the maximum.
    opacity: 0…1; by default as strong as suits the style.
    mask: drawn as outline on top; (H, W) bool or a picture, brought to the result's size.
    side: the longer side in pixels; by default the picture's own.

    Raises ValueError for an unknown style or colour map, MapUnavailable.
    """
    if style not in STYLES:
        raise ValueError(f"“{style}” is not a style. Known: {', '.join(STYLES)}.")
    if colormap not in COLORMAPS:
        raise ValueError(f"“{colormap}” is not a colour map. Known: {', '.join(COLORMAPS)}.")
    strength = STYLES[style] if opacity is None else float(np.clip(opacity, 0, 1))
    picture = _picture(explanation.image, side)
    values = scaled_map(explanation, picture.size, scale)
    under = np.asarray(picture, dtype=np.float32)
    if style == "overlay":
        colours = COLORMAPS[colormap][_bytes(values)]
        drawn = Pictures.fromarray(np.rint(under * (1 - strength) + colours * strength).astype(np.uint8))
    elif style == "spotlight":
        light = 1 - strength + strength * values[..., None]
        drawn = Pictures.fromarray(np.rint(under * light).astype(np.uint8))
    else:
        drawn = picture
        for level in LEVELS:
            red, green, blue = COLORMAPS[colormap][min(255, level + 64)].tolist()
            drawn = draw_border(drawn, _bytes(values) > level, (red, green, blue), strength)
    if mask is not None:
        drawn = outline(drawn, mask)
    return drawn


def outline(picture: Pictures.Image, mask: Mask, colour: tuple[int, int, int] = (255, 255, 255)) -> Pictures.Image:
    """The picture with the mask's border as a line with a dark rim, seen on light and on dark ground."""
    grey = mask.convert("L") if isinstance(mask, Pictures.Image) else Pictures.fromarray(mask.astype(np.uint8) * 255)
    inside = np.asarray(grey.resize(picture.size, Pictures.Resampling.NEAREST)) > 127
    return draw_border(picture.convert("RGB"), inside, colour, 1.0)


def draw_border(
    picture: Pictures.Image,
    inside: NDArray[np.bool_],
    colour: tuple[int, int, int],
    strength: float = 1.0,
    least: int = 0,
) -> Pictures.Image:
    """The border of `inside` (H, W) as a line with a dark rim on a copy of the picture (RGB or RGBA).

    The line is 1 + 2 · half pixels wide, half as fits the picture's size but not below `least`.
    """
    border = np.zeros_like(inside)
    down, across = inside[1:] != inside[:-1], inside[:, 1:] != inside[:, :-1]
    # The inner one of two neighbours that differ: the line lies on the object, never off the picture.
    border[1:] |= down & inside[1:]
    border[:-1] |= down & inside[:-1]
    border[:, 1:] |= across & inside[:, 1:]
    border[:, :-1] |= across & inside[:, :-1]
    thin = Pictures.fromarray(border.astype(np.uint8) * 255)
    half = max(least, max(picture.size) // 520)  # a line that stays as visible on a large picture
    line = thin.filter(ImageFilter.MaxFilter(2 * half + 1)) if half else thin
    rim = line.filter(ImageFilter.MaxFilter(2 * (half + 1) + 1))
    drawn = picture.copy()
    drawn.paste((0, 0, 0), mask=rim.point(lambda value: int(value * 0.7 * strength)))
    drawn.paste(colour, mask=line.point(lambda value: int(value * strength)))
    return drawn


def thumbnail(image: Image, side: int) -> Pictures.Image:
    """The picture with its longer side at most `side` pixels, RGB."""
    return _picture(image, side, enlarge=False)


def enlarged(image: Image, side: int) -> Pictures.Image:
    """The picture with its longer side exactly `side` pixels, RGB."""
    return _picture(image, side)


def whole(image: Image) -> Pictures.Image:
    """The picture at its own size, RGB."""
    return _picture(image, None)


def _picture(image: Image, side: int | None, enlarge: bool = True) -> Pictures.Image:
    if not image.file:  # imported answers may come without their pictures
        factor = 1.0 if side is None else side / max(image.width, image.height)
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        return Pictures.new("RGB", size, NO_PICTURE)
    with image.file.open("rb") as stream, Pictures.open(stream) as opened:
        if side is None or (not enlarge and max(opened.size) <= side):
            return opened.convert("RGB")
        factor = side / max(opened.size)
        size = (max(1, round(opened.width * factor)), max(1, round(opened.height * factor)))
        opened.draft("RGB", size)  # a JPEG is decoded at a half, a quarter or an eighth where that suffices
        return opened.convert("RGB").resize(size, Pictures.Resampling.LANCZOS)
