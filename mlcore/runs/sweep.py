"""Heal what a crash left behind. The row is the truth: no run says "running" for ever, none waits without a message.

Harmless to call at any time and from several processes: every step is a conditional UPDATE.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from mlcore.models import Run, Worker
from mlcore.runs import state
from mlcore.runs.health import workers_alive
from mlcore.runs.limits import limit
from mlcore.runs.queue import QUEUE, send

FORGET_WORKERS = timedelta(hours=1)


@dataclass(frozen=True)
class Swept:
    """What one sweep did, as run names."""

    requeued: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()
    resent: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.requeued or self.failed or self.cancelled or self.resent)


def sweep() -> Swept:
    """Runs whose worker is lost are queued again or fail; queued runs whose message is lost get another."""
    now = timezone.now()
    requeued, failed, cancelled = _take_from_lost_workers(now)
    resent = _send_again(now)
    Worker.objects.filter(seen__lt=now - FORGET_WORKERS).delete()
    return Swept(tuple(requeued), tuple(failed), tuple(cancelled), tuple(resent))


def _take_from_lost_workers(now: datetime) -> tuple[list[str], list[str], list[str]]:
    before = now - timedelta(seconds=limit("STALE_SECONDS"))
    requeued: list[str] = []
    failed: list[str] = []
    cancelled: list[str] = []
    for run in Run.objects.filter(state__in=state.HELD, heartbeat__lt=before).order_by("pk"):
        again = run.attempts < limit("MAX_ATTEMPTS")
        if again:
            where = "from its last checkpoint" if run.checkpoint else "from its beginning"
            why = f"The worker {run.worker} was lost; the run starts again {where}."
        else:
            why = f"Its worker was lost {run.attempts} times (last {run.worker}); that worker's log may say why."
        if not state.take_away(run, before=before, why=why, requeue=again):
            continue
        if run.cancel_requested:
            cancelled.append(run.name)
        elif again:
            send(run)
            requeued.append(run.name)
        else:
            failed.append(run.name)
    return requeued, failed, cancelled


def _send_again(now: datetime) -> list[str]:
    """Messages for queued runs that an idle worker ought to have taken long ago.

    While every worker is busy, or none lives, waiting is in order: sending again would only pile up messages.
    """
    before = now - timedelta(seconds=limit("RESEND_SECONDS"))
    busy = set(Run.objects.filter(state__in=state.HELD).values_list("worker", flat=True))
    idle = [
        worker
        for worker in workers_alive(QUEUE)
        # A worker whose device is another's run waits for it with the run that it was sent.
        if worker.name not in busy and not (worker.slot and state.holder_of(worker.slot))
    ]
    if not idle:
        return []
    waiting = (
        Run.objects.filter(state=Run.State.QUEUED)
        .annotate(sent=Coalesce("heartbeat", "created"))
        .filter(sent__lt=before)
        .order_by("created", "pk")
    )
    resent = []
    for run in waiting[: len(idle)]:
        unchanged = Q(heartbeat=run.heartbeat) if run.heartbeat else Q(heartbeat__isnull=True)
        if Run.objects.filter(unchanged, pk=run.pk, state=Run.State.QUEUED).update(heartbeat=now) and send(run):
            resent.append(run.name)
    return resent
