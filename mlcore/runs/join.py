"""Share a run that another machine's worker holds: the same job, computed here too, and no row written."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from mlcore.models import Run
from mlcore.runs.child import Child, why_it_died
from mlcore.runs.job import build
from mlcore.runs.job_classifier import JobImpossible
from mlcore.runs.limits import limit
from mlcore.runs.processes import Launch, launch_of
from mlcore.runs.state import HELD, Claim

Say = Callable[[str], None]

POLL_SECONDS = 1.0
# A machine that is let in says so before the first step; the run of others may begin so much earlier in the rows.
LET_IN_SECONDS = 30.0
# The same name as in mlcore.training.machine, which this process does not load.
JOINED = "HARMONY_JOINED"


class CannotJoin(Exception):
    """This machine has no part in the run; the message is the sentence for the person."""


def join(run_uuid: UUID | str, say: Say = lambda sentence: None) -> Run:
    """Compute beside the worker that holds the run, attempt after attempt, until it has ended; its row as it is then.

    `say` hears where it stands. Raises CannotJoin where the run is one machine's, has ended before this machine had a
    part in it, or has its machines already.
    """
    run = _row(run_uuid)
    _refuse(run)
    shared = waits = False
    while run.state not in Run.ENDED:
        if run.state not in HELD or run.attempt is None:
            if not waits:
                say(f"“{run}” is not running yet: waiting for a worker to take it.")
            waits = True
            time.sleep(POLL_SECONDS)
        else:
            waits = False
            _share(run, say)
            shared = True
        run = _row(run_uuid)
    if not shared:
        raise CannotJoin(f"“{run}” has ended ({run.get_state_display()}) before this machine had a part in it.")
    return run


def _refuse(run: Run) -> None:
    if run.state in Run.ENDED:
        raise CannotJoin(f"“{run}” has ended already ({run.get_state_display()}).")
    if run.kind != Run.Kind.TRAIN or int(run.recipe.get("nodes") or 1) == 1:
        raise CannotJoin(
            f"“{run}” runs on one machine; only a training run that was started for several can be joined "
            "(--option nodes=2 --option rendezvous=HOST:PORT)."
        )


def _share(run: Run, say: Say) -> None:
    """One attempt. Returns when it has ended, or the run was given to another worker."""
    assert run.attempt is not None
    claim = Claim(run.pk, run.uuid, run.attempt, run.worker, run.attempts)
    try:
        launch = launch_of(run, claim.number)
        with tempfile.TemporaryDirectory(prefix="join-") as folder:
            job_file = Path(folder) / "job.json"
            job_file.write_text(json.dumps(build(run, claim) | {"workdir": folder}), "utf-8")
            say(f"Joining “{run}” at {launch.rendezvous}, attempt {claim.number}.")
            child = Child(job_file, launch=launch, environment={JOINED: "1"})
            try:
                _follow(child, claim, launch, say)
            except BaseException:
                child.kill()
                raise
    except JobImpossible as error:
        raise CannotJoin(str(error)) from error


def _follow(child: Child, claim: Claim, launch: Launch, say: Say) -> None:
    reason = ""
    let_in = False
    begun: float | None = None
    kill_at: float | None = None
    while True:
        try:
            event = child.next(POLL_SECONDS)
        except EOFError:
            break
        if event is not None and event["event"] == "joined" and not let_in:
            let_in = True
            say(f"Joined: process {event['process'] + 1} of {event['processes']}.")
        elif event is not None and event["event"] == "failed":
            reason = str(event.get("reason") or "")
        row = Run.objects.only("state", "attempt").filter(pk=claim.pk).first()
        if row is None:
            child.kill()
            raise CannotJoin("The run was deleted while this machine took part in it.")
        if row.state == Run.State.RUNNING and row.attempt == claim.token:
            begun = begun or time.monotonic()
            if not let_in and time.monotonic() - begun > LET_IN_SECONDS:
                child.kill()
                raise CannotJoin(f"The run has its {launch.nodes} machines already; this one is too many.")
        elif row.attempt != claim.token and kill_at is None:
            kill_at = time.monotonic() + limit("GRACE_SECONDS")
        if kill_at is not None and time.monotonic() > kill_at:
            child.kill()
            return
    status = child.wait()
    if status == 0:
        while _held(claim):  # its worker writes down what came out
            time.sleep(POLL_SECONDS)
    elif _still_goes_on(claim):
        reason = reason or why_it_died(status, child.stderr_tail(), launch)
        raise CannotJoin(f"This machine's part of the run broke off: {reason}")


def _still_goes_on(claim: Claim) -> bool:
    """Whether the attempt is still held; its worker may need a moment to write down that it has ended."""
    deadline = time.monotonic() + limit("GRACE_SECONDS")
    while time.monotonic() < deadline:
        if not _held(claim):
            return False
        time.sleep(POLL_SECONDS)
    return True


def _held(claim: Claim) -> bool:
    return Run.objects.filter(pk=claim.pk, attempt=claim.token, state__in=HELD).exists()


def _row(run_uuid: UUID | str) -> Run:
    return Run.objects.select_related("image_set", "partition", "classifier", "supervision", "human_maps").get(
        uuid=run_uuid
    )
