"""manage.py import_harmony_app DB_OR_FIXTURES [--name NAME] [--media FOLDER]"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotation.exchange.harmony_app import read
from annotation.exchange.harmony_app_import import import_released
from harmony.terminal import Bar
from mlcore.exchange.report import ImportRefused
from mlcore.management.arguments import add_owner, find_owner


class Command(BaseCommand):
    help = "Import examples, labels and raters of the released harmony_app as a closed preference study with answers."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "source", nargs="+", type=Path, help="its SQLite database, or fixtures (*.json, or folders of them)"
        )
        parser.add_argument("--name", default="harmony_app", help="what the study is called (default harmony_app)")
        parser.add_argument("--media", type=Path, help="the folder that its paths of pictures start from")
        add_owner(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        bar = Bar("Importing examples")
        try:
            report = import_released(
                read(options["source"]),
                name=options["name"],
                owner=find_owner(options["owner"]),
                media=options["media"],
                progress=bar,
            )
        except ImportRefused as refused:
            raise CommandError(refused.sentence) from refused
        finally:
            bar.end()
        self.stdout.write(report.sentence())
