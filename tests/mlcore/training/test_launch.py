"""A job in a process of its own: what it writes, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from mlcore.training.jobs import SUCCEEDED, run_job
from mlcore.training.weights import load_weights
from tests.mlcore.training.worlds import Events, make_items, make_job

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "mlcore.training.launch"]
# The same number of threads as here: other sums would be rounded in another order.
THREADS = {"OMP_NUM_THREADS": str(torch.get_num_threads()), "OMP_WAIT_POLICY": "passive"}
OPTIONS: dict[str, Any] = {
    # SqueezeNet drops out units, so that the random state has to be restored too.
    "architecture": "squeezenet1_1",
    "epochs": 3,
    "image_size": 40,
    "random_crop": True,
    "resize": "squash",
    # The last weights: those of an earlier epoch would be equal whatever became of the rest.
    "select": "last",
    "checkpoint_minutes": 1e-9,
}


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        "train": make_items(tmp_path / "train", 32, prefix="t", seed=1),
        "validation": make_items(tmp_path / "validation", 6, prefix="v", seed=2),
    }


def start(job: dict[str, Any], file: Path, **options: Any) -> subprocess.Popen[bytes]:
    file.write_text(json.dumps(job))
    return subprocess.Popen(
        [*COMMAND, str(file)],
        cwd=ROOT,
        env=os.environ | THREADS,
        **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **options},
    )


def until(process: subprocess.Popen[bytes], kind: str, **fields: Any) -> dict[str, Any]:
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == kind and fields.items() <= event.items():
            return event
    raise AssertionError(f"the process ended without “{kind}”")


def rest(process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    assert process.stdout is not None
    events = [json.loads(line) for line in process.stdout]
    process.wait(30)
    return events


def test_killed_and_resumed_equals_an_uninterrupted_run(tmp_path: Path, parts: dict[str, list[dict[str, Any]]]) -> None:
    whole = make_job(tmp_path / "whole", parts, **OPTIONS)
    assert run_job(whole, Events()) == SUCCEEDED
    job = make_job(tmp_path / "killed", parts, **OPTIONS)
    process = start(job, tmp_path / "job.json")
    until(process, "checkpoint", step=6)  # the second of four steps of the second epoch
    process.send_signal(signal.SIGKILL)
    assert "result" not in {event["event"] for event in rest(process)}
    assert process.returncode == -signal.SIGKILL
    resumed = start({**job, "resume": str(tmp_path / "killed")}, tmp_path / "again.json")
    events = rest(resumed)
    assert resumed.returncode == 0
    assert events[-1]["event"] == "result"
    steps = [row["step"] for e in events if e["event"] == "metrics" for row in e["rows"] if row["name"] == "loss"]
    assert steps[0] > 6
    expected = load_weights(tmp_path / "whole" / "weights.safetensors")
    found = load_weights(tmp_path / "killed" / "weights.safetensors")
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_sigterm_cancels_with_a_checkpoint(tmp_path: Path, parts: dict[str, list[dict[str, Any]]]) -> None:
    options = OPTIONS | {"epochs": 500, "checkpoint_minutes": 0}
    process = start(make_job(tmp_path / "run", parts, **options), tmp_path / "job.json")
    until(process, "progress", stage="training")
    process.send_signal(signal.SIGTERM)
    events = rest(process)
    assert process.returncode == 3
    assert events[-1]["event"] == "cancelled"
    assert Path(events[-1]["checkpoint"]).is_file()
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]


PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "mlcore.training.launch", sys.argv[1]],
                         stdin=getattr(subprocess, sys.argv[2]), stdout=open(sys.argv[3], "wb"))
print(child.pid, flush=True)
child.wait()
"""


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked at through /proc")
@pytest.mark.parametrize("stdin", ["PIPE", "DEVNULL"])
def test_the_child_dies_with_its_parent(tmp_path: Path, parts: dict[str, list[dict[str, Any]]], stdin: str) -> None:
    """By the end of its input; and where that says nothing, by the kernel's signal."""
    job = make_job(tmp_path / "run", parts, **(OPTIONS | {"epochs": 5000, "checkpoint_minutes": 0}))
    (tmp_path / "job.json").write_text(json.dumps(job))
    output = tmp_path / "out.jsonl"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "job.json"), stdin, str(output)],
        cwd=ROOT,
        env=os.environ | THREADS,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        wait_for(lambda: output.exists() and b'"training"' in output.read_bytes(), 60)
        assert lives(child)
        parent.kill()
        parent.wait(10)
        wait_for(lambda: not lives(child), 10)
    finally:
        parent.kill()
        if lives(child):
            os.kill(child, signal.SIGKILL)


def wait_for(condition: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def test_a_bad_job_file_is_one_line_and_status_1(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("{")
    done = subprocess.run(
        [*COMMAND, str(tmp_path / "job.json")], cwd=ROOT, capture_output=True, stdin=subprocess.DEVNULL
    )
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["event"] == "failed"
    assert done.returncode == 1


def test_standard_output_carries_events_only(tmp_path: Path) -> None:
    """Prints of Python and of compiled code end on standard error."""
    script = (
        "import os, sys; from mlcore.training.orphan import take_standard_output; "
        "descriptor = take_standard_output(); "
        "print('python'); sys.stdout.flush(); os.write(1, b'compiled\\n'); os.system('echo child'); "
        "from mlcore.training.events import JsonLines; "
        "JsonLines(descriptor)({'event': 'log', 'value': float('nan')})"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"event": "log", "value": None}]
    assert sorted(done.stderr.split()) == [b"child", b"compiled", b"python"]


WITHOUT_DROPOUT = """
import sys, torch
torch.nn.Dropout.forward = lambda self, features: features
from mlcore.training.launch import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_two_processes_train_like_one(
    tmp_path: Path, parts: dict[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without dropout (each process drops other units) and BatchNorm, up to the order of sums."""
    for item in parts["train"][:7]:  # unevenly spread over the processes: denominators are shared
        item |= {"w_p": 0.4, "w_a": 1.6}
    script = tmp_path / "train.py"
    script.write_text(WITHOUT_DROPOUT)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    options = OPTIONS | {"objective": "gradia", "optimizer": "sgd", "learning_rate": 0.01, "epochs": 2}
    options |= {"checkpoint_minutes": 0}
    monkeypatch.setattr(torch.nn.Dropout, "forward", lambda self, features: features)
    one = Events()
    assert run_job(make_job(tmp_path / "one", parts, **options), one) == SUCCEEDED
    job = tmp_path / "two.json"
    job.write_text(json.dumps(make_job(tmp_path / "two", parts, **options)))
    done = subprocess.run(
        [sys.executable, *torchrun, str(script), str(job)],
        cwd=ROOT,
        env=os.environ | THREADS | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    two = Events(json.loads(line) for line in done.stdout.splitlines())
    assert two[-1]["event"] == "result", done.stderr.decode()[-2000:]
    losses = [[value for _, value in events.metric("train", "loss")] for events in (one, two)]
    found = [load_weights(tmp_path / name / "weights.safetensors") for name in ("one", "two")]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], atol=1e-6)
