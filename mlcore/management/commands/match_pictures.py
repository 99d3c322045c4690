"""manage.py match_pictures SET --out pictures.zip [--image NAME] [--format svg|png] [--width 1200]"""

import zipfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from harmony.terminal import Bar
from mlcore.exchange.match_layout import LEAST_WIDTH, MOST_WIDTH, NEIGHBOURS, USUAL_WIDTH
from mlcore.exchange.match_picture import FORMATS, drawn
from mlcore.management.arguments import find
from mlcore.models import Explanation, ExplanationSet
from mlcore.runs.match_boards import board_of


class Command(BaseCommand):
    help = "Draw the comparisons of an explanation set, neighbours and matched patches, into one zip."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("set", help="UUID of the explanation set, or its beginning")
        parser.add_argument("--out", type=Path, required=True, metavar="ZIP")
        parser.add_argument("--image", action="append", default=[], metavar="NAME", help="only this one; repeatable")
        parser.add_argument("--format", choices=tuple(FORMATS), default="svg")
        parser.add_argument("--width", type=int, default=USUAL_WIDTH, metavar="PIXELS")
        parser.add_argument("--neighbours", type=int, default=NEIGHBOURS, metavar="N", help="at most so many")

    def handle(self, *args: Any, **options: Any) -> None:
        made = find(ExplanationSet, options["set"])
        out: Path = options["out"]
        if out.suffix.lower() != ".zip":
            raise CommandError(f"--out: “{out.name}” does not end in .zip.")
        if not out.parent.is_dir() or out.is_dir():
            raise CommandError(f"--out: “{out}” cannot be a file: its folder is missing, or it is one.")
        if not LEAST_WIDTH <= options["width"] <= MOST_WIDTH:
            raise CommandError(f"--width: {LEAST_WIDTH} to {MOST_WIDTH} pixels, not {options['width']}.")
        if options["neighbours"] < 1:
            raise CommandError("--neighbours: at least 1.")
        rows = made.explanations.exclude(payload=Explanation.Payload.MAP).order_by("pk")
        if options["image"]:
            rows = rows.filter(image__name__in=options["image"])
            missing = set(options["image"]) - set(rows.values_list("image__name", flat=True))
            if missing:
                raise CommandError(f"--image: the set has no comparison of “{sorted(missing)[0]}”.")
        rows = rows.select_related("image__image_set", "set__classifier", "set__image_set")
        count = rows.count()
        if not count:
            raise CommandError(f"“{made}” has maps, and no neighbours or matches that could be drawn.")
        _write(rows, count, out, options)
        self.stdout.write(f"{out}: {count} pictures")


def _write(rows: Any, count: int, out: Path, options: dict[str, Any]) -> None:
    bar = Bar("Drawing")
    part = out.with_name(f".{out.name}.part")
    try:
        # SVG shrinks little: what is large in it are pictures.
        with zipfile.ZipFile(part, "w") as archive:
            for number, row in enumerate(rows.iterator(chunk_size=50), 1):
                content = drawn(board_of(row), options["format"], options["width"], options["neighbours"])
                stem = row.image.name.rsplit(".", 1)[0].replace("/", "_").strip("._") or str(row.image.uuid)
                archive.writestr(f"{number:05d}_{stem}.{options['format']}", content)
                bar(number, count)
        part.replace(out)
    except OSError as error:
        raise CommandError(f"{out} cannot be written ({error.strerror or error}).") from error
    finally:
        bar.end()
        part.unlink(missing_ok=True)
