"""manage.py import_gradia FOLDER --name Gender [--attention JSON] [--reasonability JSON] [--preset gradia]"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from harmony.terminal import Bar
from mlcore.exchange.gradia import import_gradia
from mlcore.exchange.matrix import PRESETS
from mlcore.exchange.partitions import PartitionRefused
from mlcore.exchange.report import ImportRefused
from mlcore.management.arguments import add_owner, find_owner


class Command(BaseCommand):
    help = "Import a folder in GRADIA's layout: train, val and test, drawn maps and ratings as JSON."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument("--name", required=True, help="the image set; made where there is none of the name")
        parser.add_argument("--attention", type=Path, metavar="JSON", help="drawn maps by file name")
        parser.add_argument("--reasonability", type=Path, metavar="JSON", help="one of the four cases by file name")
        parser.add_argument("--partition", default="GRADIA", help="name of the partition")
        parser.add_argument("--supervision", help="name of the supervision; by default that of the image set")
        parser.add_argument("--preset", default="default", choices=PRESETS)
        add_owner(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        bar = Bar(f"Importing {options['name']}")
        wanted = ("name", "attention", "reasonability", "partition", "supervision", "preset")
        try:
            report = import_gradia(
                options["folder"],
                owner=find_owner(options["owner"]),
                progress=bar,
                **{key: options[key] for key in wanted},
            )
        except (ImportRefused, PartitionRefused) as refused:
            raise CommandError(str(refused)) from refused
        finally:
            bar.end()
        for problem in report.problems:
            self.stderr.write(self.style.WARNING(str(problem)))
        self.stdout.write(report.images.sentence())
        self.stdout.write(f"{report.partition.uuid} {report.partition}")
        if report.supervision is not None:
            self.stdout.write(
                f"{report.supervision.uuid} {report.supervision} ({report.supervision.items.count()} images)"
            )
