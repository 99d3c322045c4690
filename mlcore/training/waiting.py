"""How long a device waits for pictures, which says whether more loader processes would help."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Batch = TypeVar("Batch")

TOLD_ALWAYS = 10  # epochs
TOLD_STEP = 0.05


class Waiting:
    """Of an epoch's time, the share that passes until the next batch is there."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waited = self._passed = 0.0
        self._epochs = 0
        self._told: float | None = None

    def of(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches, timed from asking for the first until after the last."""
        self._waited = self._passed = 0.0
        began = asked = self._clock()
        for batch in batches:
            now = self._clock()
            self._waited += now - asked
            yield batch
            asked = self._clock()
            self._passed = asked - began

    @property
    def share(self) -> float:
        """0 … 1 of the time of the epoch so far."""
        return self._waited / self._passed if self._passed > 0 else 0.0

    def sentence(self, epoch: int) -> str:
        """For the log at the end of an epoch: always in the first ten, later where it has changed by 5 points."""
        self._epochs += 1
        news = self._told is None or abs(self.share - self._told) >= TOLD_STEP
        if self._passed <= 0 or (self._epochs > TOLD_ALWAYS and not news):
            return ""
        self._told = self.share
        return f"Epoch {epoch}: waiting for pictures: {self.share:.0%} of the time.".replace("%", " %")
