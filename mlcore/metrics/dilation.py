"""Which pixels lie near an object: its mask dilated by the open disc, exactly."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

WORD = 64  # pixels worked on at once, one bit each


def within(masks: NDArray[np.bool_], tolerance: float) -> NDArray[np.bool_]:
    """Pixels of each mask (B, H, W) and those strictly nearer to it than `tolerance` pixels, any number ≥ 0.

    What a Euclidean distance transform compared with the tolerance gives, without the distances: the disc is a
    stack of rows, and each row moves the mask by whole pixels. An empty mask stays empty.
    """
    if tolerance <= 1 or not masks.size:
        return masks
    count, height, width = masks.shape
    reaches = half_widths(tolerance, height, width)
    # Behind each row lie as many zeros as the disc is wide, so that no bit moves into the next row.
    words = math.ceil((width + reaches[0]) / WORD)
    packed = np.packbits(masks, axis=2, bitorder="little")
    padded = np.zeros((count, height, words * WORD // 8), np.uint8)
    padded[:, :, : packed.shape[2]] = packed
    wide = padded.view("<u8")
    found = np.zeros_like(wide)
    reach = 0
    # From the disc's outermost row, the shortest, inwards: each goes on from the width before it.
    for dy, goal in reversed(list(enumerate(reaches))):
        while reach < goal:
            step = min(goal - reach, max(reach, 1))
            wide = _spread(wide.reshape(-1), step).reshape(wide.shape)
            reach += step
        found[:, dy:] |= wide[:, : height - dy]
        found[:, : height - dy] |= wide[:, dy:]
    return np.unpackbits(found.view(np.uint8), axis=2, count=width, bitorder="little").view(np.bool_)


def half_widths(tolerance: float, height: int, width: int) -> list[int]:
    """Rows dy = 0, 1, … of the open disc in a picture: the largest dx < width with √(dx² + dy²) < tolerance."""
    found: list[int] = []
    dx = min(width - 1, math.ceil(min(tolerance, width)))
    for dy in range(height):
        # The root, not the squares: √2 as a tolerance must leave a diagonal neighbour out.
        while dx >= 0 and math.sqrt(dx * dx + dy * dy) >= tolerance:
            dx -= 1
        if dx < 0:
            break
        found.append(dx)
    return found


def _spread(bits: NDArray[np.uint64], step: int) -> NDArray[np.uint64]:
    """A line of bits together with itself moved `step` places to either side."""
    moved = bits.copy()
    whole, rest = divmod(step, WORD)
    count = len(bits)
    moved[whole:] |= bits[: count - whole] << rest
    moved[: count - whole] |= bits[whole:] >> rest
    if rest:  # what crosses the border between two words
        moved[whole + 1 :] |= bits[: count - whole - 1] >> (WORD - rest)
        moved[: count - whole - 1] |= bits[whole + 1 :] << (WORD - rest)
    return moved
