"""One process that starts the others and ends them together: web, three workers and beat.

For one machine without a service manager. A child that dies is started again, each time later; what the children
say is printed with their name in front. The children end when the supervisor does, however it ends.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TextIO

from mlcore.runs.devices import CUDA, NoSuchDevice, owned

FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
# A child that lived so long has started well; its next failure is a new story.
HEALTHY_SECONDS = 60.0
# Longer than a run's own grace (mlcore.runs.limits), so that a training worker can hand its run back.
GRACE_SECONDS = 45.0
POLL_SECONDS = 0.2
PR_SET_PDEATHSIG = 1


class AddressTaken(Exception):
    """Somebody else listens there; the message is the sentence for the person."""


@dataclass
class Service:
    """A child: what it is called and how it is started."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    wait: float = FIRST_WAIT
    due: float = 0.0
    readers: list[threading.Thread] = field(default_factory=list)


def services(address: str, *, var: Path) -> list[Service]:
    """Web, the workers for short tasks, for questions of a page and for runs, and the clock."""
    python = sys.executable
    # Runs keep a log of their own; here only what is wrong is printed.
    celery = [python, "-m", "celery", "--app", "harmony", "--quiet"]
    # Workers do not talk to each other: their rows say who lives, and the broker has less to carry.
    worker = [*celery, "worker", "--pool", "solo", "--loglevel", "WARNING", "--without-gossip", "--without-mingle"]
    web = [python, "-m", "gunicorn", "harmony.wsgi:application", "--bind", address, "--no-control-socket"]
    return [
        Service("web", [*web, "--workers", "2", "--threads", "4", "--worker-tmp-dir", _memory_folder(var)]),
        Service("default", [*worker, "--queues", "default", "--hostname", "default@%h"]),
        Service("interactive", [*worker, "--queues", "interactive", "--hostname", "interactive@%h"]),
        *(
            Service(name, [*worker, "--queues", "training", "--hostname", f"{name}@%h"], environment)
            for name, environment in training_workers().items()
        ),
        Service(
            "beat",
            [*celery, "beat", "--loglevel", "WARNING", "--schedule", str(var / "beat-schedule"), "--pidfile="],
        ),
    ]


def training_workers() -> dict[str, dict[str, str]]:
    """Workers that perform runs, and what tells each its device: one a GPU, or one on the CPU.

    One owns them all where HARMONY_DEVICE names its devices, or RUN_PROCESSES lets several processes share a run.
    """
    try:
        device = owned()
    except NoSuchDevice:
        return {"training": {}}  # the worker itself says what is wrong
    together = os.environ.get("HARMONY_DEVICE") or os.environ.get("RUN_PROCESSES", "") not in ("", "0", "1")
    if device.kind != CUDA or device.count == 1 or together:
        return {"training": {}}
    return {f"training-{number}": {"HARMONY_DEVICE": f"cuda:{number}"} for number in range(device.count)}


def _memory_folder(var: Path) -> str:
    # gunicorn's workers touch a file every second; on a slow disk that looks like a hanging worker.
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else str(var)  # noqa: S108


def refuse_taken(address: str) -> None:
    """Raises AddressTaken where the address cannot be listened on, ValueError where it is none."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"“{address}” is no address: write host:port, such as 127.0.0.1:8000.")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn does
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            raise AddressTaken(
                f"Nothing can listen on {address} ({error.strerror or error}): "
                "end what runs there, or choose another address (manage.py up --address 127.0.0.1:8001)."
            ) from error


class Supervisor:
    """Starts services, starts them again, and ends them all."""

    def __init__(self, services: list[Service], *, folder: Path, out: TextIO = sys.stdout) -> None:
        self.services, self.folder, self.out = services, folder, out
        self._stop = threading.Event()
        self._print_lock = threading.Lock()
        self._width = max(len(service.name) for service in services)

    def run(self, ready: Callable[[], None] | None = None) -> None:
        """Until SIGINT or SIGTERM (or `stop`). Nothing is left running afterwards. Call in the main thread."""
        before = {sign: signal.signal(sign, self._on_signal) for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            for service in self.services:
                self._start(service)
            if ready is not None:
                ready()
            while not self._stop.wait(POLL_SECONDS):
                for service in self.services:
                    self._look_after(service)
        finally:
            self._end_all()
            for sign, handler in before.items():
                signal.signal(sign, handler)

    def stop(self) -> None:
        """End everything; may be called from any thread."""
        self._stop.set()

    def say(self, text: str, name: str = "harmony") -> None:
        """A line with a name in front."""
        with self._print_lock, contextlib.suppress(OSError, ValueError):
            self.out.write(f"{name:<{max(self._width, 7)}} │ {text}\n")
            self.out.flush()

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self._stop.set()

    def _start(self, service: Service) -> None:
        service.process = subprocess.Popen(  # noqa: S603  (our own commands)
            service.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | service.environment,
            # Ctrl-C reaches the supervisor alone, which then ends the children in order.
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        service.started = time.monotonic()
        reader = threading.Thread(target=self._relay, args=(service.name, service.process), daemon=True)
        reader.start()
        service.readers = [reader]

    def _relay(self, name: str, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for raw in process.stdout:
            self.say(raw.decode("utf-8", "replace").rstrip(), name)

    def _look_after(self, service: Service) -> None:
        now = time.monotonic()
        if service.process is None:
            if now >= service.due:
                self._start(service)
            return
        status = service.process.poll()
        if status is None:
            return
        if now - service.started >= HEALTHY_SECONDS:
            service.wait = FIRST_WAIT
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        self.say(f"{service.name} {how}; it starts again in {service.wait:g} s.")
        self._kill_group(service)
        service.process, service.due = None, now + service.wait
        service.wait = min(service.wait * 2, LONGEST_WAIT)

    def _end_all(self) -> None:
        running = [service for service in self.services if service.process is not None]
        if any(service.process and service.process.poll() is None for service in running):
            self.say("Ending …")
        for service in running:
            assert service.process is not None
            with contextlib.suppress(ProcessLookupError):
                service.process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for service in running:
            assert service.process is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                service.process.wait(max(deadline - time.monotonic(), 0.1))
            self._kill_group(service)
            service.process.wait()
            for reader in service.readers:
                reader.join(2)
            service.process = None

    def _kill_group(self, service: Service) -> None:
        """Whatever a child has left of its own children (gunicorn's workers) ends too."""
        assert service.process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(service.process.pid, signal.SIGKILL)


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_parent() -> None:
    # Between fork and exec: one call of the C library, nothing that could wait for a lock.
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
