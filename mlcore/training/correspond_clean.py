"""Queries that are left out because their pictures say little: small, grey, or in the gallery already.

Published evaluations leave such images out (definitions §6: the clean-image filter). What is left out is counted by its
reason; an image counts under the first that holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mlcore.training.correspond_search import Found
from mlcore.training.errors import Cancelled
from mlcore.training.events import Reporter
from mlcore.training.job import Item
from mlcore.training.pictures import read_picture, size_of

SMALL, GREY = "small picture", "grey picture"
SAME_FILE, SAME_LOOK = "the same file in the gallery", "looks the same as one in the gallery"
REASONS = (SMALL, GREY, SAME_FILE, SAME_LOOK)

# A picture is grey where its channels differ by at most so much (of 255) at nearly all places: JPEG colours grey a bit.
GREY_SPREAD, GREY_SHARE, GREY_SIDE = 12, 0.99, 64
# Only candidates as alike as this are looked at, by their difference hashes; of 2 × 64 bits so many may differ.
ALIKE, DIFFERENT_BITS = 0.9, 10


class Cleaner:
    """Counts what it leaves out in `left_out`."""

    def __init__(self, recipe: dict[str, Any], reporter: Reporter, cancelled: Callable[[], bool]) -> None:
        self.small = int(recipe.get("drop_small") or 0)
        self.grey, self.duplicates = bool(recipe.get("drop_grey")), bool(recipe.get("drop_duplicates"))
        self.reporter, self.cancelled = reporter, cancelled
        self.left_out: dict[str, int] = {}

    def alone(self, queries: Sequence[Item]) -> list[Item]:
        """Those whose own picture is large and coloured enough. Raises JobError for a picture that cannot be read."""
        if not (self.small or self.grey):
            return list(queries)
        kept = []
        for done, item in enumerate(queries, 1):
            if self.cancelled():
                raise Cancelled
            why = self._why_alone(item)
            if why:
                self.left_out[why] = self.left_out.get(why, 0) + 1
            else:
                kept.append(item)
            self.reporter.progress("looking for small and grey pictures", done, len(queries))
        return kept

    def _why_alone(self, item: Item) -> str:
        if self.small and min(size_of(item.path)) < self.small:
            return SMALL
        return GREY if self.grey and is_grey(read_picture(item.path)) else ""

    def beside_gallery(self, queries: list[Item], found: Found, gallery: Sequence[Item]) -> tuple[list[Item], Found]:
        """Those whose picture is not in the gallery: neither the file, nor one of the nearest that looks the same."""
        if not self.duplicates:
            return queries, found
        files: dict[str, set[str]] = {}
        for item in gallery:
            files.setdefault(item.key, set()).add(item.id)
        hashes = Hashes()
        kept = []
        for place, item in enumerate(queries):
            if self.cancelled():
                raise Cancelled
            why = ""
            if item.key and files.get(item.key, set()) - {item.id}:
                why = SAME_FILE
            else:
                near = [
                    gallery[row]
                    for row, score in zip(found.rows[place].tolist(), found.scores[place].tolist(), strict=True)
                    if row >= 0 and score >= ALIKE
                ]
                if any(hashes.alike(item, other) for other in near):
                    why = SAME_LOOK
            if why:
                self.left_out[why] = self.left_out.get(why, 0) + 1
            else:
                kept.append(place)
            self.reporter.progress("looking for duplicates", place + 1, len(queries))
        return [queries[place] for place in kept], found.of(kept)


def is_grey(picture: Image.Image) -> bool:
    """Whether an RGB picture has no colour: its channels differ by at most 12 of 255 at 99 % of 64 × 64 places."""
    small = np.asarray(picture.convert("RGB").resize((GREY_SIDE, GREY_SIDE), Image.Resampling.BOX), dtype=np.int16)
    spread = small.max(axis=2) - small.min(axis=2)
    return float((spread <= GREY_SPREAD).mean()) >= GREY_SHARE


def difference_hash(picture: Image.Image) -> NDArray[np.bool_]:
    """128 bits: of a 9 × 8 and an 8 × 9 grey copy whether each place is lighter than the next across, and down."""
    grey = picture.convert("L")
    across = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    down = np.asarray(grey.resize((8, 9), Image.Resampling.BOX), dtype=np.int16)
    return np.concatenate([(across[:, 1:] < across[:, :-1]).ravel(), (down[1:] < down[:-1]).ravel()])


class Hashes:
    """Difference hashes of pictures, each made once."""

    def __init__(self) -> None:
        self._known: dict[str, NDArray[np.bool_]] = {}

    def alike(self, one: Item, other: Item) -> bool:
        """Whether two pictures differ in at most 10 of 128 bits."""
        return int((self._of(one) != self._of(other)).sum()) <= DIFFERENT_BITS

    def _of(self, item: Item) -> NDArray[np.bool_]:
        if item.id not in self._known:
            self._known[item.id] = difference_hash(read_picture(item.path))
        return self._known[item.id]
