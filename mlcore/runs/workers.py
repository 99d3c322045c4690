"""Workers report that they live by a row of their own, because a solo pool answers no ping while a run goes on."""

import logging
import os
import socket
import threading
from dataclasses import replace

from django.db import Error, connection, transaction
from django.utils import timezone

from mlcore.models import Run, Worker
from mlcore.runs.devices import CPU, Device, overlap, owned
from mlcore.runs.health import workers_alive
from mlcore.runs.limits import limit
from mlcore.runs.queue import QUEUE
from mlcore.runs.state import one_at_a_time

logger = logging.getLogger(__name__)

# Set when this worker process was asked to end: the run at hand then goes back into the queue.
stopping = threading.Event()
# Runs that this ending worker gave back. Their messages are sent once it takes none any more, lest it take them itself.
handed_back: list[Run] = []


def worker_name() -> str:
    """This process, as rows name it: host:pid."""
    return f"{socket.gethostname()}:{os.getpid()}"


class DeviceTaken(Exception):
    """Another living worker owns the device; the message is the sentence for the person."""


# The device that this worker's runs take; empty in workers that perform none.
slot = ""


def settle(queues: list[str]) -> None:
    """Write this worker's row. One that performs runs takes its device first: it and its children see no other.

    On a CPU that is taken, the next place (cpu:1, …). Raises DeviceTaken where a GPU is another's (unless
    HARMONY_DEVICE_SHARED=1), NoSuchDevice where the machine has none like it.
    """
    global slot
    named = ",".join(sorted(queues))[:120]
    if QUEUE not in queues:
        beat(named)
        return
    device = owned()
    with transaction.atomic():
        one_at_a_time()
        others = {
            other.slot: other.name for other in workers_alive(QUEUE) if other.name != worker_name() and _lives(other)
        }
        device, slot = _place(device, others)
        device.take()
        Worker.objects.update_or_create(
            name=worker_name(),
            defaults={"queues": named, "device": device.name[:80], "slot": slot, "seen": timezone.now()},
        )
    logger.warning("This worker's runs take %s.", slot)


def _place(device: Device, others: dict[str, str]) -> tuple[Device, str]:
    """The device and the name of its slot, given the slots of living workers (→ their names)."""
    if device.kind == CPU:
        while device.slot in others:
            device = replace(device, place=device.place + 1)
        return device, device.slot
    sharing = [name for other, name in others.items() if overlap(device.slot, other)]
    if not sharing:
        return device, device.slot
    if os.environ.get("HARMONY_DEVICE_SHARED", "") in ("", "0"):
        raise DeviceTaken(
            f"{device.name} of this machine belongs to the worker {sharing[0]}: end that one, give this one another "
            "device (HARMONY_DEVICE=cuda:1), or let them share it (HARMONY_DEVICE_SHARED=1)."
        )
    number = 2
    while f"{device.slot}#{number}" in others:
        number += 1
    return device, f"{device.slot}#{number}"


def _lives(worker: Worker) -> bool:
    """Whether a worker that reported lately is still there; one of this host that was killed is not."""
    host, _, number = worker.name.partition(":")
    if host != socket.gethostname() or not number.isdigit():
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
    """This worker lives, now. Where the sweep had forgotten it, it is known again by the same device."""
    Worker.objects.update_or_create(
        name=worker_name(),
        defaults={"queues": queues, "seen": timezone.now()},
        create_defaults={
            "queues": queues,
            "seen": timezone.now(),
            "slot": slot,
            "device": slot.partition("/")[2].partition("#")[0][:80],
        },
    )
