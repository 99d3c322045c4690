"""The application as it is served: gunicorn with two processes on a free port, on the database of whoever asks."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parents[2]


def database_url() -> str:
    """Where this process' rows are: under pytest that is the test's database."""
    said = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{said['NAME']}"
    secret = f":{said['PASSWORD']}" if said["PASSWORD"] else ""
    return f"postgres://{said['USER']}{secret}@{said['HOST'] or '127.0.0.1'}:{said['PORT'] or 5432}/{said['NAME']}"


def media_folder() -> str:
    return str(settings.STORAGES["default"]["OPTIONS"]["location"])


@contextmanager
def served(folder: Path, *, workers: int = 2, threads: int = 4) -> Iterator[str]:
    """Serves this process' database and files; `folder` takes the log. Yields the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}"
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "DATABASE_URL": database_url(),
        "STORAGE_URL": f"file://{media_folder()}",
        "HARMONY_VAR": str(folder),
        "SECRET_KEY": settings.SECRET_KEY,
        "DEBUG": "1",  # static files from where they lie, without collecting them first
        "LOG_LEVEL": "WARNING",
    }
    command = [
        sys.executable, "-m", "gunicorn", "harmony.wsgi:application", "--bind", address, "--no-control-socket",
        "--workers", str(workers), "--threads", str(threads), "--worker-tmp-dir", str(folder),
    ]  # fmt: skip
    log = folder / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=stream)
    try:
        _wait(address, process, log)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait(address: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"The server ended: {log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"http://{address}/healthz", timeout=5) as reply:
                if reply.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"The server does not answer: {log.read_text()[-2000:]}")
