"""manage.py import_images FOLDER --name Birds [--masks FOLDER] [--boxes CSV] [--labels CSV] [--partition given]

Boxes and labels come from COCO's JSON or Pascal VOC's XML too: --coco JSON, --voc FOLDER [--names FILE].
"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from harmony.terminal import Bar
from mlcore.exchange.images import ImportRefused, import_folder
from mlcore.exchange.partitions import PartitionRefused, partition_from_splits
from mlcore.management.arguments import add_owner, find_owner

SHOWN = 20


class Command(BaseCommand):
    help = "Import pictures: a folder a class, a table of labels, COCO or VOC. Importing again adds what is new."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument("--name", required=True, help="the image set; made where there is none of the name")
        parser.add_argument("--labels", type=Path, metavar="CSV", help="table: file, label[, class][, split]")
        parser.add_argument("--list", type=Path, metavar="FILE", help="a file's name and perhaps its label a line")
        parser.add_argument("--masks", type=Path, metavar="FOLDER", help="masks with the pictures' names")
        parser.add_argument("--boxes", type=Path, metavar="CSV", help="table: file, x0, y0, x1, y1[, class]")
        parser.add_argument("--coco", type=Path, metavar="JSON", help="COCO's instances: labels, boxes and masks")
        parser.add_argument("--voc", type=Path, metavar="FOLDER", help="Pascal VOC's or ImageNet's XML, one an image")
        parser.add_argument(
            "--names", type=Path, metavar="FILE", help="class names for the names in these, such as synset ids"
        )
        parser.add_argument("--classes", type=Path, metavar="FILE", help="all class names in order")
        parser.add_argument("--class-column", metavar="COLUMN", help="column that names the class")
        parser.add_argument(
            "--partition", metavar="NAME", help="keep the splits that the pictures came with as a partition"
        )
        add_owner(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        bar = Bar(f"Importing {options['name']}")
        owner = find_owner(options["owner"])
        try:
            report = import_folder(
                options["folder"],
                name=options["name"],
                owner=owner,
                masks=options["masks"],
                boxes=options["boxes"],
                labels=options["labels"],
                classes=options["classes"],
                class_column=options["class_column"],
                coco=options["coco"],
                voc=options["voc"],
                names=options["names"],
                listed=options["list"],
                progress=bar,
            )
        except ImportRefused as refused:
            self._show(refused.problems)
            raise CommandError(refused.sentence) from refused
        finally:
            bar.end()
        self._show(report.problems)
        if options["verbosity"] > 1:
            for note in report.notes:
                self.stdout.write(str(note))
        self.stdout.write(report.sentence())
        if options["partition"]:
            try:
                made = partition_from_splits(report.image_set, report.splits, options["partition"], owner)
            except PartitionRefused as refused:
                raise CommandError(f"The images are in, but without a partition: {refused}") from refused
            self.stdout.write(f"{made.uuid} {made}")

    def _show(self, problems: list[Any]) -> None:
        for problem in problems[:SHOWN]:
            self.stderr.write(self.style.WARNING(str(problem)))
        if len(problems) > SHOWN:
            self.stderr.write(self.style.WARNING(f"… and {len(problems) - SHOWN} more."))
