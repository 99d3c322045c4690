"""The whole way with real processes: a command queues, a Celery worker takes, the training process computes.

The broker is the one of the settings: files in the first pass of the tests, Redis in the second.
"""

import hashlib
import os
import signal
import socket
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from mlcore.management.run_command import perform_here
from mlcore.models import Run, Worker
from mlcore.runs import state
from mlcore.runs.perform import perform
from mlcore.runs.start import start_run
from tests.mlcore.runs.station import Station, fresh, processes_with, wait_for
from tests.mlcore.runs.world import TINY, World, make_world, start, weights_hash

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def world() -> World:
    return make_world()


@pytest.fixture
def station(tmp_path):
    made = Station(tmp_path, settings.BROKER_URL)
    made.environment["HARMONY_DEVICE"] = "cpu"  # places of a CPU, also where there is a GPU
    yield made
    made.end()


OPTIONS = [part for key, value in TINY.items() for part in ("--option", f"{key}={value}")]
COMMAND = ("train", "--image-set", "scenes", "--seed", "3", *OPTIONS)


def test_a_queued_command_ends_as_the_function_does(world, reference, station) -> None:
    here = station
    said = here.manage(*COMMAND).stdout
    run = Run.objects.get()
    assert said.startswith(f"{run.uuid} queued")
    assert run.state == "queued"
    worker = here.worker()
    done = wait_for(lambda: fresh(run).state in Run.ENDED and fresh(run))
    assert done.state == "succeeded", done.reason + done.log + here.said
    row = Worker.objects.get()
    assert row.queues == "training"
    assert done.worker == row.name
    assert row.name.endswith(f":{worker.pid}")
    assert weights_hash(done) == hashlib.sha256(reference).hexdigest()
    worker.terminate()
    assert worker.wait(20) == 0
    assert not Worker.objects.exists()  # it said farewell


LONG = TINY | {"epochs": 60}


def begin(world: World, here: Station):
    """A run in the middle of its work on a real worker."""
    run = start_run(
        kind="train", name="long", owner=None, image_set=world.image_set, partition=world.partition,
        recipe=LONG, seed=3, enqueue=False,
    )  # fmt: skip
    # Its message never came (enqueue=False): what the sweep sends again is all there is.
    worker = here.worker()
    wait_for(Worker.objects.exists)
    Run.objects.update(created=timezone.now() - timedelta(seconds=30))
    assert "resent: long" in here.manage("sweep_runs").stdout
    wait_for(lambda: fresh(run).checkpoint and fresh(run).state == "running")
    return run, worker


def uninterrupted(world: World) -> str:
    """What the run would have come to."""
    run = start_run(
        kind="train", name="uninterrupted", owner=None, image_set=world.image_set, partition=world.partition,
        recipe=LONG, seed=3, enqueue=False,
    )  # fmt: skip
    done = perform(run.uuid, worker_name="here:1")
    assert done.state == "succeeded", done.reason
    return weights_hash(done)


def test_a_killed_worker_costs_nothing_but_time(world, station) -> None:
    here = station
    run, worker = begin(world, here)
    job = str(Path(settings.RUNS_DIR) / str(run.uuid))
    assert processes_with(job)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    wait_for(lambda: not processes_with(job), 10)  # the child died with its parent
    left = fresh(run)
    assert left.state == "running"  # so it says, and nobody holds it
    assert here.manage("sweep_runs").stdout == "Nothing to heal.\n"  # its heartbeat is still young
    Run.objects.update(heartbeat=timezone.now() - timedelta(seconds=61))
    Worker.objects.all().delete()
    assert "requeued: long" in here.manage("sweep_runs").stdout
    here.worker()
    done = wait_for(lambda: fresh(run).state in Run.ENDED and fresh(run))
    assert done.state == "succeeded", done.reason + done.log + here.said
    assert done.attempts == 2
    assert "Resumed after step" in done.log
    assert weights_hash(done) == uninterrupted(world)


def test_a_stopped_worker_hands_its_run_back_at_once(world, station) -> None:
    here = station
    run, worker = begin(world, here)
    worker.terminate()
    worker.wait(30)
    back = fresh(run)
    assert (back.state, back.attempts) == ("queued", 0), back.log + here.said
    assert Path(back.checkpoint).is_file()
    here.worker()  # the message that was sent with the hand-back is waiting for it
    assert wait_for(lambda: "Resumed after step" in fresh(run).log)
    assert fresh(run).attempts == 1


def test_two_workers_perform_two_runs_side_by_side(world, reference, station) -> None:
    here = station
    for _ in range(2):
        here.manage(*COMMAND)
    runs = list(Run.objects.order_by("pk"))
    here.worker()
    here.worker()
    first, second = (wait_for(lambda run=run: fresh(run).state in Run.ENDED and fresh(run)) for run in runs)
    assert (first.state, second.state) == ("succeeded", "succeeded"), first.reason + second.reason + here.said
    # Each on its own place of the CPU, unless one worker was so fast that it took both.
    host = socket.gethostname()
    assert {first.slot, second.slot} <= {f"{host}/cpu", f"{host}/cpu:1"}
    if first.worker != second.worker:
        assert first.slot != second.slot
    assert weights_hash(first) == weights_hash(second) == hashlib.sha256(reference).hexdigest()
    assert {row.slot for row in wait_for(lambda: Worker.objects.count() == 2 and Worker.objects.all())} == {
        f"{host}/cpu",
        f"{host}/cpu:1",
    }


def test_a_worker_waits_for_a_command_on_its_device(world, station) -> None:
    """What a command holds is the worker's too: its run waits, says for what, and then goes on by itself."""
    here = station
    slot = f"{socket.gethostname()}/cpu"
    held = state.claim(start(world).uuid, "command line", slot=slot)
    here.manage(*COMMAND)
    waiting = Run.objects.get(state="queued")
    worker = here.worker()
    wait_for(lambda: f"Waits: {slot} is taken by the run “a run”" in fresh(waiting).log)
    assert fresh(waiting).state == "queued"
    worker.terminate()  # while it waits: the message is sent again
    assert worker.wait(30) == 0
    here.worker()
    wait_for(lambda: fresh(waiting).log.count("Waits: ") == 2)
    state.succeed(held, {})
    done = wait_for(lambda: fresh(waiting).state in Run.ENDED and fresh(waiting))
    assert (done.state, done.slot, done.attempts) == ("succeeded", slot, 1), done.reason + here.said


def test_a_worker_without_its_device_ends_with_a_sentence(db, station) -> None:
    here = station
    here.environment["HARMONY_DEVICE"] = "cuda:7"
    worker = here.worker()
    assert worker.wait(60) == 1
    assert "HARMONY_DEVICE=“cuda:7”: this machine shows" in here.said
    assert not Worker.objects.exists()


def test_a_command_that_waits_says_for_what(world, settings, capsys, monkeypatch) -> None:
    monkeypatch.setenv("HARMONY_DEVICE", "cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # put back afterwards: the command hides what it does not own
    settings.RUN_TURN_SECONDS = 0.05
    held = state.claim(start(world).uuid, "host:1", slot=f"{socket.gethostname()}/cpu")
    waiting = start(world, seed=3)

    def release() -> None:
        try:
            wait_for(lambda: "Waits: " in fresh(waiting).log, 60)
            state.succeed(held, {})
        finally:
            connection.close()

    thread = threading.Thread(target=release)
    thread.start()
    done = perform_here(waiting)
    thread.join()
    assert done.state == "succeeded"
    said = capsys.readouterr().err
    assert "/cpu is taken by the run “a run”" in said
    assert "This run waits for it. HARMONY_DEVICE=cpu:1 computes beside it." in said
