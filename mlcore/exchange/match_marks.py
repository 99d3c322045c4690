"""Matched patches as marks over a picture: a rectangle, and a badge with the patch's number at its corner.

Patch i has one colour and one number on both pictures; the colours are Okabe and Ito's (https://jfly.uni-koeln.de/color),
then black and white. `static/css/parts.css` has the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlcore.models import Image

# (the patch's colour, that of the number on it)
COLOURS = (
    ("#e69f00", "#000000"), ("#56b4e9", "#000000"), ("#009e73", "#000000"), ("#f0e442", "#000000"),
    ("#0072b2", "#ffffff"), ("#d55e00", "#000000"), ("#cc79a7", "#000000"), ("#000000", "#ffffff"),
    ("#ffffff", "#000000"),
)  # fmt: skip
# The longer side of the drawings over the query and over a neighbour, in their own units: marks keep their size.
PICTURE_UNITS, NEIGHBOUR_UNITS = 640, 180
PICTURE_BADGE, NEIGHBOUR_BADGE = 13, 8
_NUMBER = re.compile(r"^\d+\.(?=\D)")


def readable(name: str) -> str:
    """A class as people read it: “036.Northern_Flicker” is a Northern Flicker."""
    return _NUMBER.sub("", name).replace("_", " ").strip() or name


def class_name(classes: Sequence[str], index: int | None) -> str:
    """The class as people read it; empty where there is none of this index."""
    return readable(str(classes[index])) if index is not None and 0 <= index < len(classes) else ""


def units(image: Image, side: int) -> tuple[int, int]:
    """(width, height) with the image's aspect and the longer side `side`."""
    return scaled((image.width, image.height), side)


def scaled(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(width, height) brought to the longer side `side`, at least 1."""
    factor = side / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def box(corners: Sequence[float], size: tuple[int, int], badge: int) -> dict[str, int]:
    """The rectangle in whole units, and the middle of its badge: at the corner, but never off the picture."""
    (x0, y0, x1, y1), (width, height) = corners, size
    x, y = round(x0 * width), round(y0 * height)
    return {
        "x": x, "y": y, "width": max(1, round(x1 * width) - x), "height": max(1, round(y1 * height) - y),
        "cx": min(max(x, badge), width - badge), "cy": min(max(y, badge), height - badge), "r": badge,
    }  # fmt: skip


def marks(
    patches: Sequence[Mapping[str, Any]], picture: tuple[int, int], neighbour: tuple[int, int]
) -> dict[str, list[dict[str, int]]]:
    """The patches of one neighbour over both pictures: `on_picture` and `on_neighbour`, patch by patch.

    picture, neighbour: (width, height) of the drawings over them.
    """
    return {
        "on_picture": [box(patch["query"], picture, PICTURE_BADGE) for patch in patches],
        "on_neighbour": [box(patch["neighbour"], neighbour, NEIGHBOUR_BADGE) for patch in patches],
    }
