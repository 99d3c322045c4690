"""The process that computes: started, listened to, asked to stop, and asked why it died."""

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from mlcore.runs.processes import Launch

SECRETS = ("SECRET_KEY", "DATABASE_URL", "BROKER_URL", "STORAGE_URL")
STDERR = "stderr.txt"
TAIL_BYTES = 12_000
ENDINGS = ("result", "failed", "cancelled")
EXIT_CODE = re.compile(r"exitcode\s*:\s*(-?\d+)")  # torchrun's list of the processes that failed
WAITING = 1000  # events; a slow database slows the child instead of filling the memory
GOODBYE_SECONDS = 10.0
ALONE = Launch()

# glibc gives what a network's layers wrote back to the system after every batch and takes it anew, page by page: two
# thirds of the time of MobileNetV2's features, 32 pictures at once.
KEEPS_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}


class Child:
    """`python -m mlcore.training.launch JOB.json`, whose events are read by a thread.

    With several processes torchrun starts them; the first one speaks for all, and one that fails for itself.
    """

    def __init__(self, job_file: Path, *, launch: Launch = ALONE, environment: Mapping[str, str] | None = None) -> None:
        self.launch = launch
        self._ending: dict[str, Any] | None = None
        self._stderr_path = job_file.with_name(STDERR)
        with self._stderr_path.open("ab") as stderr:
            self.process = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
                [*launch.command(), "mlcore.training.launch", str(job_file)],
                # A pipe that closes with us: the child ends when this process does, however it ends.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=settings.BASE_DIR,
                env=child_environment() | dict(environment or {}),
                # Ctrl-C in a terminal goes to this process, which then asks the child in its own time.
                start_new_session=True,
            )
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue(WAITING)
        self._reader = threading.Thread(target=self._read, name="run-events", daemon=True)
        self._reader.start()

    def next(self, timeout: float) -> dict[str, Any] | None:
        """The next event; None where it stays silent for `timeout` seconds. Raises EOFError after the last."""
        try:
            event = self._events.get(timeout=max(timeout, 0.0))
        except queue.Empty:
            return None
        if event is None:
            raise EOFError
        return event

    def ask_to_stop(self) -> None:
        """SIGTERM: finish the step, write a checkpoint, end."""
        if self.process.poll() is None:
            self.process.terminate()

    def kill(self) -> None:
        """End it and whatever it started, now."""
        # Its children (data workers) live in its session. Once it was waited for, its number may be another's.
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self._let_reader_end()
        self.process.wait()
        self._close()

    def wait(self) -> int:
        """Its exit status once it has said its last (negative: the signal that ended it)."""
        try:
            status = self.process.wait(GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            status = self.process.returncode
        self._close()
        return status

    def stderr_tail(self) -> list[str]:
        """The last lines it wrote to standard error."""
        try:
            with self._stderr_path.open("rb") as stream:
                stream.seek(0, os.SEEK_END)
                stream.seek(max(stream.tell() - TAIL_BYTES, 0))
                text = stream.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [entry for entry in text.splitlines() if entry.strip()]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            try:
                event = json.loads(raw)
            except ValueError:
                event = None
            if not isinstance(event, dict) or "event" not in event:
                # The last line of a killed process may be cut short.
                event = {"event": "log", "level": "warning", "text": f"Not understood: {raw[:200]!r}"}
            if event["event"] not in ENDINGS or self._says_more(event):
                self._events.put(event)
        self._events.put(None)

    def _says_more(self, ending: dict[str, Any]) -> bool:
        """Of several processes the first to fail knows why; the others only lose it, and one may say so before."""
        if self._ending is not None and not self._ending.get("lost"):
            return False
        self._ending = ending
        return True

    def _let_reader_end(self) -> None:
        # A reader that waits for room would never see the end of the stream.
        while self._reader.is_alive():
            try:
                self._events.get_nowait()
            except queue.Empty:
                self._reader.join(0.05)

    def _close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def child_environment() -> dict[str, str]:
    """What a process that computes is given of our environment: it reads files, and has no business with keys,
    database, queue or storage. Its threads sleep while they wait and its memory is kept, if we were not told otherwise.
    """
    kept = {key: value for key, value in os.environ.items() if key not in SECRETS}
    return KEEPS_MEMORY | {"OMP_WAIT_POLICY": "passive"} | kept | {"PYTHONUNBUFFERED": "1"}


def why_it_died(status: int, stderr: list[str], launch: Launch = ALONE) -> str:
    """One sentence for processes that ended without saying why."""
    who = "The training process"
    if launch.several:
        who = f"One of {launch.processes} processes" if launch.processes > 1 else "The process of this machine"
        # torchrun itself ends with 1; what it ended others by (15) is no reason.
        codes = [int(code) for entry in stderr for code in EXIT_CODE.findall(entry)]
        signals = [code for code in codes if code < 0]
        status = next((code for code in signals if code != -signal.SIGTERM), signals[0] if signals else status)
    if status < 0:
        if -status == signal.SIGKILL:
            return f"{who} was ended by the system (signal 9), perhaps for want of memory."
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = "unknown"
        return f"{who} was ended by signal {-status} ({name})."
    if launch.several and any("Rendezvous" in entry and "Error" in entry for entry in stderr):
        return (
            f"The {launch.nodes} machines of the run did not meet at {launch.rendezvous or 'their rendezvous'}: the "
            "address must lead to one of them, and every other must have joined (manage.py join_run)."
        )
    last = f" Its last words: {stderr[-1][:300]}" if stderr else ""
    return f"The training process ended with status {status} and no result.{last}"
