"""manage.py cancel_run RUN"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from mlcore.management.arguments import add_owner, find, find_owner, sentence_of
from mlcore.models import Run
from mlcore.runs.control import cancel
from mlcore.runs.start import RunRefused


class Command(BaseCommand):
    help = "Cancel a run: at once where it waits, after its step and with a checkpoint where it runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run", help="name or UUID (or its first six letters)")
        add_owner(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            run = cancel(find(Run, options["run"]), find_owner(options["owner"]))
        except RunRefused as refused:
            raise sentence_of(refused) from refused
        word = "cancelled" if run.state == Run.State.CANCELLED else "is asked to stop"
        self.stdout.write(f"{run.uuid} {word}: {run.name}")
