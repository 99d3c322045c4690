"""A device belongs to one worker, and one run computes on it at a time."""

import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from mlcore.models import Run, Worker
from mlcore.runs import devices, state, turns, workers
from mlcore.runs.devices import CUDA, Device, NoSuchDevice, gpus_seen, overlap, owned
from mlcore.runs.job import _device
from mlcore.runs.job_classifier import JobImpossible
from mlcore.runs.state import Claim, SlotTaken
from mlcore.runs.sweep import sweep
from tests.mlcore.runs.test_sweep import ago, sent  # noqa: F401
from tests.mlcore.runs.world import start


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine that shows so many GPUs: an nvidia-smi of its own, and the driver's device file."""

    def with_gpus(count: int) -> None:
        lines = "".join(
            f"GPU {number}: Some GPU (UUID: GPU-{number})\\n  MIG 1g (UUID: x)\\n" for number in range(count)
        )
        smi = tmp_path / "nvidia-smi"
        smi.write_text(f"#!/bin/sh\nprintf '{lines}'\n")
        smi.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        exists = Path.exists
        monkeypatch.setattr(devices.Path, "exists", lambda path: str(path) == "/dev/nvidiactl" or exists(path))

    for name in ("CUDA_VISIBLE_DEVICES", "HARMONY_DEVICE", "HARMONY_DEVICE_SHARED", "CUDA_DEVICE_ORDER"):
        monkeypatch.setenv(name, "")  # put back afterwards, whatever a worker here takes
        monkeypatch.delenv(name)
    monkeypatch.setattr(workers, "slot", "")
    return with_gpus


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "cuda:0,1,2,3"),
        ({"HARMONY_DEVICE": "cuda:2"}, "cuda:2"),
        ({"HARMONY_DEVICE": "CUDA:1,3"}, "cuda:1,3"),
        ({"HARMONY_DEVICE": "cpu"}, "cpu"),
        ({"HARMONY_DEVICE": "cpu:1"}, "cpu:1"),
        ({"CUDA_VISIBLE_DEVICES": "3,1"}, "cuda:3,1"),
        ({"CUDA_VISIBLE_DEVICES": "3,1", "HARMONY_DEVICE": "cuda:1"}, "cuda:1"),
        ({"CUDA_VISIBLE_DEVICES": "2,-1,1"}, "cuda:2"),
        ({"CUDA_VISIBLE_DEVICES": ""}, "cpu"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-7f"}, "cuda:GPU-7f"),
    ],
)
def test_what_a_process_owns(machine, environment, name) -> None:
    machine(4)
    assert owned(os.environ | environment).name == name


def test_a_machine_without_gpus_owns_its_cpu(machine, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert owned().name == "cpu"
    assert gpus_seen() == ()


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("cuda:4", "this machine shows 4 GPUs, cuda:0 to cuda:3"),
        ("cuda:x", "this machine shows 4 GPUs"),
        ("tpu", "is no device: write cpu, cpu:1, cuda, cuda:1 or cuda:0,1"),
        ("cpu:two", "after cpu: comes a number"),
    ],
)
def test_a_device_that_is_not_there_is_refused(machine, wanted, says) -> None:
    machine(4)
    with pytest.raises(NoSuchDevice, match=says):
        owned(os.environ | {"HARMONY_DEVICE": wanted})
    with pytest.raises(NoSuchDevice, match="shows no GPU"):
        owned(os.environ | {"HARMONY_DEVICE": "cuda:0", "CUDA_VISIBLE_DEVICES": "-1"})


def test_taking_a_device_hides_the_others_and_means_the_same_when_asked_again(machine, monkeypatch) -> None:
    machine(4)
    monkeypatch.setenv("HARMONY_DEVICE", "cuda:2")
    device = owned()
    device.take()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert owned() == device


@pytest.mark.parametrize(
    ("slot", "other", "shared"),
    [
        ("a/cuda:0,1", "a/cuda:1", True),
        ("a/cuda:0", "a/cuda:1", False),
        ("a/cuda:1", "a/cuda:11", False),
        ("a/cuda:1", "b/cuda:1", False),
        ("a/cuda:1", "a/cuda:1#2", False),
        ("a/cuda:1#2", "a/cuda:1#2", True),
        ("a/cpu", "a/cpu", True),
        ("a/cpu", "a/cpu:1", False),
        ("", "", False),
    ],
)
def test_slots_that_share_a_device(slot, other, shared) -> None:
    assert overlap(slot, other) is overlap(other, slot) is shared


# --- runs ---


def test_one_run_a_device(world) -> None:
    first, second = start(world), start(world)
    held = state.claim(first.uuid, "host:1", slot="host/cuda:0,1")
    assert held.slot == "host/cuda:0,1"
    for slot in ("host/cuda:0,1", "host/cuda:1"):
        with pytest.raises(SlotTaken, match="is taken by the run “a run”"):
            state.claim(second.uuid, "host:2", slot=slot)
    second.refresh_from_db()
    assert (second.state, second.attempts, second.slot) == ("queued", 0, "")
    assert state.claim(first.uuid, "host:2", slot="host/cuda:0,1") is None, "not queued: nothing to wait for"
    state.fail(held, "Broke off.")
    assert state.claim(second.uuid, "host:2", slot="host/cuda:1") is not None
    first.refresh_from_db()
    assert first.slot == "host/cuda:0,1", "where it ran stays on record"


def test_the_database_itself_refuses_two_runs_on_one_device(world) -> None:
    first, second = start(world), start(world)
    state.claim(first.uuid, "host:1", slot="host/cpu")
    fields = {"state": "claimed", "attempt": "0" * 32, "slot": "host/cpu"}
    with pytest.raises(IntegrityError), transaction.atomic():
        Run.objects.filter(pk=second.pk).update(**fields)


def test_a_run_that_goes_back_frees_its_device(world) -> None:
    first, second = start(world), start(world)
    state.hand_back(state.claim(first.uuid, "host:1", slot="host/cpu"), "Back.")
    held = state.claim(second.uuid, "host:1", slot="host/cpu")
    Run.objects.filter(pk=held.pk).update(heartbeat=ago(61))
    row = Run.objects.get(pk=held.pk)
    assert state.take_away(row, before=ago(60), why="Lost.", requeue=True)
    assert state.claim(first.uuid, "host:1", slot="host/cpu") is not None


@pytest.mark.django_db(transaction=True)
def test_of_many_who_ask_one_gets_the_device(world) -> None:
    runs = [start(world) for _ in range(8)]
    # Half ask for both GPUs, half for one of them: no constraint of the database sees that they overlap.
    slots = ["host/cuda:0,1", "host/cuda:1"] * 4
    got: list[str] = []
    barrier = threading.Barrier(len(runs))

    def ask(run: Run, slot: str) -> None:
        barrier.wait()
        try:
            if state.claim(run.uuid, "host:1", slot=slot):
                got.append(slot)
        except SlotTaken:
            pass
        finally:
            connection.close()

    threads = [threading.Thread(target=ask, args=pair) for pair in zip(runs, slots, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert Run.objects.filter(state="claimed").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_run_waits_for_its_turn_and_says_for_what(world, settings) -> None:
    settings.RUN_TURN_SECONDS = 0.05
    first, second = start(world), start(world)
    held = state.claim(first.uuid, "host:1", slot="host/cpu")
    heard: list[str] = []
    got: list[Claim | None] = []

    def ask() -> None:
        got.append(turns.take_turn(second.uuid, "host:2", "host/cpu", heard.append))
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    while not heard:
        thread.join(0.05)
    thread.join(0.3)
    assert thread.is_alive()
    state.succeed(held, {})
    thread.join(10)
    assert got
    assert got[0] is not None
    assert heard == [f"host/cpu is taken by the run “a run” ({str(first.uuid)[:8]})."]
    second.refresh_from_db()
    assert second.log.count("Waits: host/cpu is taken") == 1


def test_a_worker_that_ends_hands_the_waiting_run_back(world, monkeypatch) -> None:
    first, second = start(world), start(world)
    state.claim(first.uuid, "host:1", slot="host/cpu")
    stopping = threading.Event()
    stopping.set()
    monkeypatch.setattr(workers, "stopping", stopping)
    monkeypatch.setattr(workers, "handed_back", [])
    assert turns.take_turn(second.uuid, "host:2", "host/cpu") is None
    assert workers.handed_back == [second]


def test_a_run_that_is_cancelled_while_it_waits_is_left_alone(world, settings) -> None:
    settings.RUN_TURN_SECONDS = 0.01
    first, second = start(world), start(world)
    state.claim(first.uuid, "host:1", slot="host/cpu")
    told: list[str] = []

    def cancel(why: str) -> None:
        told.append(why)
        state.give_up_waiting(second.uuid, "Enough.")

    assert turns.take_turn(second.uuid, "host:2", "host/cpu", cancel) is None
    second.refresh_from_db()
    assert (second.state, second.reason, len(told)) == ("cancelled", "Enough.", 1)


def test_ctrl_c_while_it_waits_cancels_it(world) -> None:
    first, second = start(world), start(world)
    state.claim(first.uuid, "host:1", slot="host/cpu")

    def pressed(why: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        turns.take_turn(second.uuid, "host:2", "host/cpu", pressed)
    second.refresh_from_db()
    assert second.reason == "Cancelled from the keyboard while it waited for host/cpu."


def test_the_sweep_sends_nothing_to_a_worker_whose_device_is_taken(world, sent) -> None:  # noqa: F811
    first, second = start(world), start(world)
    Run.objects.update(created=ago(30))
    Worker.objects.create(name="host:1", queues="training", slot="host/cpu", seen=timezone.now())
    held = state.claim(first.uuid, "host:2 (command line)", slot="host/cpu")
    assert not sweep()
    state.succeed(held, {})
    assert sweep().resent == ("a run",)
    assert sent == [str(second.uuid)]


def test_a_run_that_asks_for_a_gpu_is_refused_on_a_cpu(world) -> None:
    run = start(world)
    run.recipe |= {"device": "auto"}
    claim = Claim(run.pk, run.uuid, run.uuid, "host:1", 1, "host/cpu:1")
    assert _device(run, claim) == "auto"
    run.recipe |= {"device": "cuda"}
    with pytest.raises(JobImpossible, match="asks for a GPU, and host:1 computes on host/cpu:1"):
        _device(run, claim)
    run.recipe |= {"device": "auto"}
    assert _device(run, Claim(run.pk, run.uuid, run.uuid, "host:1", 1, "host/cuda:3")) == CUDA


# --- workers ---


def other_worker(slot: str, **fields) -> None:
    Worker.objects.create(
        **{"name": "elsewhere:1", "queues": "training", "slot": slot, "seen": timezone.now()} | fields
    )


def test_a_worker_says_what_it_owns(db, machine, monkeypatch) -> None:
    machine(2)
    monkeypatch.setenv("HARMONY_DEVICE", "cuda:1")
    workers.settle(["training"])
    row = Worker.objects.get()
    assert (row.device, row.slot) == ("cuda:1", Device(CUDA, ("1",)).slot)
    assert workers.slot == row.slot
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    Worker.objects.all().delete()  # as the sweep does with one that was silent for long
    workers.beat("training")
    again = Worker.objects.get()
    assert (again.device, again.slot) == (row.device, row.slot)


def test_a_worker_that_performs_no_runs_owns_nothing(db, machine) -> None:
    machine(2)
    workers.settle(["default"])
    assert (Worker.objects.get().slot, workers.slot) == ("", "")
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_second_worker_on_the_cpu_gets_the_next_place(db, machine, monkeypatch) -> None:
    monkeypatch.setenv("HARMONY_DEVICE", "cpu")
    other_worker(Device("cpu").slot)
    other_worker(Device("cpu", place=1).slot, name="elsewhere:2")
    workers.settle(["training"])
    assert Worker.objects.get(name=workers.worker_name()).device == "cpu:2"


def test_a_gpu_is_refused_twice_unless_it_is_shared(db, machine, monkeypatch) -> None:
    machine(4)
    monkeypatch.setenv("HARMONY_DEVICE", "cuda:1,2")
    slot = Device(CUDA, ("1", "2")).slot
    other_worker(Device(CUDA, ("2", "3")).slot)
    with pytest.raises(workers.DeviceTaken, match="cuda:1,2 of this machine belongs to the worker elsewhere:1"):
        workers.settle(["training"])
    assert Worker.objects.count() == 1
    monkeypatch.setenv("HARMONY_DEVICE_SHARED", "1")
    workers.settle(["training"])
    assert workers.slot == f"{slot}#2"


def test_a_dead_worker_owns_nothing(db, machine, monkeypatch) -> None:
    machine(1)
    host = workers.worker_name().partition(":")[0]
    other_worker(Device(CUDA, ("0",)).slot, name=f"{host}:4194304")  # no process has this number
    other_worker(Device(CUDA, ("0",)).slot, name="elsewhere:1", seen=timezone.now() - timedelta(seconds=61))
    workers.settle(["training"])
    assert workers.slot.endswith("/cuda:0")
