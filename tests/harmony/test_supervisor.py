"""One command starts web, workers and clock, and leaves nothing behind, however it ends."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest
from django.conf import settings

from harmony import supervisor
from harmony.supervisor import AddressTaken, Service, Supervisor, refuse_taken
from mlcore.runs import devices
from tests.mlcore.runs.conftest import _folders  # noqa: F401  (files stay in the test's own folder)
from tests.mlcore.runs.station import Station, processes_with, wait_for


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def run_for(made: Supervisor, until, seconds: float = 20) -> None:
    """Run in this thread until `until()` holds; fails where it never does."""
    held: list[bool] = []

    def watch() -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not held:
            if until():
                held.append(True)
            time.sleep(0.02)
        made.stop()

    threading.Thread(target=watch).start()
    made.run()
    assert held


def test_a_dead_child_starts_again_each_time_later(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_WAIT", 0.1)
    out, times = StringIO(), tmp_path / "times"
    short = Service("short", python(f"import time; open({str(times)!r}, 'a').write(f'{{time.time()}}\\n')"), wait=0.1)
    made = Supervisor([short], folder=tmp_path, out=out)
    run_for(made, lambda: times.exists() and len(times.read_text().splitlines()) >= 4)
    starts = [float(entry) for entry in times.read_text().splitlines()]
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert gaps[1] >= 0.2
    assert gaps[2] >= 0.4
    assert "short ended with status 0; it starts again in 0.1 s." in out.getvalue()
    assert "it starts again in 0.4 s." in out.getvalue()


def test_lines_carry_the_name_of_who_said_them(tmp_path) -> None:
    out = StringIO()
    talk = Service("talk", python("print('hello'); import sys, time; print('oh', file=sys.stderr); time.sleep(60)"))
    run_for(Supervisor([talk], folder=tmp_path, out=out), lambda: "oh" in out.getvalue())
    assert {"talk    │ hello", "talk    │ oh"} <= set(out.getvalue().splitlines())


def test_children_that_do_not_listen_and_their_children_end_too(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.5)
    mark = f"stubborn-{os.getpid()}"
    inner = f"import time; time.sleep(600)  # {mark}"
    outer = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"subprocess.Popen([sys.executable, '-c', {inner!r}]); time.sleep(600)"
    )
    made = Supervisor([Service("deaf", python(outer))], folder=tmp_path, out=StringIO())
    run_for(made, lambda: len(processes_with(mark)) == 2)
    assert wait_for(lambda: not processes_with(mark), 5)


def test_an_address_that_is_taken_or_none() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(AddressTaken, match=f"Nothing can listen on 127.0.0.1:{port}"):
            refuse_taken(f"127.0.0.1:{port}")
    refuse_taken(f"127.0.0.1:{port}")
    for wrong in ("8000", "127.0.0.1:", "127.0.0.1:99999", ":80"):
        with pytest.raises(ValueError, match="no address"):
            refuse_taken(wrong)


@pytest.fixture
def station(transactional_db, tmp_path):
    made = Station(tmp_path, settings.BROKER_URL)
    yield made
    made.end()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def children_of(parent: int) -> set[int]:
    """Every process below `parent`."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            above = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        below.setdefault(above, []).append(int(entry.name))
    found: set[int] = set()
    waiting = [parent]
    while waiting:
        for child in below.get(waiting.pop(), []):
            found.add(child)
            waiting.append(child)
    return found


def alive(processes: set[int]) -> set[int]:
    living = set()
    for process in processes:
        try:
            if (Path("/proc") / str(process) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                living.add(process)
        except OSError:
            continue
    return living


def answers(port: int, path: str = "healthz") -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_up_serves_and_leaves_nothing_behind(station, sign) -> None:
    port = free_port()
    process = station.start(sys.executable, "manage.py", "up", "--address", f"127.0.0.1:{port}")
    wait_for(lambda: answers(port, "readyz"))  # database, broker, storage and a worker
    below = children_of(process.pid)
    commands = " ".join((Path("/proc") / str(each) / "cmdline").read_text() for each in alive(below))
    assert all(word in commands for word in ("gunicorn", "default@%h", "interactive@%h", "training@%h", "beat"))
    if sign == signal.SIGTERM:
        second = station.manage("up", "--address", f"127.0.0.1:{port}", check=False)
        assert second.returncode == 1
        assert "Nothing can listen on" in second.stderr
    process.send_signal(sign)
    status = process.wait(240)
    if sign == signal.SIGTERM:
        assert status == 0
        assert alive(below) == set()
        assert "Everything has ended." in station.said
    else:
        wait_for(lambda: not alive(below), 20)  # nobody could end them: they ended with their parent
    assert not answers(port)


def test_up_wants_a_database_that_is_up_to_date(tmp_path) -> None:
    environment = os.environ | {"SECRET_KEY": "x", "HARMONY_VAR": str(tmp_path)}
    environment["DATABASE_URL"] = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    done = subprocess.run(
        [sys.executable, "manage.py", "up", "--address", f"127.0.0.1:{free_port()}"],
        cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "run “manage.py migrate” first" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("environment", "gpus", "expected"),
    [
        ({}, (), {"training": {}}),
        ({}, ("0",), {"training": {}}),
        ({}, ("4", "7"), {"training-0": {"HARMONY_DEVICE": "cuda:0"}, "training-1": {"HARMONY_DEVICE": "cuda:1"}}),
        ({"HARMONY_DEVICE": "cuda:0,1"}, ("4", "7"), {"training": {}}),
        ({"RUN_PROCESSES": "2"}, ("4", "7"), {"training": {}}),
        ({"HARMONY_DEVICE": "cuda:9"}, ("4", "7"), {"training": {}}),
    ],
)
def test_one_training_worker_a_gpu(monkeypatch, environment, gpus, expected) -> None:
    for name in ("HARMONY_DEVICE", "RUN_PROCESSES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(devices, "gpus_seen", lambda environment: gpus)
    assert supervisor.training_workers() == expected


def test_a_service_is_given_its_environment(tmp_path) -> None:
    out = StringIO()
    named = Service("named", python("import os; print(os.environ['HARMONY_DEVICE'])"), {"HARMONY_DEVICE": "cuda:3"})
    run_for(Supervisor([named], folder=tmp_path, out=out), lambda: "named   │ cuda:3" in out.getvalue())
