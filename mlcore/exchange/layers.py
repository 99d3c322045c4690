"""A map as a picture of its own, to be laid over its image by the browser, and as files to work on.

Three things of one explanation: a layer (only the map, as transparent as its style asks, so that its strength can be
changed without drawing it anew), a PNG of the image's own size, and the raw numbers. A map with a sign is always
drawn in red and blue; every other map is clamped at 0 (mlcore.exchange.render).
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import PngImagePlugin

from mlcore.catalogue import METHODS
from mlcore.exchange import render
from mlcore.exchange.colormaps import COLORMAPS, DIVERGING, SIGNED
from mlcore.exchange.render import LEVELS, FloatMap, bilinear, draw_border
from mlcore.exchange.shards import load_map
from mlcore.models import Explanation

COLOURS = (*COLORMAPS, SIGNED)
STYLES = ("overlay", "spotlight", "contour", "map")
DEEPEST = 65_535


def is_signed(explanation: Explanation) -> bool:
    """Whether blue means something in its set: the method's maps say "against", unless its options clamp them."""
    made = explanation.set
    return has_sign(made.method, {"preset": made.preset} | (made.options or {}))


def has_sign(method: str, options: Mapping[str, Any]) -> bool:
    """Whether maps of this method with these options say "against", too."""
    spec = METHODS.get(method)
    clamped = options.get("preset") == "harmony" or options.get("channels") == "abs_sum"
    return spec is not None and spec.signed and not clamped


def finite_map(explanation: Explanation) -> FloatMap:
    """The raw map (h, w), 0 where it is not finite. Raises MapUnavailable."""
    return np.nan_to_num(load_map(explanation), nan=0.0, posinf=0.0, neginf=0.0)


def extent(explanation: Explanation, values: NDArray) -> float:
    """The value that a common scale has to reach: the largest one, of a map with a sign the largest absolute one."""
    return float(np.abs(values).max()) if is_signed(explanation) else max(float(values.max()), 0.0)


def strengths(explanation: Explanation, size: tuple[int, int], scale: float | None = None) -> tuple[FloatMap, bool]:
    """The map at (H, W) for size = (W, H), and whether it has a sign: in [−1, 1] if so, in [0, 1] if not.

    scale: the value that becomes 1; by default the largest of the enlarged map's own. Raises MapUnavailable, and
    ValueError for a scale that is not a positive number.
    """
    if scale is not None and not (math.isfinite(scale) and scale > 0):
        raise ValueError("A scale is a positive number.")
    signed = is_signed(explanation)
    return enlarged(finite_map(explanation), size, signed, scale), signed


def enlarged(raw: NDArray, size: tuple[int, int], signed: bool, scale: float | None = None) -> FloatMap:
    """A map (h, w) without values that are not finite, as `strengths` gives that of an explanation."""
    values = bilinear(raw if signed else np.maximum(raw, 0), size)
    reach = float(np.abs(values).max()) if scale is None else scale
    return np.clip(values / np.float32(reach), -1, 1) if reach > 0 else values


def longer_side(explanation: Explanation, side: int) -> tuple[int, int]:
    """(W, H) with the image's aspect and the longer side `side`."""
    width, height = explanation.image.width, explanation.image.height
    factor = side / max(width, height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def layer(
    explanation: Explanation, style: str, colours: str, size: tuple[int, int], scale: float | None = None
) -> Pictures.Image:
    """The map alone, (W, H): opaque colours for "overlay" and "map", darkness with holes for "spotlight", lines on
    nothing for "contour". Raises ValueError for unknown names, MapUnavailable."""
    if style not in STYLES:
        raise ValueError(f"“{style}” is not a style. Known: {', '.join(STYLES)}.")
    if colours not in COLOURS:
        raise ValueError(f"“{colours}” is not a colour map. Known: {', '.join(COLOURS)}.")
    return drawn(*strengths(explanation, size, scale), style, colours)


def drawn(values: FloatMap, signed: bool, style: str, colours: str) -> Pictures.Image:
    """The picture of `layer`, of strengths (H, W)."""
    if style == "spotlight":
        return _indexed(np.rint(np.abs(values) * 255), np.zeros((256, 3), np.uint8), bytes(range(255, -1, -1)))
    diverging = signed or colours == SIGNED
    table = DIVERGING if diverging else COLORMAPS[colours]
    if style == "contour":
        return _lines(values, table, diverging)
    return _indexed(_places(values, diverging), table)


def over_its_image(explanation: Explanation, style: str, side: int) -> Pictures.Image:
    """The image under its map as one picture, RGB: as `render.overlay`, with red and blue where the map has a sign."""
    if not is_signed(explanation):
        return render.overlay(explanation, style=style, side=side)
    under = render.enlarged(explanation.image, side)
    above = layer(explanation, style, SIGNED, under.size).convert("RGBA")
    strength = render.STYLES[style]
    above.putalpha(above.getchannel("A").point(lambda value: round(value * strength)))
    under.paste(above, mask=above)
    return under


def rendered_png(explanation: Explanation, colours: str) -> bytes:
    """The map in colours at the image's own size, by its own maximum."""
    size = (explanation.image.width, explanation.image.height)
    return as_png(layer(explanation, "map", colours, size))


def grey_png(explanation: Explanation) -> bytes:
    """The raw map (h, w) as 16-bit grey: 0 is its minimum, 65535 its maximum; both stand in the file's texts, so
    that value = minimum + grey / 65535 · (maximum − minimum). Not finite values are 0 before."""
    values = finite_map(explanation).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    grey = np.rint((values - low) / (high - low) * DEEPEST) if high > low else np.zeros_like(values)
    texts = PngImagePlugin.PngInfo()
    texts.add_text("minimum", repr(low))
    texts.add_text("maximum", repr(high))
    texts.add_text("method", explanation.set.method)
    stream = io.BytesIO()
    Pictures.fromarray(grey.astype(np.uint16)).save(stream, "PNG", pnginfo=texts)
    return stream.getvalue()


def raw_npy(explanation: Explanation) -> bytes:
    """The map exactly as it is stored: (h, w) float32."""
    stream = io.BytesIO()
    np.save(stream, load_map(explanation).astype(np.float32, copy=False), allow_pickle=False)
    return stream.getvalue()


def as_png(picture: Pictures.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def _places(values: FloatMap, diverging: bool) -> NDArray:
    return 128 + np.rint(127 * values) if diverging else np.rint(255 * values)


def _indexed(places: NDArray, table: NDArray[np.uint8], alpha: bytes | None = None) -> Pictures.Image:
    """A picture of 256 colours, a quarter of the bytes of one in full colour."""
    made = Pictures.fromarray(places.astype(np.uint8))
    made.putpalette(table.tobytes())
    if alpha is not None:
        made.info["transparency"] = alpha
    return made


def _lines(values: FloatMap, table: NDArray[np.uint8], diverging: bool) -> Pictures.Image:
    lines = Pictures.new("RGBA", (values.shape[1], values.shape[0]), (0, 0, 0, 0))
    for sign in (1, -1) if diverging else (1,):
        reached = np.rint(np.maximum(sign * values, 0) * 255)
        for level in LEVELS:
            place = 128 + sign * min(127, (level + 64) // 2) if diverging else min(255, level + 64)
            red, green, blue = table[place].tolist()
            # Drawn small on a page: one pixel would be no line any more.
            lines = draw_border(lines, reached > level, (red, green, blue), least=1)
    return lines
