"""Workers report that they live by a row of their own, because a solo pool answers no ping while a run goes on."""

import logging
import os
import shutil
import socket
import threading
from pathlib import Path

from django.db import Error, connection
from django.utils import timezone

from mlcore.models import Run, Worker
from mlcore.runs.limits import limit

logger = logging.getLogger(__name__)

# Set when this worker process was asked to end: the run at hand then goes back into the queue.
stopping = threading.Event()
# Runs that this ending worker gave back. Their messages are sent once it takes none any more, lest it take them itself.
handed_back: list[Run] = []


def worker_name() -> str:
    """This process, as rows name it: host:pid."""
    return f"{socket.gethostname()}:{os.getpid()}"


def device_name() -> str:
    """What a run here would compute on, as far as can be seen without PyTorch."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "cpu"
    nvidia = shutil.which("nvidia-smi") is not None and Path("/dev/nvidiactl").exists()
    return "cuda" if nvidia else "cpu"


class Heart:
    """A thread that renews the worker's row until it is stopped, and then removes it."""

    def __init__(self, queues: list[str]) -> None:
        self._queues = ",".join(sorted(queues))[:120]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker-heart", daemon=True)

    def start(self) -> None:
        """Report now, and from now on."""
        beat(self._queues)
        self._thread.start()

    def stop(self) -> None:
        """Say farewell: the row is removed."""
        self._stop.set()
        self._thread.join(5)
        try:
            Worker.objects.filter(name=worker_name()).delete()
        except Error:
            logger.warning("The row of this worker could not be removed; it grows old by itself.")

    def _run(self) -> None:
        while not self._stop.wait(limit("WORKER_BEAT_SECONDS")):
            try:
                beat(self._queues)
            except Error as error:
                logger.warning("This worker could not report that it lives: %s", error)
                connection.close()
        connection.close()


def beat(queues: str) -> None:
    """This worker lives, now."""
    Worker.objects.update_or_create(
        name=worker_name(), defaults={"queues": queues, "device": device_name(), "seen": timezone.now()}
    )
