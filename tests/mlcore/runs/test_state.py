"""Every step of a run's state is made by one process only."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from mlcore.models import Run
from mlcore.runs import state
from mlcore.runs.state import StaleAttempt
from tests.mlcore.runs.world import make_world


@pytest.fixture
def run(world) -> Run:
    return Run.objects.create(name="a run", kind="train", image_set=world.image_set)


def stale(run: Run, seconds: float = 120) -> None:
    Run.objects.filter(pk=run.pk).update(heartbeat=timezone.now() - timedelta(seconds=seconds))
    run.refresh_from_db()


def test_a_claim_takes_the_run_and_counts_the_attempt(run) -> None:
    held = state.claim(run.uuid, "host:1")
    run.refresh_from_db()
    assert held is not None
    assert (run.state, run.attempt, run.attempts, run.worker) == ("claimed", held.token, 1, "host:1")
    assert run.started is not None
    assert run.heartbeat is not None
    assert state.claim(run.uuid, "host:2") is None
    run.refresh_from_db()
    assert run.worker == "host:1"


@pytest.mark.django_db(transaction=True)
def test_of_many_claimers_one_wins() -> None:
    run = Run.objects.create(name="wanted", kind="train", image_set=make_world("few", {"train": 1}).image_set)
    ready = threading.Barrier(8)
    won: list[str] = []

    def try_it(name: str) -> None:
        try:
            ready.wait()
            if state.claim(run.uuid, name) is not None:
                won.append(name)
        finally:
            connection.close()

    threads = [threading.Thread(target=try_it, args=(f"host:{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.refresh_from_db()
    assert won == [run.worker]
    assert run.attempts == 1


@pytest.mark.parametrize("ended", ["succeeded", "failed", "cancelled"])
def test_what_has_ended_is_not_claimed(run, ended) -> None:
    Run.objects.filter(pk=run.pk).update(state=ended, ended=timezone.now(), reason="so")
    assert state.claim(run.uuid, "host:1") is None


def test_a_beat_writes_progress_and_tells_of_a_cancel(run) -> None:
    held = state.claim(run.uuid, "host:1")
    stale(run)
    assert state.beat(held, [state.line("first")], step=3, total_steps=9) is False
    Run.objects.filter(pk=run.pk).update(cancel_requested=True)
    assert state.beat(held, [state.line("second")]) is True
    run.refresh_from_db()
    assert (run.step, run.total_steps) == (3, 9)
    assert [entry[20:] for entry in run.log.splitlines()] == ["first", "second"]
    assert timezone.now() - run.heartbeat < timedelta(seconds=30)


@pytest.mark.parametrize(
    "write",
    [
        lambda held: state.begin(held, total_steps=1, versions={}, device="cpu"),
        lambda held: state.beat(held, step=7),
        lambda held: state.succeed(held, {}),
        lambda held: state.fail(held, "late"),
        lambda held: state.cancelled(held, "late"),
        lambda held: state.hand_back(held, "late"),
    ],
)
def test_a_worker_that_lost_the_run_writes_nothing(run, write) -> None:
    late = state.claim(run.uuid, "host:late")
    stale(run)
    assert state.take_away(run, before=timezone.now() - timedelta(seconds=60), why="lost", requeue=True)
    newer = state.claim(run.uuid, "host:new")
    before = Run.objects.filter(pk=run.pk).values().get()
    with pytest.raises(StaleAttempt):
        write(late)
    assert Run.objects.filter(pk=run.pk).values().get() == before
    assert state.beat(newer, step=1) is False


def test_a_worker_that_beats_in_time_keeps_the_run(run) -> None:
    state.claim(run.uuid, "host:1")
    stale(run)
    as_swept = Run.objects.get(pk=run.pk)
    Run.objects.filter(pk=run.pk).update(heartbeat=timezone.now())  # it reported between reading and taking
    limit = timezone.now() - timedelta(seconds=60)
    assert not state.take_away(as_swept, before=limit, why="lost", requeue=True)
    run.refresh_from_db()
    assert run.state == "claimed"


def test_handing_back_in_order_is_no_failure(run) -> None:
    held = state.claim(run.uuid, "host:1")
    state.hand_back(held, "The worker was stopped.")
    run.refresh_from_db()
    assert (run.state, run.attempts, run.attempt) == ("queued", 0, None)
    state.hand_back(state.claim(run.uuid, "host:2"), "Asked from outside.", counted=True)
    run.refresh_from_db()
    assert run.attempts == 1


def test_a_failure_always_says_why(run) -> None:
    state.fail(state.claim(run.uuid, "host:1"), "")
    run.refresh_from_db()
    assert run.state == "failed"
    assert run.reason == "It failed without saying why."
    assert run.ended is not None


def test_the_log_forgets_its_oldest_lines_whole(settings) -> None:
    settings.RUN_LOG_CHARS = 100
    log = state.appended("", [f"line {number:04d}\n" for number in range(50)])
    kept = log.removeprefix(state.CUT).splitlines()
    assert log.startswith(state.CUT)
    assert kept[-1] == "line 0049"
    assert all(len(entry) == 9 for entry in kept)
    assert len(log) <= 100 + len(state.CUT)
