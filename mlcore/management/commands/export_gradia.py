"""manage.py export_gradia FOLDER --image-set NAME [--partition NAME] [--supervision NAME]"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mlcore.exchange.gradia_export import ExportRefused, export_gradia
from mlcore.management.arguments import find, find_partition
from mlcore.models import ImageSet, SupervisionSet


class Command(BaseCommand):
    help = "Write a partition and what people said of it in GRADIA's layout: folders of pictures, and two JSON files."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, help="new or empty")
        parser.add_argument("--image-set", required=True)
        parser.add_argument("--partition", help="needed where the set has several")
        parser.add_argument("--supervision", help="name or UUID of what people said")

    def handle(self, *args: Any, **options: Any) -> None:
        image_set = find(ImageSet, options["image_set"])
        partition = find_partition(image_set, options["partition"])
        if partition is None:
            raise CommandError(
                f"“{image_set}” has {image_set.partitions.count()} partitions; name one with --partition."
            )
        supervision = (
            find(SupervisionSet, options["supervision"], image_set=image_set) if options["supervision"] else None
        )
        try:
            written = export_gradia(partition, options["folder"], supervision=supervision)
        except (ExportRefused, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{written.images} images, {written.maps} drawn maps and {written.ratings} ratings in {written.folder}"
        )
