"""Real processes on the test's own database, storage and broker: commands and workers as they are deployed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from mlcore.models import Run


def database_url() -> str:
    """The address of the database that this test uses."""
    found = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{found['NAME']}"
    login = found["USER"] + (f":{found['PASSWORD']}" if found["PASSWORD"] else "")
    return f"postgres://{login}@{found['HOST'] or '127.0.0.1'}:{found['PORT'] or 5432}/{found['NAME']}"


class Station:
    """Starts processes of ours with the environment of one deployment, and ends them all."""

    def __init__(self, folder: Path, broker: str) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []
        self.environment = os.environ | {
            "SECRET_KEY": "station",
            "DEBUG": "1",
            "HARMONY_VAR": str(folder),
            "HARMONY_RUNS": str(settings.RUNS_DIR),
            "STORAGE_URL": f"file://{settings.MEDIA_ROOT}",
            "DATABASE_URL": database_url(),
            "BROKER_URL": broker,
        }

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=settings.BASE_DIR, env=self.environment, capture_output=True, text=True, check=check, timeout=120,
        )  # fmt: skip

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """A process that goes on; what it says lies in `said`."""
        with (self.folder / "said.txt").open("ab") as said:
            process = subprocess.Popen(command, cwd=settings.BASE_DIR, env=self.environment, stdout=said, stderr=said)
        self.started.append(process)
        return process

    def worker(self, queue: str = "training") -> subprocess.Popen[bytes]:
        """A Celery worker as the deployment starts it."""
        celery = [sys.executable, "-m", "celery", "--app", "harmony", "worker", "--pool", "solo"]
        return self.start(*celery, "--queues", queue, "--hostname", f"{queue}{len(self.started)}@%h")

    @property
    def said(self) -> str:
        path = self.folder / "said.txt"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()


def wait_for(what: Callable[[], Any], seconds: float = 240) -> Any:
    """The first true value of `what()`; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain")


def fresh(run: Run) -> Run:
    return Run.objects.get(pk=run.pk)


def processes_with(text: str) -> list[int]:
    """Ids of living processes whose command line holds `text`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            if text.encode() in (entry / "cmdline").read_bytes() and state != "Z":
                found.append(int(entry.name))
        except (OSError, IndexError):
            continue
    return found
