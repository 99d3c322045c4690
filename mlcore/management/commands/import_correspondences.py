"""manage.py import_correspondences ROWS.jsonl --classifier UUID --image-set UUID --method emd_corr [--gallery UUID]"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from harmony.terminal import Bar
from mlcore.exchange.correspondences import PAYLOADS, add_correspondences, payload_of, read_rows
from mlcore.exchange.report import ImportRefused
from mlcore.management.arguments import add_owner, find, find_owner, options_of
from mlcore.models import Classifier, ImageSet


class Command(BaseCommand):
    help = "Import nearest neighbours or matched patches, a JSON object a line, with the predictions that they tell."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="JSON Lines: image, predicted, confidence, neighbours")
        parser.add_argument("--classifier", required=True, help="name or UUID")
        parser.add_argument("--image-set", required=True, help="name or UUID of the set of the queries")
        parser.add_argument("--gallery", help="name or UUID of the set that the neighbours lie in; default: the same")
        parser.add_argument("--method", required=True, help="how the neighbours were found, such as emd_corr")
        parser.add_argument("--payload", choices=PAYLOADS, help="by default matches where the first row has patches")
        parser.add_argument(
            "--option", action="append", default=[], metavar="KEY=VALUE", help="what else decided the rows; kept"
        )
        add_owner(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        image_set = find(ImageSet, options["image_set"])
        gallery = find(ImageSet, options["gallery"]) if options["gallery"] else None
        classifier = find(Classifier, options["classifier"])
        bar = Bar("Importing correspondences")
        try:
            rows = read_rows(options["file"])
            made = add_correspondences(
                classifier,
                image_set,
                rows,
                owner=find_owner(options["owner"]),
                method=options["method"],
                payload=options["payload"] or payload_of(rows),
                options=options_of(options["option"]),
                gallery=gallery,
                progress=bar,
            )
        except ImportRefused as refused:
            for problem in refused.problems[1:]:
                self.stderr.write(self.style.WARNING(str(problem)))
            raise CommandError(refused.sentence) from refused
        finally:
            bar.end()
        self.stdout.write(f"{made.uuid} {made} ({len(rows)} images)")
