"""Runs that are broken off at a certain moment: by their events, and however fast or slow the machine is."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlcore.models import Run
from mlcore.runs import control

Event = dict[str, Any]


def at_event(name: str, action: Callable[[Event], Any], number: int = 1) -> Callable[[Event], None]:
    """An `on_event` that calls `action(event)` at the n-th event of a name."""
    seen = []

    def on_event(event: Event) -> None:
        if event["event"] == name:
            seen.append(event)
            if len(seen) == number:
                action(event)

    return on_event


def cancelled_at(name: str, run: Run, number: int = 1) -> Callable[[Event], None]:
    """An `on_event` by which a person cancels the run at this event. Its process stands still until it was told so: a
    small run would otherwise be through before anybody has looked."""

    def cancel(event: Event) -> None:
        pid = child_of_this_process()
        os.kill(pid, signal.SIGSTOP)
        control.cancel(run, None)
        threading.Thread(target=_go_on_when_told, args=(pid,), daemon=True).start()

    return at_event(name, cancel, number)


def killed_at(name: str, number: int = 1) -> Callable[[Event], None]:
    """An `on_event` that ends the run's process without a word."""
    return at_event(name, lambda event: os.kill(child_of_this_process(), signal.SIGKILL), number)


def _go_on_when_told(pid: int) -> None:
    status, told = Path(f"/proc/{pid}/status"), 1 << (signal.SIGTERM - 1)
    until = time.monotonic() + 60
    while time.monotonic() < until and status.exists():
        waiting = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        if int(waiting["ShdPnd"], 16) & told:
            break
        time.sleep(0.05)
    os.kill(pid, signal.SIGCONT)


def child_of_this_process() -> int:
    """The process id of the training process that this process started."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = entry.read_bytes()
            parent = int((entry.parent / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if b"mlcore.training.launch" in arguments and parent == os.getpid():
            return int(entry.parent.name)
    raise AssertionError("no training process is there")
