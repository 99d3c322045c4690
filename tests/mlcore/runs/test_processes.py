"""A run that several processes or machines share: the curve of one, an end with a reason, and a way on from it."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from mlcore.catalogue import RecipeError, clean
from mlcore.models import AuditEntry, Run
from mlcore.runs import join as joining
from mlcore.runs.child import why_it_died
from mlcore.runs.control import cancel, resume
from mlcore.runs.join import CannotJoin, join
from mlcore.runs.perform import perform
from mlcore.runs.processes import Launch, launch_of
from mlcore.runs.start import RunRefused
from tests.mlcore.runs.interrupted import cancelled_at
from tests.mlcore.runs.station import Station, fresh, processes_with, wait_for
from tests.mlcore.runs.world import World, make_supervision, make_world, start

# No BatchNorm; what SqueezeNet drops out is other in each process, and its collages are made of the images that a
# process has: both are put aside by a module that Python loads in every process at its start.
WITHOUT_CHANCE = """
import os
if os.environ.get("RANK") or os.environ.get("ALONE"):
    import torch
    torch.nn.Dropout.forward = lambda self, features: features
if os.environ.get("ALONE"):  # collages as two processes make them
    from mlcore.objectives import collage, grid
    def halves(labels, ids, *, seed, step, **others):
        made = []
        for rank in (0, 1):
            mine = torch.arange(rank, len(ids), 2)
            plan = collage.plan_collages(labels[mine], ids[rank::2], seed=seed, step=step)
            made.append(collage.Collages(mine[plan.rows], plan.quadrants, mine[plan.sources]))
        parts = zip(*((one.rows, one.quadrants, one.sources) for one in made))
        return collage.Collages(*(torch.cat(part) for part in parts))
    grid.plan_collages = halves
"""
RECIPE = {
    "architecture": "squeezenet1_1", "image_size": 64, "resize": "squash", "batch_size": 5, "epochs": 2,
    "optimizer": "sgd", "learning_rate": 0.01, "select": "last",
}  # fmt: skip
TOLERANCE = 2e-4


@pytest.fixture
def no_chance(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WITHOUT_CHANCE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), str(settings.BASE_DIR)]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return monkeypatch


def curve(run: Run) -> list[float]:
    assert run.state == "succeeded", run.reason + run.log
    return list(run.metrics.filter(part="train", name="loss").order_by("step").values_list("value", flat=True))


def trained_alone(world: World, monkeypatch, **recipe) -> list[float]:
    with monkeypatch.context() as patched:
        patched.setenv("ALONE", "1")
        return curve(perform(begun(world, processes=1, **recipe).uuid, worker_name="here:1"))


def begun(world: World, **recipe) -> Run:
    supervision = None
    if recipe.get("objective") == "gradia":
        supervision = world.image_set.supervision_sets.first() or make_supervision(world)
    return start(world, seed=3, supervision=supervision, recipe=RECIPE | recipe)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["supervised", "gradia", "grid"])
def test_two_processes_have_the_curve_of_one_with_the_whole_batch(world, no_chance, objective: str) -> None:
    """Five images a batch: three here and two there."""
    alone = trained_alone(world, no_chance, objective=objective)
    shared = perform(begun(world, objective=objective, processes=2).uuid, worker_name="here:1")
    assert curve(shared) == pytest.approx(alone, abs=TOLERANCE)
    assert len(alone) > 5


def second_process(run: Run) -> int:
    """Of the run's processes, the one with rank 1."""
    for pid in processes_with(str(Path(settings.RUNS_DIR) / str(run.uuid))):
        if b"\0RANK=1\0" in b"\0" + Path(f"/proc/{pid}/environ").read_bytes():
            return pid
    raise AssertionError("there is no second process")


@pytest.mark.slow
def test_a_killed_process_ends_the_run_with_its_reason_and_one_goes_on_alone(world, no_chance) -> None:
    run = begun(world, processes=2)
    killed: list[int] = []

    def kill(event) -> None:
        if event["event"] == "checkpoint" and not killed:
            killed.append(second_process(run))
            os.kill(killed[0], signal.SIGKILL)

    failed = perform(run.uuid, worker_name="here:1", on_event=kill)
    assert failed.state == "failed"
    assert failed.reason == (
        "One of 2 processes was ended by the system (signal 9), perhaps for want of memory."
    ), failed.log  # fmt: skip
    assert Path(failed.checkpoint).is_file()
    assert not processes_with(str(Path(settings.RUNS_DIR) / str(run.uuid)))
    call_command("resume_run", str(run.uuid), "--processes", "1")
    assert AuditEntry.objects.filter(action="run.resume").latest("pk").after["processes"] in (1, "1")
    no_chance.setenv("ALONE", "1")
    done = perform(run.uuid, worker_name="here:1")
    assert "The run goes on with 1 process instead of 2" in done.log
    assert curve(done) == pytest.approx(trained_alone(world, no_chance), abs=TOLERANCE)


@pytest.mark.slow
def test_a_second_process_joins_a_run_that_one_has_begun(world, no_chance) -> None:
    run = begun(world, processes=1)
    no_chance.setenv("ALONE", "1")
    assert perform(run.uuid, worker_name="here:1", on_event=cancelled_at("checkpoint", run)).state == "cancelled"
    no_chance.delenv("ALONE")
    resume(fresh(run), None, enqueue=False, scale={"processes": 2})
    done = perform(run.uuid, worker_name="here:1")
    assert "The run goes on with 2 processes instead of 1" in done.log
    assert curve(done) == pytest.approx(trained_alone(world, no_chance), abs=TOLERANCE)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_two_machines_share_a_run(no_chance, tmp_path) -> None:
    world = make_world()
    alone = trained_alone(world, no_chance)
    run = begun(world, nodes=2, rendezvous=f"127.0.0.1:{free_port()}", processes=1)
    there = Station(tmp_path, settings.BROKER_URL)
    try:
        other = there.start(sys.executable, "manage.py", "join_run", str(run.uuid))
        wait_for(lambda: "is not running yet: waiting for a worker" in there.said)
        done = perform(run.uuid, worker_name="here:1")
        assert curve(done) == pytest.approx(alone, abs=TOLERANCE), there.said
        assert other.wait(60) == 0, there.said
    finally:
        there.end()
    assert there.said.count("Joined: process") == there.said.count("Joining") == 1
    assert "succeeded." in there.said
    with pytest.raises(CannotJoin, match="has ended already"):
        join(run.uuid)


def test_who_cannot_join(world) -> None:
    run = begun(world)
    with pytest.raises(CannotJoin, match="runs on one machine"):
        join(run.uuid)
    waiting = begun(world, nodes=2, rendezvous="127.0.0.1:29400")
    said: list[str] = []

    def end(sentence: str) -> None:
        said.append(sentence)
        cancel(fresh(waiting), None)

    with pytest.raises(CannotJoin, match=r"ended \(cancelled\) before this machine"):
        join(waiting.uuid, end)
    assert said == ["“a run” is not running yet: waiting for a worker to take it."]


def test_the_name_of_the_mark_is_the_same_in_both_rooms() -> None:
    from mlcore.training.machine import JOINED

    assert joining.JOINED == JOINED


@pytest.mark.parametrize(
    ("recipe", "field", "sentence"),
    [
        ({"processes": 9, "batch_size": 8}, "processes", "A batch of 8 cannot be shared by 9 processes."),
        ({"nodes": 9, "batch_size": 8, "rendezvous": "a:1"}, "nodes", "cannot be shared by 9 processes"),
        ({"accumulate": 5, "batch_size": 8}, "accumulate", "a batch of 8 is too small for 5 parts."),
        ({"accumulate": 2, "batch_size": 6, "processes": 2}, "accumulate", "for 2 parts in each of 2 processes."),
        ({"nodes": 2}, "rendezvous", "Several machines need a place to meet"),
        ({"rendezvous": "localhost:29400"}, "rendezvous", "One machine needs no rendezvous"),
        ({"nodes": 2, "rendezvous": "localhost"}, "rendezvous", "“localhost” is not host:port"),
        ({"nodes": 2, "rendezvous": "localhost:0"}, "rendezvous", "is not host:port"),
        ({"nodes": 2, "rendezvous": "--flag:29400"}, "rendezvous", "is not host:port"),
    ],
)
def test_what_a_recipe_cannot_ask_for(recipe, field, sentence) -> None:
    with pytest.raises(RecipeError) as refused:
        clean("train", recipe)
    assert sentence in refused.value.errors[field]


def test_what_a_deployment_does_not_allow(world, settings) -> None:
    settings.RUN_PROCESSES = 2
    with pytest.raises(RunRefused) as refused:
        begun(world, processes=3)
    assert refused.value.errors == {
        "processes": "The run asks for 3 processes; this deployment gives a run 2 (RUN_PROCESSES)."
    }
    queued = begun(world, processes=2)
    settings.RUN_PROCESSES = 1  # lowered since
    assert perform(queued.uuid, worker_name="here:1").reason == (
        "The run asks for 2 processes; this deployment gives a run 1 (RUN_PROCESSES)."
    )
    with pytest.raises(RunRefused) as refused:
        begun(world, nodes=2, rendezvous="elsewhere.example:29400")
    assert "127.0.0.1, localhost only" in refused.value.errors["rendezvous"]


def gpus(monkeypatch, count: int) -> None:
    monkeypatch.setattr("mlcore.runs.devices._count", lambda: count)
    monkeypatch.delenv("HARMONY_DEVICE", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_how_many_processes_a_machine_starts(world, settings, monkeypatch) -> None:
    open_run, two = (begun(world, processes=count, device="auto") for count in (0, 2))
    on_cpu = begun(world, processes=2)
    gpus(monkeypatch, 0)
    assert [launch_of(run, 1).processes for run in (open_run, two)] == [1, 2]  # a CPU is shared by as many as asked
    gpus(monkeypatch, 4)
    assert [launch_of(run, 1).processes for run in (open_run, two)] == [4, 2]
    settings.RUN_PROCESSES = 3
    assert launch_of(open_run, 1).processes == 3
    settings.RUN_PROCESSES = 0
    gpus(monkeypatch, 8)
    assert launch_of(open_run, 1).processes == 5  # as many as a batch has images
    in_parts = begun(world, device="auto", batch_size=12, accumulate=3)
    assert launch_of(in_parts, 1).processes == 2
    gpus(monkeypatch, 1)
    assert launch_of(on_cpu, 1).processes == 2
    done = perform(two.uuid, worker_name="here:1")  # refused before any process starts
    assert (done.state, done.started is not None) == ("failed", True)
    assert done.reason.startswith("The run asks for 2 processes, one a device, and this worker owns one GPU (cuda:0)")


def test_the_command_of_each_way() -> None:
    assert Launch().command() == [sys.executable, "-m"]
    here = Launch(processes=2).command()
    assert here[1:4] == ["-m", "torch.distributed.run", "--standalone"]
    assert "--rdzv-endpoint" not in here
    apart = Launch(processes=1, nodes=2, rendezvous="node0:29400", name="run-1").command()
    pairs = dict(zip(apart[3:-1:2], apart[4:-1:2], strict=True))
    assert pairs["--nnodes"] == "2"
    assert pairs["--rdzv-endpoint"] == "node0:29400"
    assert pairs["--rdzv-id"] == "run-1"
    assert pairs["--nproc-per-node"] == "1"


def test_why_several_processes_died() -> None:
    two = Launch(processes=2)
    said = ["  exitcode  : -15 (pid: 7)", "  exitcode  : -9 (pid: 8)", "last"]
    assert why_it_died(1, said, two).startswith("One of 2 processes was ended by the system (signal 9)")
    assert why_it_died(1, ["  exitcode  : -6 (pid: 8)"], two) == "One of 2 processes was ended by signal 6 (SIGABRT)."
    assert why_it_died(1, ["  exitcode  : 1 (pid: 8)", "last"], two).endswith("Its last words: last")
    away = why_it_died(1, ["RendezvousTimeoutError"], Launch(nodes=2, rendezvous="node0:29400"))
    assert away.startswith("The 2 machines of the run did not meet at node0:29400")
    assert why_it_died(-9, []).startswith("The training process was ended by the system")
