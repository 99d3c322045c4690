"""A progress bar a stage, on a terminal in place, elsewhere one line when a stage starts and one when it ends."""

import shutil
import time
from typing import Any

BAR = 24


class ProgressLine:
    """`stage(title, share)` may be called as often as one likes; a new title ends the stage before it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.terminal = bool(getattr(stream, "isatty", lambda: False)())
        self.title = ""
        self.started = 0.0
        self.drawn = 0.0

    def stage(self, title: str, share: float) -> None:
        now = time.monotonic()
        if title != self.title:
            self.end()
            self.title, self.started, self.drawn = title, now, 0.0
            if not self.terminal:
                self._write(f"{title} …\n")
        if self.terminal and (now - self.drawn > 0.1 or share >= 1):
            self.drawn = now
            filled = round(BAR * min(max(share, 0.0), 1.0))
            width = shutil.get_terminal_size().columns
            text = f"{'█' * filled}{'·' * (BAR - filled)} {share:4.0%}  {title}  {now - self.started:.0f} s"
            self._write("\r" + text[: width - 1].ljust(width - 1))

    def end(self) -> None:
        """Closes the open stage with the time that it took."""
        if not self.title:
            return
        seconds = time.monotonic() - self.started
        if self.terminal:
            width = shutil.get_terminal_size().columns
            self._write("\r" + f"{'█' * BAR} done  {self.title}  {seconds:.0f} s"[: width - 1].ljust(width - 1) + "\n")
        else:
            self._write(f"{self.title}: {seconds:.1f} s\n")
        self.title = ""

    def _write(self, text: str) -> None:
        stream = getattr(self.stream, "_out", self.stream)
        stream.write(text)
        stream.flush()
