"""Settings are safe when nothing is set, and each address of the environment is understood or refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client

ROOT = Path(__file__).resolve().parents[2]


def settings_with(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess:
    code = (
        "import environ; environ.Env.read_env = classmethod(lambda *a, **k: None)\n"
        "from django.conf import settings as s\n"
        "print(s.DEBUG, s.DATABASES['default']['ENGINE'], s.CELERY_BROKER_URL, s.SESSION_COOKIE_SECURE)"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "harmony.settings",
            "HARMONY_VAR": str(tmp_path),
            **environment,
        },
    )


def test_no_key_no_start(tmp_path: Path) -> None:
    done = settings_with(tmp_path)
    assert done.returncode != 0
    assert "SECRET_KEY is not set" in done.stderr


def test_the_embedded_default(tmp_path: Path) -> None:
    done = settings_with(tmp_path, SECRET_KEY="k" * 50)
    assert done.stdout.split() == ["False", "django.db.backends.sqlite3", "filesystem://", "False"]


def test_servers_by_address(tmp_path: Path) -> None:
    done = settings_with(
        tmp_path,
        SECRET_KEY="k" * 50,
        DATABASE_URL="postgres://a:b@db:5432/harmony",
        BROKER_URL="redis://queue:6379/0",
        HTTPS="1",
    )
    assert done.stdout.split() == ["False", "django.db.backends.postgresql", "redis://queue:6379/0", "True"]


def test_a_storage_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = settings_with(tmp_path, SECRET_KEY="k" * 50, STORAGE_URL="gopher://bucket")
    assert done.returncode != 0
    assert "STORAGE_URL='gopher://bucket' is not understood" in done.stderr


def test_sqlite_waits_instead_of_failing(db) -> None:
    from django.db import connection

    if connection.vendor != "sqlite":
        pytest.skip("this is about SQLite")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone()[0] == "wal"
        cursor.execute("PRAGMA busy_timeout")
        assert cursor.fetchone()[0] == 30000


@pytest.mark.django_db
def test_annotator_pages_keep_the_strict_policy_and_the_admin_its_own(client: Client) -> None:
    strict = client.get("/login/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in strict
    assert "unsafe" not in strict
    admin = client.get("/admin/login/").headers["Content-Security-Policy"]
    assert "'unsafe-eval'" in admin
    assert "default-src 'none'" in admin
    for page in ("/login/", "/admin/login/"):
        headers = client.get(page).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
