"""No question waits for ever, and no picture of one is kept for ever. Harmless to call at any time."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.core.files.storage import default_storage
from django.utils import timezone

from mlcore.models import Inquiry
from mlcore.runs.health import workers_alive
from mlcore.runs.inquiries import QUEUE, State, give_up
from mlcore.runs.limits import limit

logger = logging.getLogger(__name__)

FOLDER = "inquiries"
BATCH = 200
NO_WORKER = f"No worker answers questions: start the worker `{QUEUE}` (manage.py up starts it)."
BUSY = "The worker was busy with other questions for too long. Ask again."
LOST = "The worker that had the question was lost. Ask again."


@dataclass(frozen=True)
class Swept:
    """How many questions were failed, how many old ones were deleted."""

    failed: int = 0
    deleted: int = 0


def sweep() -> Swept:
    """Fail what waited too long or lost its worker; delete what is old, with its files."""
    now = timezone.now()
    failed = sum(give_up(row, reason) for row, reason in _overdue(now))
    return Swept(failed, _delete_old(now))


def _overdue(now: datetime) -> Iterable[tuple[Inquiry, str]]:
    alive = {worker.name for worker in workers_alive(QUEUE)}
    patience = limit("INQUIRY_QUEUE_SECONDS" if alive else "INQUIRY_WAIT_SECONDS")
    waiting = Inquiry.objects.filter(state=State.WAITING, created__lt=now - timedelta(seconds=patience))
    for row in waiting:
        yield row, BUSY if alive else NO_WORKER
    for row in Inquiry.objects.filter(state=State.ASKED):
        held = str(row.answer.get("worker", ""))
        too_long = now - row.created > timedelta(seconds=limit("INQUIRY_QUEUE_SECONDS") + 2 * limit("INQUIRY_SECONDS"))
        if held not in alive or too_long:
            yield row, LOST


def _delete_old(now: datetime) -> int:
    before = now - timedelta(seconds=limit("INQUIRY_KEEP_SECONDS"))
    old = list(Inquiry.objects.filter(created__lt=before).exclude(state__in=(State.WAITING, State.ASKED))[:BATCH])
    names = {str(row.picture.name) for row in old if row.picture} | {
        str(row.answer["map"]) for row in old if row.answer.get("map")
    }
    Inquiry.objects.filter(pk__in=[row.pk for row in old]).delete()
    for name in names:
        # Questions about other classes of a picture share its file.
        if not Inquiry.objects.filter(picture=name).exists():
            default_storage.delete(name)
    _delete_left_behind(before)
    return len(old)


def _delete_left_behind(before: datetime) -> None:
    """Files whose row went with its person or classifier."""
    if not default_storage.exists(FOLDER):
        return
    for name in default_storage.listdir(FOLDER)[1]:
        path = f"{FOLDER}/{name}"
        try:
            old = default_storage.get_modified_time(path) < before
        except FileNotFoundError:  # another sweep was faster
            continue
        uuid = name.removesuffix("-map.npy")
        if old and not Inquiry.objects.filter(picture=path).exists() and not _is_row(uuid):
            default_storage.delete(path)


def _is_row(uuid: str) -> bool:
    try:
        return Inquiry.objects.filter(uuid=UUID(uuid)).exists()
    except ValueError:
        return False
