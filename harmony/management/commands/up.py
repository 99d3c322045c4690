"""manage.py up [--address 127.0.0.1:8000]: web and workers, until Ctrl-C."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from harmony.supervisor import AddressTaken, Supervisor, refuse_taken, services


class Command(BaseCommand):
    help = "Start the pages, the workers and the clock; Ctrl-C ends them together."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--address", default="127.0.0.1:8000", help="host:port (default %(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        address = options["address"]
        try:
            refuse_taken(address)
        except (AddressTaken, ValueError) as error:
            raise CommandError(str(error)) from error
        _refuse_old_tables()
        supervisor = Supervisor(services(address, var=Path(settings.VAR_DIR)), folder=settings.BASE_DIR)
        supervisor.run(ready=lambda: supervisor.say(f"http://{address}/  (Ctrl-C ends everything)"))
        supervisor.say("Everything has ended.")


def _refuse_old_tables() -> None:
    try:
        executor = MigrationExecutor(connection)
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CommandError(f"The database does not answer: {first}") from error
    finally:
        connection.close()
    if waiting:
        raise CommandError(
            f"The database is not up to date ({len(waiting)} migrations wait): run “manage.py migrate” first."
        )
