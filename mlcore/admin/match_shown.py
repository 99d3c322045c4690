"""A comparison's board as the pages show it: pictures by their addresses, patches as marks, and all of it in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlcore.exchange.match_board import Beside, Board, Said
from mlcore.exchange.match_layout import USUAL_WIDTH
from mlcore.exchange.match_marks import NEIGHBOUR_UNITS, PICTURE_UNITS, marks, scaled

WIDTHS = (800, USUAL_WIDTH, 2000, 3200)
SIDE, SMALL_SIDE = 640, 320  # pixels of the pictures that the page fetches
_DOWN, _ACROSS = ("top", "middle", "bottom"), ("left", "centre", "right")

# (a way's key, the neighbour's place in it) → the address of its picture
Address = Callable[[int, int], str]


def shown(board: Board, picture: str, neighbour: Address) -> dict[str, Any]:
    """What the template draws. picture: the address of the query's picture."""
    width, height = scaled(board.query.size, PICTURE_UNITS)
    return {
        "name": board.query.name,
        "src": picture,
        "width": width,
        "height": height,
        "truth": ", ".join(board.truth),
        "ways": [_way(way, (width, height), neighbour) for way in board.ways],
    }


def _way(way: Said, picture: tuple[int, int], neighbour: Address) -> dict[str, Any]:
    return {
        "title": way.title,
        "method": way.method,
        "words": way.words,
        "sentence": way.sentence,
        "confidence": way.confidence,
        "verdict": way.verdict,
        "patches": range(1, way.patches + 1),
        "neighbours": [_neighbour(one, way, picture, neighbour) for one in way.neighbours],
    }


def _neighbour(one: Beside, way: Said, picture: tuple[int, int], neighbour: Address) -> dict[str, Any]:
    width, height = scaled(one.seen.size, NEIGHBOUR_UNITS)
    return {
        "words": one.words,
        "score": one.score,
        "name": one.seen.name,
        "src": neighbour(way.key or 0, one.index),
        "width": width,
        "height": height,
        "agrees": one.label == way.label,
        "parts": in_words(one.patches),
        **marks(one.patches, picture, (width, height)),
    }


def in_words(patches: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each pair of patches for those who hear the page: where it lies here, and there."""
    return [
        f"Part {number}: {_where(patch['query'])} of the picture, {_where(patch['neighbour'])} here"
        for number, patch in enumerate(patches, 1)
    ]


def _where(corners: Sequence[float]) -> str:
    """“top left”, by the thirds in which the middle lies; “middle” where it lies in both middle ones."""
    x, y = (corners[0] + corners[2]) / 2, (corners[1] + corners[3]) / 2
    down, across = _DOWN[min(2, int(3 * y))], _ACROSS[min(2, int(3 * x))]
    return "middle" if (down, across) == ("middle", "centre") else f"{down} {across}"
