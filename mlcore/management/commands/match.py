"""manage.py match bird.jpg --gallery Birds [--classifier NAME] [--matcher emd_corr] [--mask head.png] [--out FILE]"""

import json
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mlcore.catalogue.gallery_size import last_layer_of
from mlcore.catalogue.matchers import MATCHERS
from mlcore.exchange.match_board import Board, Said, Seen, beside, images_of
from mlcore.exchange.match_layout import USUAL_WIDTH
from mlcore.exchange.match_marks import readable
from mlcore.exchange.match_picture import FORMATS, drawn
from mlcore.exchange.verify import open_picture
from mlcore.management.arguments import find, options_of
from mlcore.management.one_picture import checked, checked_out
from mlcore.management.one_question import ask, refusal
from mlcore.models import Classifier, FeatureGallery, ImageSet
from mlcore.runs.match_questions import DEFAULT_MATCHER, chosen, galleries_of, match_question
from mlcore.runs.questions import QuestionRefused

SHOWN = 5


class Command(BaseCommand):
    help = "Compare one picture with a gallery: what its neighbours say it shows, and which of its parts match theirs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("image", type=Path, help="file of the picture")
        parser.add_argument("--gallery", metavar="NAME", help="the image set; default: the only one with features")
        parser.add_argument(
            "--classifier", metavar="NAME", help="name or UUID; default: the only one that has a gallery"
        )
        parser.add_argument("--layer", help="of the gallery; default: the one that is usually compared")
        parser.add_argument("--matcher", default=DEFAULT_MATCHER, choices=tuple(MATCHERS))
        parser.add_argument(
            "--option", action="append", default=[], metavar="KEY=VALUE",
            help="an option of the matcher, or candidates, votes, ties, neighbours; repeatable",
        )  # fmt: skip
        parser.add_argument(
            "--mask", type=Path, metavar="PNG", help="of the picture's size, white where the parts lie that count"
        )
        parser.add_argument("--out", type=Path, metavar="FILE", help="draw what was found, .svg or .png")
        parser.add_argument("--width", type=int, default=USUAL_WIDTH, metavar="PIXELS", help="of --out (default 1200)")
        parser.add_argument("--json", action="store_true", help="one JSON document with everything, and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        picture = checked(options["image"])
        out: Path | None = options["out"]
        if out is not None:
            checked_out(out, options["image"], tuple(f".{ending}" for ending in FORMATS))
        gallery = _gallery(options)
        classifier = gallery.classifier
        mask = options["mask"]
        if mask is not None and not mask.is_file():
            raise CommandError(f"--mask: there is no file “{mask}”.")
        if mask is not None and not MATCHERS[options["matcher"]].takes_marks:
            those = " and ".join(spec.name for spec in MATCHERS.values() if spec.takes_marks)
            raise CommandError(f"--mask: {MATCHERS[options['matcher']].title} cannot use marked parts; {those} can.")
        try:
            told = chosen(classifier, gallery, matcher=options["matcher"], options=options_of(options["option"]))
        except QuestionRefused as refused:
            raise refusal(refused) from refused
        with tempfile.NamedTemporaryFile() as file:
            file.write(picture.data)
            file.flush()
            found = ask(
                lambda: (
                    match_question(classifier, file.name, told | {"sha256": picture.sha256})
                    | ({"mask": str(mask.resolve())} if mask is not None else {})
                )
            )
        classes = gallery.image_set.classes
        if out is not None:
            _draw(options, picture.data, found, classes, out)
        if options["json"]:
            names = {"class": classes[found["label"]], "classifier": str(classifier.uuid), "gallery": told["gallery"]}
            self.stdout.write(json.dumps(names | found, ensure_ascii=False))
            return
        self.stdout.write(f"{classifier}, beside {found['images']} images of {gallery.image_set}")
        for way in found["ways"]:
            votes = f"{round(way['confidence'] * found['votes'])} of {found['votes']} votes"
            self.stdout.write(f"{MATCHERS[way['method']].title}: {classes[way['label']]}, {votes}")
            for item in way["neighbours"][:SHOWN]:
                self.stdout.write(f"  {item['score']:7.3f}  {classes[item['label']]}")
        if found["marked"] is not None:
            self.stdout.write(f"{len(found['marked'])} of {found['grid'][0] * found['grid'][1]} cells are marked.")
        if out is not None:
            self.stdout.write(str(out))


def _gallery(options: dict[str, Any]) -> FeatureGallery:
    """The one that is named by classifier, image set and layer, as far as there are several."""
    rows = FeatureGallery.objects.filter(images__gt=1).select_related("classifier", "image_set")
    if options["classifier"]:
        rows = galleries_of(find(Classifier, options["classifier"])).select_related("classifier", "image_set")
    if options["gallery"]:
        rows = rows.filter(image_set=find(ImageSet, options["gallery"]))
    there = list(rows.order_by("-updated", "-pk"))
    if options["layer"]:
        there = [row for row in there if row.layer == options["layer"]]
    elif len(there) > 1:
        there = [row for row in there if row.layer == _usual(row.classifier)] or there
    if not there:
        raise CommandError(
            "There is no such gallery. Build one: manage.py gallery build --classifier NAME --image-set NAME."
        )
    if len({(row.classifier_id, row.image_set_id) for row in there}) > 1:
        known = "; ".join(f"--classifier “{row.classifier}” --gallery “{row.image_set}”" for row in there[:6])
        raise CommandError(f"Which gallery? There are: {known}.")
    return there[0]


def _usual(classifier: Classifier) -> str:
    try:
        return last_layer_of(classifier.architecture)
    except ValueError:
        return ""


def _draw(options: dict[str, Any], picture: bytes, found: dict[str, Any], classes: list[str], out: Path) -> None:
    whole = open_picture(picture).convert("RGB")

    def at(side: int) -> Any:
        factor = side / max(whole.size)
        return whole.resize((max(1, round(whole.width * factor)), max(1, round(whole.height * factor))))

    pictures = images_of(item["image"] for way in found["ways"] for item in way["neighbours"])
    ways = [
        Said(
            way["method"], way["label"], readable(classes[way["label"]]), way["confidence"],
            beside(way["neighbours"], pictures), votes=found["votes"],
        )
        for way in found["ways"]
    ]  # fmt: skip
    board = Board(Seen(options["image"].name, whole.size, at), [], ways)
    try:
        out.write_bytes(drawn(board, out.suffix.lower().removeprefix("."), options["width"]))
    except ValueError as error:
        raise CommandError(f"--width: {error}") from error
    except OSError as error:
        raise CommandError(f"{out} cannot be written ({error.strerror or error}).") from error
