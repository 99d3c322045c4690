"""manage.py export_study: a study's answers or statistics as CSV or JSON."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError

from annotation.errors import StudyRefused
from annotation.exchange import export
from annotation.management.arguments import find_study
from annotation.models import Participant, Study


class Command(BaseCommand):
    help = "Write a study's answers (or --statistics, or its --codebook) as CSV or JSON."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="UUID or name of the study.")
        parser.add_argument("--format", choices=("csv", "json"), default="csv")
        parser.add_argument("--output", type=Path, help="File to write; without it, the answers go to the terminal.")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--statistics", action="store_true", help="The figures instead of the answers.")
        what.add_argument("--codebook", action="store_true", help="What each column means, as CSV.")
        parser.add_argument(
            "--kinds", nargs="+", choices=Participant.Kind.values, metavar="KIND",
            help="Whose answers: human, simulated, imported. Answers: everyone's by default; statistics: people's.",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        study = find_study(options["study"])
        output: Path | None = options["output"]
        try:
            if output is None:
                # The wrapper around the terminal adds a line end to every piece; the exports write their own.
                self._write(study, getattr(self.stdout, "_out", sys.stdout), options)
                return
            with output.open("w", encoding="utf-8", newline="") as stream:
                self._write(study, stream, options)
        except StudyRefused as error:
            raise CommandError(error.sentence) from error
        except OSError as error:
            raise CommandError(f"{output} cannot be written ({error.strerror or error}).") from error
        self.stderr.write(f"“{study}” was written to {output}.")

    def _write(self, study: Study, stream: IO[str], options: dict[str, Any]) -> None:
        chosen = {"kinds": tuple(options["kinds"])} if options["kinds"] else {}
        as_json = options["format"] == "json"
        if options["codebook"]:
            export.export_codebook(study, stream)
        elif options["statistics"]:
            (export.export_statistics_json if as_json else export.export_statistics_csv)(study, stream, **chosen)
        else:
            (export.export_json if as_json else export.export_csv)(study, stream, **chosen)
