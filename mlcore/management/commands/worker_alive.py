"""manage.py worker_alive: exit 0 where a worker on this host reported lately (a container's health check)."""

import socket
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mlcore.runs.health import workers_alive


class Command(BaseCommand):
    help = "Whether a worker on this host lives; exit status 1 where none does."

    def handle(self, *args: Any, **options: Any) -> None:
        host = socket.gethostname()
        here = [worker for worker in workers_alive() if worker.name.startswith(f"{host}:")]
        if not here:
            raise CommandError(f"No worker on {host} has reported within the last minute.")
        for worker in here:
            self.stdout.write(f"{worker.name} {worker.queues}")
