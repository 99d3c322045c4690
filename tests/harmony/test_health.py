"""Health: alive is not ready; a part that fails is named."""

import pytest
from django.test import Client
from django.utils import timezone

from harmony import health
from mlcore.models import Worker

pytestmark = pytest.mark.django_db


def test_alive_needs_nothing(client: Client) -> None:
    assert client.get("/healthz").content == b"ok"


def test_ready_names_the_missing_worker(client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"] == {"database": "ok", "broker": "ok", "storage": "ok", "worker": "failed"}


def test_ready_with_a_worker(client: Client) -> None:
    Worker.objects.create(name="host:1", queues="default", seen=timezone.now())
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["ready"] is True


def test_a_lost_database_is_named_without_its_reason(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> None:
        raise OSError("password of the database")

    monkeypatch.setitem(health.CHECKS, "database", lost)
    answer = client.get("/readyz")
    assert answer.json()["parts"]["database"] == "failed"
    assert "password" not in answer.content.decode()


def test_a_full_or_read_only_storage_is_named(client: Client, monkeypatch: pytest.MonkeyPatch, settings) -> None:
    from django.core.files.storage import FileSystemStorage

    monkeypatch.setattr(health, "default_storage", FileSystemStorage(location="/proc/no-such-place"))
    assert client.get("/readyz").json()["parts"]["storage"] == "failed"
