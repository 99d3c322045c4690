"""What a job tells the process that started it, as plain dictionaries.

The job calls methods of `Reporter`; the reporter holds back what would be too much (progress more than
twice a second, a metric row at a time) and hands dictionaries to `emit`.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable
from typing import Any

Emit = Callable[[dict[str, Any]], None]

PROGRESS_SECONDS = 0.5
METRIC_SECONDS = 2.0
METRIC_ROWS = 200


class JsonLines:
    """An `emit` that writes each event as one line to a file descriptor, whole, from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def __call__(self, event: dict[str, Any]) -> None:
        """Write one event. Raises OSError (BrokenPipeError) when nobody reads any more."""
        line = memoryview(json.dumps(finite(event), separators=(",", ":"), allow_nan=False).encode() + b"\n")
        with self._lock:
            while line:
                line = line[os.write(self._descriptor, line) :]


def finite(value: Any) -> Any:
    """The same structure with numbers that JSON knows: NaN and infinities become None."""
    if isinstance(value, dict):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Reporter:
    """Throttles and batches events. Nothing is reported by any process but the first of several."""

    def __init__(self, emit: Emit, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._emit = emit
        self._clock = clock
        self._silent = False
        self._last_progress = -math.inf
        self._last_metrics = clock()
        self._rows: list[dict[str, Any]] = []

    def silence(self) -> None:
        """From now on say nothing (processes of rank 1 and above)."""
        self._silent = True

    def send(self, event: str, **fields: Any) -> None:
        """Report at once."""
        if not self._silent:
            self._emit({"event": event, **fields})

    def log(self, text: str, level: str = "info") -> None:
        """A line for the run's log: level "info" or "warning"."""
        self.send("log", level=level, text=text)

    def progress(self, stage: str, step: int, total: int, **fields: Any) -> None:
        """Where the job stands; at most two a second, but the last one of a stage always."""
        now = self._clock()
        if step < total and now - self._last_progress < PROGRESS_SECONDS:
            return
        self._last_progress = now
        self.send("progress", stage=stage, step=step, total=total, **fields)

    def metric(self, *, step: int, epoch: int, part: str, name: str, value: float) -> None:
        """One point of a curve, sent with others; `flush` sends what waits."""
        self._rows.append({"step": step, "epoch": epoch, "part": part, "name": name, "value": float(value)})
        if len(self._rows) >= METRIC_ROWS or self._clock() - self._last_metrics >= METRIC_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send metric rows that wait."""
        self._last_metrics = self._clock()
        if self._rows:
            rows, self._rows = self._rows, []
            self.send("metrics", rows=rows)
