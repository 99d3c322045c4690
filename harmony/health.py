"""`/healthz`: this process lives. `/readyz`: database, broker, storage and workers answer, each by name."""

import logging
import uuid
from collections.abc import Callable

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from harmony.celery import app

logger = logging.getLogger(__name__)


def check_database() -> None:
    """Raises what the database raises."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def check_broker() -> None:
    """Opens a connection to the broker, two seconds at most."""
    with app.connection_for_write() as broker:
        broker.ensure_connection(max_retries=1, timeout=2)


def check_storage() -> None:
    """Writes, reads and removes a small file."""
    name = default_storage.save(f"health/{uuid.uuid4().hex}", ContentFile(b"ok"))
    try:
        with default_storage.open(name) as file:
            if file.read() != b"ok":
                raise OSError("the storage gave back other bytes than it was given")
    finally:
        default_storage.delete(name)


def check_worker() -> None:
    """A worker reported within the last minute."""
    from mlcore.runs.health import workers_alive

    if not workers_alive():
        raise RuntimeError("no worker has reported within the last minute")


CHECKS: dict[str, Callable[[], None]] = {
    "database": check_database,
    "broker": check_broker,
    "storage": check_storage,
    "worker": check_worker,
}


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok", content_type="text/plain")


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """503 with the parts that fail. Reasons go to the log, not to the anonymous reader."""
    parts = {}
    for name, check in CHECKS.items():
        try:
            check()
            parts[name] = "ok"
        except Exception as error:
            logger.warning("readyz: %s: %s", name, error)
            parts[name] = "failed"
    ready = all(state == "ok" for state in parts.values())
    return JsonResponse({"ready": ready, "parts": parts}, status=200 if ready else 503)
