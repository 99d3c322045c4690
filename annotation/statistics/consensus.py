"""What several people say together (definitions §2). Pure: from values to a value, nothing of a database."""

from collections.abc import Iterable

import numpy as np

from annotation.drawings import IMPORTANT, UNIMPORTANT, UNKNOWN


def majority(values: Iterable[bool]) -> bool | None:
    """What more than half say; None where they are evenly split or nobody said anything."""
    listed = list(values)
    yes = sum(listed)
    return None if 2 * yes == len(listed) else 2 * yes > len(listed)


def is_reasonable(necessary: bool, unnecessary: bool) -> bool:
    """The paper's rule: Q1 "contains necessary details" yes and Q2 "contains unnecessary details" no."""
    return necessary and not unnecessary


class MapConsensus:
    """Drawn maps of one image, added one after another, (H, W) uint8 of 0 unknown, 1 important, 2 unimportant."""

    def __init__(self) -> None:
        self.people = 0
        self._important: np.ndarray | None = None
        self._unimportant: np.ndarray | None = None

    def add(self, values: np.ndarray) -> None:
        """Raises ValueError where the size differs from the first map's."""
        if self._important is None or self._unimportant is None:
            self._important = np.zeros(values.shape, dtype=np.uint32)
            self._unimportant = np.zeros(values.shape, dtype=np.uint32)
        if values.shape != self._important.shape:
            raise ValueError(f"Maps of one image have one size: {values.shape} is not {self._important.shape}.")
        self._important += values == IMPORTANT
        self._unimportant += values == UNIMPORTANT
        self.people += 1

    def values(self) -> np.ndarray:
        """Important where strictly more than half painted it; unimportant where strictly more than half left it out
        as unimportant; unknown elsewhere, as where two people disagree. (H, W) uint8."""
        if self._important is None or self._unimportant is None:
            raise ValueError("Nobody drew a map.")
        agreed = np.full(self._important.shape, UNKNOWN, dtype=np.uint8)
        agreed[2 * self._unimportant > self.people] = UNIMPORTANT
        agreed[2 * self._important > self.people] = IMPORTANT
        return agreed
