"""Progress of commands: a bar on a terminal, plain lines where the output is kept in a file."""

import sys
import time
from typing import Any, TextIO

from mlcore.runs.summary import in_words

WIDTH = 28
LINE_SECONDS = 10.0


def count(number: int, noun: str) -> str:
    """“1 shard”, “3 shards”."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


class Bar:
    """Draws on standard error, so that standard output holds results alone."""

    def __init__(self, title: str, stream: TextIO | None = None) -> None:
        self.title = title
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self._last = 0.0
        self._width = 0
        self._stage = ""

    def __call__(self, done: int, total: int, stage: str = "", seconds_left: float | None = None) -> None:
        """Where the work stands."""
        now = time.monotonic()
        wait = 0.1 if self.live else LINE_SECONDS
        if done < total and stage == self._stage and now - self._last < wait:
            return
        self._last, self._stage = now, stage
        share = min(done / total, 1.0) if total else 0.0
        left = f", {in_words(seconds_left)} left" if seconds_left and done < total else ""
        text = f"{self.title}: {share:4.0%} {stage or ''}".rstrip() + left
        if self.live:
            filled = round(share * WIDTH)
            self._show(f"[{'█' * filled}{'·' * (WIDTH - filled)}] {text}", end="\r")
        else:
            self._show(text)

    def event(self, event: dict[str, Any]) -> None:
        """What `perform` hands on: progress moves the bar, warnings are printed."""
        if event["event"] == "progress":
            self(event["step"], event["total"], event["stage"], event.get("seconds_left"))
        elif event["event"] == "log" and event.get("level") == "warning":
            self._show(f"warning: {event['text']}")

    def end(self) -> None:
        """Leave the line of the bar."""
        if self.live and self._width:
            self.stream.write("\n")
            self.stream.flush()

    def _show(self, text: str, end: str = "\n") -> None:
        self.stream.write(text.ljust(self._width if self.live else 0) + end)
        self.stream.flush()
        self._width = len(text) if end == "\r" else 0


class Stages:
    """A bar a stage. `stage(title, share)` may be called as often as one likes; a new title ends the stage before."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream
        self._bar: Bar | None = None
        self._started = 0.0

    def stage(self, title: str, share: float) -> None:
        """The stage `title` is done to this share, 0 to 1."""
        if self._bar is None or self._bar.title != title:
            self.end()
            self._bar, self._started = Bar(title, self.stream), time.monotonic()
        if share < 1:
            self._bar(round(share * 1000), 1000)

    def end(self) -> None:
        """Ends the open stage and says how long it took."""
        if self._bar is not None:
            self._bar(1000, 1000, f"({time.monotonic() - self._started:.0f} s)")
            self._bar.end()
            self._bar = None
