"""Perform a queued run: claim it, start its process, write down what that says, register what it makes.

The Celery task and `manage.py … --wait` both come here. Nothing is computed in this process.
"""

import json
import logging
import shutil
import time
import uuid
from collections.abc import Callable
from typing import Any

from django.db import Error, InterfaceError, OperationalError, connection

from mlcore.models import Run
from mlcore.runs import state, workers
from mlcore.runs.child import Child, why_it_died
from mlcore.runs.explanation_sets import sets_of
from mlcore.runs.intake import Intake
from mlcore.runs.job import build, folder_of, workdir_of
from mlcore.runs.job_classifier import JobImpossible
from mlcore.runs.limits import limit
from mlcore.runs.outputs import made_by
from mlcore.runs.processes import launch_of
from mlcore.runs.queue import send
from mlcore.runs.state import Claim, StaleAttempt
from mlcore.runs.turns import OnWait, take_turn

logger = logging.getLogger(__name__)

OnEvent = Callable[[dict[str, Any]], None]


def perform(
    run_uuid: uuid.UUID | str,
    *,
    worker_name: str,
    on_event: OnEvent | None = None,
    slot: str = "",
    on_wait: OnWait | None = None,
) -> Run:
    """Perform the run if it is queued, and give its row as it is then.

    A run that someone else holds, or that has ended, is left alone. `on_event` sees every event of the child.
    With a `slot` the run waits for that device, and `on_wait` hears for what. Ctrl-C cancels the run and is raised
    again.
    """
    claim = take_turn(run_uuid, worker_name, slot, on_wait)
    if claim is not None:
        try:
            Attempt(claim, on_event).run()
        except StaleAttempt as error:
            logger.warning("%s", error)
    return Run.objects.get(uuid=run_uuid)


class Attempt:
    """One worker's try at a run."""

    def __init__(self, claim: Claim, on_event: OnEvent | None) -> None:
        self.claim, self.on_event = claim, on_event
        # Why the child is asked to stop: "cancel", "keyboard" or "worker"; empty while it shall go on.
        self.stopping = ""
        self._kill_at = 0.0

    def run(self) -> None:
        """From the claim to the end. Raises StaleAttempt where the run was taken away, KeyboardInterrupt."""
        try:
            self._perform()
        except JobImpossible as error:
            state.fail(self.claim, str(error))
        except StaleAttempt:
            raise
        except Exception as error:
            logger.exception("Run %s broke off", self.claim.uuid)
            try:
                state.fail(self.claim, f"The worker could not go on: {type(error).__name__}: {error}"[:1000])
            except Error:
                # Nothing can be written now: the heartbeat has stopped, and the sweep takes over from here.
                logger.exception("Run %s could not be marked as failed", self.claim.uuid)
            raise
        if self.stopping == "keyboard":
            raise KeyboardInterrupt

    def _perform(self) -> None:
        run = Run.objects.select_related(
            "image_set", "partition", "classifier", "supervision", "human_maps", "gallery"
        ).get(pk=self.claim.pk)
        if run.kind in (Run.Kind.EXPLAIN, Run.Kind.REPORT, Run.Kind.CORRESPOND):
            with state.held(self.claim):
                run.explanation_sets.set(sets_of(run))
        workdir = workdir_of(run, self.claim)
        workdir.mkdir(parents=True, exist_ok=True)
        job_file = workdir / "job.json"
        job_file.write_text(json.dumps(build(run, self.claim)), "utf-8")
        self.intake = Intake(self.claim, run, workdir)
        self.intake.note(f"Attempt {self.claim.number} on {self.claim.worker}.")
        # Maps and scores are made by one process; training is shared by as many as the recipe asks for.
        launch = launch_of(run, self.claim.number)
        if launch.nodes > 1:
            others = f"{launch.nodes - 1} more" if launch.nodes > 2 else "one more machine"
            self.intake.note(f"Waits at {launch.rendezvous} for {others} (manage.py join_run {str(run.uuid)[:8]}).")
        child = Child(job_file, launch=launch)
        try:
            self._follow(child)
            status = child.wait()
        except BaseException:
            child.kill()
            raise
        self._end(run, status, child)

    # --- while it runs ---

    def _follow(self, child: Child) -> None:
        """Listen until the child has said its last word, writing and beating on the way."""
        last_written = 0.0
        failing_since: float | None = None
        silent = True
        event: dict[str, Any] | None = None
        while True:
            try:
                due = last_written + (limit("BEAT_SECONDS") if silent else limit("WRITE_SECONDS"))
                # An event that the database refused is taken again, not lost.
                event = event or child.next(min(max(due - time.monotonic(), 0.0), 0.5))
                if event is not None:
                    silent = False
                    self.intake.take(event)
                    taken, event = event, None
                    if self.on_event is not None:
                        self.on_event(taken)
                if workers.stopping.is_set():
                    self._stop(child, "worker")
                if self._kill_at and time.monotonic() > self._kill_at:
                    child.kill()
                    self.intake.note("It did not stop in time and was ended.", "warning")
                    return
                if time.monotonic() >= due or self.intake.full:
                    last_written, silent = time.monotonic(), True
                    if self.intake.write():
                        self._stop(child, "cancel")
                    failing_since = None
            except EOFError:
                return
            except KeyboardInterrupt:
                if self.stopping == "keyboard":  # pressed twice: not even a checkpoint
                    child.kill()
                    return
                self._stop(child, "keyboard")
            except (OperationalError, InterfaceError):
                # A dropped connection comes back, or the sweep gives the run to someone else.
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since > limit("STALE_SECONDS") or connection.in_atomic_block:
                    raise
                logger.warning("Run %s: the database does not answer, trying again", self.claim.uuid)
                connection.close()
                time.sleep(0.2)

    def _stop(self, child: Child, why: str) -> None:
        if not self.stopping:
            self.stopping = why
            self._kill_at = time.monotonic() + limit("GRACE_SECONDS")
            child.ask_to_stop()

    # --- when it has ended ---

    def _end(self, run: Run, status: int, child: Child) -> None:
        ending = self.intake.ending or {}
        self.intake.write()
        # The result is the last word, said when all is written: of several, another may still stumble on its way out.
        if ending.get("event") == "result" and (status == 0 or child.launch.several):
            self._succeed(run, ending)
        elif self.stopping == "worker":
            state.hand_back(self.claim, "The worker was stopped; the run goes on from its checkpoint with the next.")
            workers.handed_back.append(run)
        elif self.stopping:
            by = " from the keyboard" if self.stopping == "keyboard" else ""
            kept = " It can be resumed from its checkpoint." if _has_checkpoint(self.claim) else ""
            state.cancelled(self.claim, f"Cancelled{by}.{kept}")
        elif ending.get("event") == "failed" and not ending.get("lost"):
            state.fail(self.claim, str(ending.get("reason") or ""))
        elif ending.get("event") == "cancelled" and self.claim.number < limit("MAX_ATTEMPTS"):
            state.hand_back(self.claim, "The process was asked to stop from outside; the run goes on.", counted=True)
            send(run)
        else:
            stderr = child.stderr_tail()
            for entry in stderr[-20:]:
                self.intake.note(entry[:500], "warning")
            self.intake.write()
            why = why_it_died(status, stderr, child.launch)
            lost = ending.get("lost") and "signal" not in why
            state.fail(self.claim, str(ending.get("reason")) if lost else why)

    def _succeed(self, run: Run, ending: dict[str, Any]) -> None:
        made = made_by(run, self.intake.workdir, ending)
        result = {"selected_epoch": ending.get("selected_epoch"), "summary": ending.get("summary") or {}}
        for said in ("ceiling", "rates", "comparison"):
            if ending.get(said):
                result[said] = ending[said]
        try:
            with state.held(self.claim):
                if made is not None:
                    self.intake.write_about(made.register())
                    result["weights_sha256"] = made.sha256
                state.succeed(self.claim, result)
        except BaseException:
            if made is not None:
                made.discard()
            raise
        # Everything worth keeping lies in the storage and in rows.
        shutil.rmtree(folder_of(run), ignore_errors=True)
        Run.objects.filter(pk=run.pk).update(checkpoint="")


def _has_checkpoint(claim: Claim) -> bool:
    return Run.objects.filter(pk=claim.pk).exclude(checkpoint="").exists()
