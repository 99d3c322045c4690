"""Segmentations as COCO writes them, drawn as masks: polygons, and run lengths in both of their spellings.

A pixel belongs to a polygon where its centre lies inside (even–odd rule); an object of several polygons is their
union. Run lengths go down the columns and begin with the ground. Source: the mask format of the COCO API (Lin et
al., “Microsoft COCO”, 2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Far beyond any picture, and far below where products of coordinates leave the range of a float.
FURTHEST = 1e6
CHUNK = 4_000_000  # rows × edges at a time
LONGEST_RUN = 7  # characters of one number, 5 bits each

Inside = NDArray[np.bool_]


class BadSegment(ValueError):
    """A segmentation that cannot be drawn; the text is the sentence."""


@dataclass(frozen=True)
class Segment:
    """An object's segmentation as the file says it (None: it has none); `place` says where it stands."""

    shape: Any
    place: str


def draw(shape: Any, width: int, height: int) -> Inside:
    """(height, width), True where the object is. Raises BadSegment."""
    if isinstance(shape, dict):
        return _runs(shape, width, height)
    if not isinstance(shape, list) or not shape:
        raise BadSegment("The segmentation is neither a list of polygons nor run lengths.")
    drawn = np.zeros((height, width), dtype=bool)
    for polygon in shape:
        drawn |= _polygon(_points(polygon), width, height)
    return drawn


def _points(polygon: Any) -> NDArray[np.float64]:
    """(n, 2)."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        raise BadSegment("A polygon is a list x, y, x, y, … of three points or more.")
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in polygon):
        raise BadSegment("A polygon holds something that is not a number.")
    if not all(-FURTHEST <= value <= FURTHEST for value in polygon):  # nan is not either
        raise BadSegment("A polygon holds a number that is no place in a picture.")
    return np.array(polygon, dtype=np.float64).reshape(-1, 2)


def _polygon(points: NDArray[np.float64], width: int, height: int) -> Inside:
    """A row's centre line crosses an even number of edges; between the first and the second, … it is inside."""
    drawn = np.zeros((height, width), dtype=bool)
    x0, y0 = points.T
    x1, y1 = np.roll(points, -1, axis=0).T
    top, bottom = max(int(np.floor(y0.min())), 0), min(int(np.ceil(y0.max())), height)
    step = max(1, CHUNK // max(len(points), width))
    for start in range(top, bottom, step):
        rows = np.arange(start, min(start + step, bottom))
        centres = rows[:, None] + 0.5
        row, edge = np.nonzero((y0 <= centres) != (y1 <= centres))
        along = (centres[row, 0] - y0[edge]) / (y1[edge] - y0[edge])
        crossing = x0[edge] + along * (x1[edge] - x0[edge])
        # The first pixel whose centre lies at the crossing or to its right.
        column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
        turns = np.zeros((len(rows), width + 1), dtype=np.uint8)  # only odd or even counts, which wrapping keeps
        np.add.at(turns, (row, column), 1)
        drawn[rows] = np.cumsum(turns[:, :width], axis=1, dtype=np.uint8) % 2 == 1
    return drawn


def _runs(shape: dict[str, Any], width: int, height: int) -> Inside:
    size, counts = shape.get("size"), shape.get("counts")
    if size != [height, width]:
        raise BadSegment(f"The run lengths are for another size than [{height}, {width}].")
    if isinstance(counts, str):
        counts = _uncompressed(counts)
    if not isinstance(counts, list) or not all(isinstance(run, int) and not isinstance(run, bool) for run in counts):
        raise BadSegment("The counts of the run lengths are neither whole numbers nor their compressed text.")
    if any(run < 0 for run in counts) or sum(counts) != width * height:
        raise BadSegment(f"The run lengths do not add up to the {width * height} pixels of the picture.")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, np.array(counts, dtype=np.int64)).reshape(width, height).T


def _uncompressed(text: str) -> list[int]:
    """COCO's compressed text: 5 bits a character from “0” on, lowest first; bit 5 says that more follow, bit 4 of
    the last one is the sign. From the fourth number on, each is the difference from the one two before it."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift >= 5 * LONGEST_RUN:
            raise BadSegment("The compressed run lengths hold a character that has no meaning there.")
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise BadSegment("The compressed run lengths break off.")
    return counts
