"""manage.py make_partition --image-set Birds --name split --fraction train=0.6 --fraction validation=0.2 …"""

from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count

from mlcore.exchange.image_lists import partition_from_lists
from mlcore.exchange.partitions import PartitionRefused, make_partition, partition_from_splits
from mlcore.exchange.report import ImportRefused
from mlcore.management.arguments import add_owner, find, find_owner, options_of
from mlcore.models import ImageSet


class Command(BaseCommand):
    help = "Cut an image set into train, annotation_pool, validation and test, every class alike, or as a table says."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--image-set", required=True, metavar="NAME")
        parser.add_argument("--name", required=True, help="what the partition is called")
        parser.add_argument(
            "--per-class", action="append", default=[], metavar="PART=N", help="images of each class; repeatable"
        )
        parser.add_argument(
            "--fraction", action="append", default=[], metavar="PART=SHARE", help="share of what is left; repeatable"
        )
        parser.add_argument("--rest", metavar="PART", help="the part that takes what remains")
        parser.add_argument("--splits", metavar="CSV", help="a table with the columns file and split instead")
        parser.add_argument(
            "--from-list", action="append", default=[], metavar="FILE",
            help="a file's name and perhaps its label a line: the images of the --part that follows; repeatable",
        )  # fmt: skip
        parser.add_argument("--part", action="append", default=[], metavar="PART", help="of each --from-list, in order")
        parser.add_argument("--seed", type=int, default=0)
        add_owner(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        image_set, owner = find(ImageSet, options["image_set"]), find_owner(options["owner"])
        lists = options["from_list"]
        if len(lists) != len(options["part"]):
            raise CommandError("Each --from-list needs a --part: the part that its images make.")
        try:
            if lists:
                if options["per_class"] or options["fraction"] or options["splits"]:
                    raise CommandError("The lists say it all: leave out --per-class, --fraction and --splits.")
                pairs = [(Path(path), part) for path, part in zip(lists, options["part"], strict=True)]
                made = partition_from_lists(image_set, pairs, options["name"], rest=options["rest"], owner=owner)
            elif options["splits"]:
                if options["per_class"] or options["fraction"] or options["rest"]:
                    raise CommandError("The table says it all: leave out --per-class, --fraction and --rest.")
                made = partition_from_splits(image_set, Path(options["splits"]), options["name"], owner)
            else:
                made = make_partition(
                    image_set,
                    options["name"],
                    counts_per_class=_numbers(options["per_class"], int, "whole number"),
                    fractions=_numbers(options["fraction"], float, "number"),
                    rest=options["rest"],
                    seed=options["seed"],
                    owner=owner,
                )
        except (PartitionRefused, ImportRefused) as refused:
            raise CommandError(str(refused)) from refused
        counts = made.members.values_list("part").annotate(count=Count("pk")).order_by("part")
        self.stdout.write(f"{made.uuid} {made}: " + ", ".join(f"{count} {part}" for part, count in counts))


def _numbers(pairs: list[str], number: Callable[[str], Any], kind: str) -> dict[str, Any]:
    values = {}
    for part, text in options_of(pairs).items():
        try:
            values[part] = number(text)
        except ValueError:
            raise CommandError(f"{part}={text}: “{text}” is not a {kind}.") from None
    return values
