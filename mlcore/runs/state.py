"""The run's state machine: every step is one conditional UPDATE, so two processes never both make it.

A worker that claims a run gets a token. Everything it writes afterwards is conditional on that token: once a
sweep has given the run to someone else, the late worker's writes change nothing and raise StaleAttempt.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils import timezone

from mlcore.models import Run
from mlcore.runs.devices import overlap
from mlcore.runs.limits import limit

State = Run.State
HELD = (State.CLAIMED, State.RUNNING)
CUT = "… earlier lines were left out …\n"
# Who asks for a device waits for whoever is asking: the number is only a name for that lock.
ASKING = 0x6861726D


class StaleAttempt(Exception):
    """The run is not held under this token any more: it was given to another worker, or has ended."""


class SlotTaken(Exception):
    """The device is another run's; the message says whose. The run stays queued."""


@dataclass(frozen=True)
class Claim:
    """A worker's hold on a run."""

    pk: int
    uuid: UUID
    token: UUID
    worker: str
    number: int  # of the attempt, from 1
    slot: str = ""  # the device it computes on; empty: it takes none


def claim(run_uuid: UUID | str, worker: str, *, slot: str = "") -> Claim | None:
    """Take a queued run, and with it the device `slot` (host and device); None if it is not queued (any more).

    Raises SlotTaken where another run computes on that device. Without a slot a run takes whatever there is, beside
    others.
    """
    token = uuid4()
    now = timezone.now()
    fields = {
        "state": State.CLAIMED,
        "attempt": token,
        "attempts": F("attempts") + 1,
        "worker": worker[:120],
        "heartbeat": now,
        "started": Coalesce("started", now),
        "stage": "starting",
        "reason": "",
        "seconds_left": None,
        "slot": slot,
    }
    queued = Run.objects.filter(uuid=run_uuid, state=State.QUEUED)
    try:
        with transaction.atomic():
            if slot and queued.exists():
                one_at_a_time()
                _refuse_taken(slot)
            taken = queued.update(**fields)
    except IntegrityError:
        _refuse_taken(slot)
        raise
    if not taken:
        return None
    row = Run.objects.only("pk", "uuid", "attempts").get(uuid=run_uuid)
    return Claim(row.pk, row.uuid, token, worker, row.attempts, slot)


def _refuse_taken(slot: str) -> None:
    holder = holder_of(slot)
    if holder is not None:
        raise SlotTaken(f"{slot} is taken by the run “{holder.name}” ({str(holder.uuid)[:8]}).")


def holder_of(slot: str) -> Run | None:
    """The run that computes on this device, or on one of its GPUs."""
    others = Run.objects.filter(state__in=HELD).exclude(slot="").only("pk", "uuid", "name", "slot")
    return next((run for run in others.order_by("pk") if overlap(slot, run.slot)), None)


def one_at_a_time() -> None:
    """Until the transaction ends, nobody else looks for a free device (SQLite lets one transaction write anyway)."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ASKING])


def note_waiting(run_uuid: UUID | str, text: str) -> None:
    """A line in the log of a run that is still queued."""
    with transaction.atomic():
        run = Run.objects.select_for_update().filter(uuid=run_uuid, state=State.QUEUED).first()
        if run is not None:
            Run.objects.filter(pk=run.pk).update(log=appended(run.log, [line(text)]))


def give_up_waiting(run_uuid: UUID | str, reason: str) -> None:
    """A queued run that nobody has taken is cancelled."""
    Run.objects.filter(uuid=run_uuid, state=State.QUEUED).update(**_ended(State.CANCELLED), reason=reason)


@contextmanager
def held(claim: Claim) -> Iterator[Run]:
    """A transaction in which the run is surely ours, its row locked. Raises StaleAttempt."""
    with transaction.atomic():
        run = Run.objects.select_for_update().filter(pk=claim.pk, attempt=claim.token, state__in=HELD).first()
        if run is None:
            raise StaleAttempt(f"Run {claim.uuid} is not held by {claim.worker} any more.")
        yield run


def _ours(claim: Claim, **fields: Any) -> None:
    changed = Run.objects.filter(pk=claim.pk, attempt=claim.token, state__in=HELD).update(**fields)
    if not changed:
        raise StaleAttempt(f"Run {claim.uuid} is not held by {claim.worker} any more.")


def begin(claim: Claim, *, total_steps: int, versions: dict[str, Any], device: str) -> None:
    """The child has started: claimed → running."""
    _ours(
        claim,
        state=State.RUNNING,
        total_steps=max(int(total_steps), 0),
        versions=versions,
        device=device[:80],
        heartbeat=timezone.now(),
    )


def beat(claim: Claim, lines: list[str] | None = None, **fields: Any) -> bool:
    """Heartbeat, progress (`fields` of the row) and lines of the log. True where the run shall be cancelled."""
    with held(claim) as run:
        if lines:
            fields["log"] = appended(run.log, lines)
        _ours(claim, heartbeat=timezone.now(), **fields)
        return run.cancel_requested


def succeed(claim: Claim, result: dict[str, Any]) -> None:
    """→ succeeded."""
    _ours(claim, **_ended(State.SUCCEEDED), result=result, reason="", cancel_requested=False)


def fail(claim: Claim, reason: str) -> None:
    """→ failed, with one sentence that says why."""
    _ours(claim, **_ended(State.FAILED), reason=reason or "It failed without saying why.")


def cancelled(claim: Claim, reason: str) -> None:
    """→ cancelled."""
    _ours(claim, **_ended(State.CANCELLED), reason=reason)


def hand_back(claim: Claim, why: str, *, counted: bool = False) -> None:
    """The worker itself gives the run back into the queue, with the checkpoint it has.

    An attempt that was handed back in order is no failure and is not counted, unless `counted`.
    """
    with held(claim) as run:
        attempts = run.attempts if counted else max(run.attempts - 1, 0)
        _ours(claim, **_queued(), attempts=attempts, log=appended(run.log, [line(why)]))


def take_away(run: Run, *, before: datetime, why: str, requeue: bool) -> bool:
    """A run whose heartbeat is older than `before` loses its worker: back into the queue, or failed.

    `run` is the row as the sweep read it. False where the worker has reported, or someone else was faster.
    """
    with transaction.atomic():
        found = Run.objects.select_for_update().filter(
            pk=run.pk, attempt=run.attempt, state__in=HELD, heartbeat__lt=before
        )
        now = found.first()
        if now is None:
            return False
        log = appended(now.log, [line(why, "warning")])
        if now.cancel_requested:
            fields = _ended(State.CANCELLED) | {"reason": "Cancelled; its worker had been lost."}
        elif requeue:
            fields = _queued()
        else:
            fields = _ended(State.FAILED) | {"reason": why}
        return bool(Run.objects.filter(pk=run.pk, attempt=run.attempt, state__in=HELD).update(log=log, **fields))


def _queued() -> dict[str, Any]:
    # The heartbeat of a queued run is the time at which its message was last sent.
    return {
        "state": State.QUEUED,
        "attempt": None,
        "worker": "",
        "slot": "",
        "stage": "",
        "seconds_left": None,
        "heartbeat": timezone.now(),
    }


def _ended(state: State) -> dict[str, Any]:
    return {"state": state, "attempt": None, "ended": timezone.now(), "stage": "", "seconds_left": None}


def line(text: str, level: str = "info") -> str:
    """One line of a run's log."""
    mark = "" if level == "info" else f"{level}: "
    return f"{timezone.now():%Y-%m-%d %H:%M:%S} {mark}{' '.join(text.split())}\n"


def appended(log: str, lines: list[str]) -> str:
    """The log with lines added and, where it grows too long, its oldest lines left out."""
    text = log + "".join(lines)
    most = int(limit("LOG_CHARS"))
    if len(text) <= most:
        return text
    kept = text[-most:]
    return CUT + kept[kept.find("\n") + 1 :]
