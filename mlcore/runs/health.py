"""Whether anything would happen to a run that is queued now."""

import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db.models.functions import Coalesce
from django.utils import timezone

from mlcore.models import Run, Worker
from mlcore.runs.limits import limit
from mlcore.runs.state import HELD

STUCK_AFTER = timedelta(minutes=2)
DISK_LEAST_SHARE = 0.05
DISK_LEAST_BYTES = 2 * 1024**3


def workers_alive(queue: str | None = None) -> list[Worker]:
    """Workers that reported lately; of one queue ("default", "training") where it is named."""
    since = timezone.now() - timedelta(seconds=limit("WORKER_ALIVE_SECONDS"))
    alive = Worker.objects.filter(seen__gte=since)
    return [worker for worker in alive if queue is None or queue in worker.queues.split(",")]


@dataclass(frozen=True)
class QueueState:
    """How runs wait. `sentence` says what is wrong, empty where all is well."""

    waiting: int
    held: int
    workers: int  # alive, of the queue "training"
    oldest_wait: timedelta | None
    sentence: str

    @property
    def stuck(self) -> bool:
        return bool(self.sentence)


def queue_state() -> QueueState:
    """Runs that wait and run, the workers there are for them, and whether that fits."""
    queued = Run.objects.filter(state=Run.State.QUEUED)
    waiting = queued.count()
    held = Run.objects.filter(state__in=HELD).count()
    workers = len(workers_alive("training"))
    oldest = (
        queued.annotate(since=Coalesce("heartbeat", "created"))
        .order_by("since")
        .values_list("since", flat=True)
        .first()
    )
    wait = timezone.now() - oldest if oldest else None
    sentence = ""
    if not workers and (waiting or held):
        sentence = "No training worker is alive: runs wait until one is started (manage.py up)."
    elif wait is not None and wait > STUCK_AFTER and held < workers:
        sentence = "Runs wait although a worker is idle: the queue may be unreachable."
    return QueueState(waiting, held, workers, wait, sentence)


@dataclass(frozen=True)
class DiskState:
    """Room where files are kept, in bytes. `sentence` says what is wrong, empty where all is well."""

    free: int
    total: int
    sentence: str


def disk_state() -> DiskState:
    """The fullest of the disks that hold pictures, weights and checkpoints."""
    usages = [
        shutil.disk_usage(folder) for folder in {settings.MEDIA_ROOT, str(settings.RUNS_DIR)} if Path(folder).exists()
    ]
    if not usages:
        return DiskState(0, 0, "The folder of the storage does not exist.")
    tightest = min(usages, key=lambda usage: usage.free)
    full = tightest.free < min(DISK_LEAST_BYTES, DISK_LEAST_SHARE * tightest.total)
    sentence = f"The disk is nearly full: {tightest.free / 1024**3:.1f} GB are free." if full else ""
    return DiskState(tightest.free, tightest.total, sentence)
