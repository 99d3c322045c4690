"""manage.py import_decisions FILE.csv --name NAME [--preview] [--map role=column] [--images SET]"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotation.exchange.decisions import read_sheet
from annotation.exchange.decisions_columns import BY_NAME, changed
from annotation.exchange.decisions_guess import guess
from annotation.exchange.decisions_import import import_decisions
from annotation.exchange.decisions_preview import Preview, preview
from annotation.exchange.decisions_rows import read_decisions
from harmony.terminal import Bar
from mlcore.exchange.report import ImportRefused
from mlcore.management.arguments import add_owner, find, find_owner, options_of
from mlcore.models import ImageSet

PROBLEMS_SHOWN = 20


class Command(BaseCommand):
    help = (
        "Import a CSV of published decisions (a person accepts or rejects what an AI said) as a closed team study with "
        "answers. What the columns mean is guessed from their names; --preview shows it and writes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="comma, semicolon or tab; the first line names the columns")
        parser.add_argument("--name", help="what the study is called (default: the file's name)")
        parser.add_argument(
            "--map", action="append", default=[], metavar="WHAT=COLUMN",
            help=f"read this column as this: {', '.join(BY_NAME)}; label:CONDITION for one condition's own column; "
            "nothing behind the sign: not read",
        )  # fmt: skip
        parser.add_argument("--images", metavar="SET", help="an image set that has pictures of these names")
        parser.add_argument("--preview", action="store_true", help="show how the file is read, and write nothing")
        parser.add_argument(
            "--leave-out", action="store_true", help="import the other rows where some have problems"
        )  # fmt: skip
        add_owner(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"]
        pictures = find(ImageSet, options["images"]) if options["images"] else None
        owner = find_owner(options["owner"])
        bar = Bar("Importing answers")
        try:
            sheet = read_sheet(file)
            reading = changed(sheet, guess(sheet), options_of(options["map"]))
            found = read_decisions(sheet, reading)
            if options["preview"]:
                self._show(preview(sheet, reading, found))
                return
            report = import_decisions(
                found, reading, name=options["name"] or file.stem, owner=owner, file=sheet.name, pictures=pictures,
                leave_out=options["leave_out"], progress=bar,
            )  # fmt: skip
        except ImportRefused as refused:
            lines = [refused.sentence, *(f"  {problem}" for problem in refused.problems[:PROBLEMS_SHOWN])]
            raise CommandError("\n".join(lines)) from refused
        finally:
            bar.end()
        self.stdout.write(report.sentence())
        self.stdout.write(f"  {report.study.uuid} (its figures: in the administration, under Studies)")

    def _show(self, shown: Preview) -> None:
        say = self.stdout.write
        say(f"{shown.file}: {shown.rows:,} rows, {shown.encoding}, columns separated by {shown.separator}.")
        say("\nHow it is read")
        for line in shown.lines:
            column = line.column or "–"
            say(f"  {line.option:<24} {column:<24} {', '.join(line.examples)}")
        if shown.unread:
            say(f"  not read: {', '.join(shown.unread)}")
        say("\nWhat comes in")
        say(f"  {shown.counts}")
        for cell in shown.cells:
            say(f"  {cell.condition:<24} {cell.words}")
        say("\nFirst rows")
        say("  " + " | ".join(shown.head))
        for row in shown.first:
            say("  " + " | ".join(row))
        for note in shown.notes:
            say(f"\nNote: {note}")
        if shown.problems:
            say(f"\n{shown.bad_rows:,} rows with problems")
            for problem in shown.problems[:PROBLEMS_SHOWN]:
                say(f"  {problem}")
        say("\nNothing was written.")
