"""The process that answers short questions: started when one is asked, kept for the next, ended when nobody asks.

One a worker process. It is `python -m mlcore.training.serve`, so that this process never loads PyTorch.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Any, Self

from django.conf import settings

from mlcore.runs.child import child_environment
from mlcore.runs.limits import limit

COMMAND = (sys.executable, "-m", "mlcore.training.serve")
TAIL_BYTES = 2000


class NoAnswer(Exception):
    """There is no answer; the text is the sentence for the person."""


class Server:
    """Questions to a process of its own, one at a time, from any thread. It is started again where it has died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.Queue[bytes | None] = queue.Queue()
        self._stderr: IO[bytes] | None = None
        self._numbers = itertools.count(1)
        self._asked = 0.0

    @property
    def pid(self) -> int | None:
        """The living process, if there is one."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def ask(self, question: Mapping[str, Any], seconds: float | None = None) -> dict[str, Any]:
        """The answer to a question of `mlcore.training.serve`, awaited for `seconds` (None: for ever).

        Raises NoAnswer: with the process's own sentence, or where it died or took longer; then it is ended, and the
        next question meets a fresh one.
        """
        with self._lock:
            number = next(self._numbers)
            self._send(json.dumps(dict(question) | {"id": number}).encode() + b"\n")
            try:
                found = self._receive(number, seconds)
            except BaseException:  # also Ctrl-C: its answer must not be taken for the next question's
                self._kill()
                raise
            finally:
                self._asked = time.monotonic()
        if "error" in found:
            raise NoAnswer(str(found["error"]))
        return dict(found["answer"])

    def end(self) -> None:
        """End the process, after the question at hand."""
        with self._lock:
            self._kill()

    def end_if_idle(self, seconds: float) -> bool:
        """End the process where it was asked nothing for so long. True where there is none (any more)."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self.pid is not None and time.monotonic() - self._asked < seconds:
                return False
            self._kill()
            return True
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _send(self, line: bytes) -> None:
        # A process that died since the last question is noticed here or by the broken pipe: another one is asked.
        for again in (True, False):
            if self.pid is None:
                self._kill()
                self._start()
            assert self._process is not None and self._process.stdin is not None  # noqa: PT018
            try:
                self._process.stdin.write(line)
                self._process.stdin.flush()
                return
            except OSError as error:
                self._kill()
                if not again:
                    raise NoAnswer("The process that answers questions cannot be started.") from error

    def _receive(self, number: int, seconds: float | None) -> dict[str, Any]:
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            try:
                line = self._answers.get(timeout=left)
            except queue.Empty:
                raise NoAnswer(
                    f"The answer took longer than {seconds:g} seconds. Ask for a quicker method, or start a run."
                ) from None
            if line is None:
                raise NoAnswer(self._why_it_died())
            with contextlib.suppress(ValueError):  # the last line of a killed process may be cut short
                found = json.loads(line)
                if isinstance(found, dict) and found.get("id") == number:
                    return found

    def _start(self) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed in _kill)
        self._answers = queue.Queue()
        self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd=settings.BASE_DIR,
            env=child_environment(),
            # Ctrl-C in a terminal goes to this process, which then ends the child.
            start_new_session=True,
        )
        threading.Thread(target=_read, args=(self._process, self._answers), name="answers", daemon=True).start()

    def _why_it_died(self) -> str:
        assert self._process is not None
        status = self._process.wait()
        if status == -signal.SIGKILL:
            return "The process that answers questions was ended by the system, perhaps for want of memory. Ask again."
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        last = f" Its last words: {words}" if (words := self._last_words()) else ""
        return f"The process that answers questions {how}.{last}"

    def _last_words(self) -> str:
        if self._stderr is None:
            return ""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(size - TAIL_BYTES, 0))
        lines = [line for line in self._stderr.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None


def _read(process: subprocess.Popen[bytes], answers: queue.Queue[bytes | None]) -> None:
    assert process.stdout is not None
    with contextlib.suppress(ValueError, OSError):  # closed after a kill
        for line in process.stdout:
            answers.put(line)
    answers.put(None)


_server: Server | None = None
_watch: threading.Thread | None = None
_guard = threading.Lock()


def server() -> Server:
    """The one of this worker process; a thread ends its child when nobody has asked for a while."""
    global _server, _watch
    with _guard:
        _server = _server or Server()
        if _watch is None or not _watch.is_alive():
            _watch = threading.Thread(target=_end_when_idle, args=(_server,), name="idle-questions", daemon=True)
            _watch.start()
        return _server


def end_server() -> None:
    """The worker ends: so does the process that answers."""
    if _server is not None:
        _server.end()


def _end_when_idle(watched: Server) -> None:
    while True:
        seconds = float(limit("INQUIRY_IDLE_SECONDS"))
        time.sleep(min(max(seconds / 4, 0.05), 30.0))
        watched.end_if_idle(seconds)
