"""A map over the picture that it was made of, where the classifier may have seen only a part of the picture.

Maps of questions stand alone: no image set, no set of maps. They are drawn as every other map (mlcore.exchange.layers).
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from django.core.files.storage import default_storage
from numpy.typing import NDArray
from PIL import Image as Pictures

from mlcore.exchange import layers
from mlcore.exchange.render import STYLES
from mlcore.exchange.shards import MapUnavailable

Box = tuple[int, int, int, int]
UNSEEN = (0, 0, 0, 255)


@dataclass(frozen=True)
class PlacedMap:
    """values (h, w) float32, finite; signed: negative ones say "against". picture: (width, height); window: (left, top,
    right, bottom) of what the classifier saw, in the picture's pixels."""

    values: NDArray[np.float32]
    signed: bool
    picture: tuple[int, int]
    window: Box

    def size(self, side: int | None) -> tuple[int, int]:
        """(W, H) with the picture's aspect and the longer side `side`; None: as it is."""
        width, height = self.picture
        factor = 1.0 if side is None else side / max(width, height)
        return max(1, round(width * factor)), max(1, round(height * factor))

    @property
    def reach(self) -> float:
        """The value that is drawn strongest."""
        found = np.abs(self.values) if self.signed else np.maximum(self.values, 0)
        return float(found.max())


def read_map(name: str) -> NDArray[np.float32]:
    """A map that lies alone in the storage, an .npy (h, w). Raises MapUnavailable."""
    try:
        with default_storage.open(name, "rb") as stream:
            values = np.load(stream, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MapUnavailable("The map is not kept any more. Ask again.") from error
    if values.ndim != 2:
        raise MapUnavailable("The map's file is damaged.")
    return values.astype(np.float32, copy=False)


def layer(one: PlacedMap, style: str, colours: str, side: int | None) -> Pictures.Image:
    """The map alone as `layers.layer` draws it, (W, H) of the whole picture. Where the classifier saw nothing it is
    see-through, in a spotlight dark."""
    size = one.size(side)
    left, top, right, bottom = _scaled(one.window, one.picture, size)
    inside = (right - left, bottom - top)
    drawn = layers.drawn(layers.enlarged(one.values, inside, one.signed), one.signed, style, colours)
    if inside == size:
        return drawn
    whole = Pictures.new("RGBA", size, UNSEEN if style == "spotlight" else (0, 0, 0, 0))
    whole.paste(drawn.convert("RGBA"), (left, top))
    return whole


def over(
    one: PlacedMap, picture: Pictures.Image, *, style: str = "overlay", colours: str = "cividis",
    opacity: float | None = None,
) -> Pictures.Image:  # fmt: skip
    """The picture (RGB, upright) under its map, at the picture's own size; as strong as suits the style by default."""
    strength = STYLES.get(style, 1.0) if opacity is None else float(np.clip(opacity, 0, 1))
    above = layer(one, style, colours, None).convert("RGBA").resize(picture.size)
    above.putalpha(above.getchannel("A").point(lambda value: round(value * strength)))
    under = picture.convert("RGB")
    under.paste(above, mask=above)
    return under


def npy(values: NDArray[np.float32]) -> bytes:
    """The numbers as an .npy file."""
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()


def _scaled(window: Box, picture: tuple[int, int], size: tuple[int, int]) -> Box:
    """The window in a picture of another size; at least a pixel."""
    across, down = size[0] / picture[0], size[1] / picture[1]
    left, top = round(window[0] * across), round(window[1] * down)
    right, bottom = round(window[2] * across), round(window[3] * down)
    return left, top, max(right, left + 1), max(bottom, top + 1)
