"""Everything set up, the whole loop once on decoy scenes, then the pages. `make demo` calls it."""

import signal
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from annotation import demo
from annotation.loop import LoopFailed
from annotation.loop_table import table
from harmony.terminal import Stages


class Command(BaseCommand):
    help = "Prepare the demonstration (a few minutes the first time, seconds after that) and start web and workers."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--address", default="127.0.0.1:8000", help="Where the pages are served.")
        parser.add_argument("--prepare-only", action="store_true", help="Do not start web and workers.")

    def handle(self, *args: Any, **options: Any) -> None:
        # A supervisor's TERM ends the preparation as Ctrl-C does.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            self._prepare(options)
        except KeyboardInterrupt:
            self.stdout.write("\nStopped. `make demo` goes on from here.")
            return
        if not options["prepare_only"]:
            call_command("up", address=options["address"])

    def _prepare(self, options: dict[str, Any]) -> None:
        line = Stages()
        line.stage("Preparing the database", 0.0)
        call_command("migrate", verbosity=0, interactive=False)
        line.stage("Collecting static files", 0.0)
        call_command("collectstatic", verbosity=0, interactive=False)
        line.end()
        people = demo.logins()
        owner = get_user_model().objects.get(username="researcher")
        try:
            result = demo.run_demo(owner, line.stage)
        except LoopFailed as error:
            raise CommandError(str(error)) from error
        finally:
            line.end()
        self.stdout.write("\nOn test pictures where the mark says nothing, one seed:\n")
        self.stdout.write(table([result], demo.DEMO["rates"]))
        self.stdout.write("\nSign in:")
        for person in people:
            self.stdout.write(
                f"  http://{options['address']}{person.page:<8} {person.name:<11} password {person.password}"
            )
        self.stdout.write("")
