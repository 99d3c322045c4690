"""manage.py resume_run RUN [--wait]"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from mlcore.management.arguments import add_owner, find, find_owner, sentence_of
from mlcore.management.run_command import device_here, perform_here
from mlcore.models import Run
from mlcore.runs.control import resume
from mlcore.runs.start import RunRefused

SCALE = {
    "processes": ("N", "processes on each machine"),
    "nodes": ("N", "machines"),
    "rendezvous": ("HOST:PORT", "where several machines meet"),
}


class Command(BaseCommand):
    help = "Queue a failed or cancelled run again; it goes on from its newest checkpoint."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run", help="name or UUID (or its first six letters)")
        parser.add_argument("--wait", action="store_true", help="perform the run here and now instead of queueing it")
        for name, what in SCALE.items():
            parser.add_argument(f"--{name}", metavar=what[0], help=f"{what[1]}, where it shall be another from now on")
        add_owner(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        scale = {name: options[name] for name in SCALE if options[name] is not None}
        owner = find_owner(options["owner"])
        if options["wait"]:
            device_here()
        try:
            run = resume(find(Run, options["run"]), owner, enqueue=not options["wait"], scale=scale)
        except RunRefused as refused:
            raise sentence_of(refused) from refused
        if options["wait"]:
            run = perform_here(run)
        self.stdout.write(f"{run.uuid} {run.state}: {run.name}")
