"""manage.py join_run RUN"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mlcore.management.arguments import find
from mlcore.models import Run
from mlcore.runs.devices import NoSuchDevice, owned
from mlcore.runs.join import CannotJoin, join


class Command(BaseCommand):
    help = (
        "Share a training run that was started for several machines: run this on every one but the worker's, with the "
        "same database, storage and folder of runs. It waits for the run, computes with it, and ends when the run ends."
    )
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run", help="name or UUID (or its first six letters)")

    def handle(self, *args: Any, **options: Any) -> None:
        def say(sentence: str) -> None:
            self.stdout.write(sentence)
            self.stdout.flush()

        try:
            owned().take()
            run = join(find(Run, options["run"]).uuid, say)
        except (CannotJoin, NoSuchDevice) as refused:
            raise CommandError(str(refused)) from refused
        except KeyboardInterrupt:
            raise CommandError(
                "Stopped: the run goes on when this machine, or another, joins it again.", returncode=130
            ) from None
        if run.state != Run.State.SUCCEEDED:
            raise CommandError(f"“{run}” {run.get_state_display()}: {run.reason}")
        self.stdout.write(self.style.SUCCESS(f"“{run}” {run.get_state_display()}."))
