"""manage.py mask bird.jpg --label wren [--classifier NAME] [--method tame] [--out bird_map.png]"""

import json
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
from django.core.management.base import BaseCommand, CommandError
from PIL import Image as Pictures

from mlcore.catalogue import METHODS
from mlcore.exchange.layers import COLOURS, STYLES, has_sign
from mlcore.exchange.verify import open_picture
from mlcore.exchange.windows import PlacedMap, over
from mlcore.management.arguments import find, options_of
from mlcore.management.one_picture import checked, checked_out
from mlcore.management.one_question import ask, refusal
from mlcore.models import AttentionModule, Classifier
from mlcore.runs.class_names import find_class
from mlcore.runs.questions import QuestionRefused, clean_options, default_method, mask_question


class Command(BaseCommand):
    help = "Draw what a classifier looks at in one picture, for one class, and say what it takes the picture for."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("image", type=Path, help="file of the picture")
        parser.add_argument("--label", default="", help="the class, by name or index; default: what it says")
        parser.add_argument(
            "--classifier", metavar="NAME",
            help="name or UUID; default: the only one there is, or the newest that has a trained attention",
        )  # fmt: skip
        parser.add_argument(
            "--method",
            help=f"tame where the classifier has an attention for it, else grad_cam; there are {', '.join(METHODS)}",
        )
        parser.add_argument(
            "--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the method; repeatable"
        )
        parser.add_argument("--out", type=Path, metavar="PNG", help="default: the picture's name with _map, here")
        parser.add_argument("--style", choices=STYLES, default="overlay")
        parser.add_argument("--colours", choices=COLOURS, default="cividis")
        parser.add_argument(
            "--json", action="store_true",
            help="one JSON document with the map's numbers, and nothing else; the picture is drawn where --out asks",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        picture = checked(options["image"]).data
        out = _out(options)
        classifier, why = _classifier(options["classifier"])
        method = options["method"] or default_method(classifier)
        try:
            chosen = clean_options(method, options_of(options["option"]))
            label = find_class(classifier.classes, options["label"])
        except QuestionRefused as refused:
            raise refusal(refused) from refused
        except ValueError as error:
            raise CommandError(f"label: {error}") from error
        with tempfile.NamedTemporaryFile() as file:
            file.write(picture)
            file.flush()
            found = ask(lambda: mask_question(classifier, file.name, method=method, options=chosen, label=label))
        if out is not None:
            _draw(picture, found, method, chosen, out, options)
        told = _told(classifier, method, chosen, found, out)
        if options["json"]:
            self.stdout.write(json.dumps(told | {"map": found["map"]}, ensure_ascii=False))
            return
        self.stdout.write(f"{classifier}{why}")
        for row in told["predictions"]:
            self.stdout.write(f"  {100 * row['confidence']:5.1f} %  {row['class']}")
        cells = f"{len(found['map'])}×{len(found['map'][0])} cells"
        title = METHODS[method.partition(":")[0]].title
        self.stdout.write(
            f"{title} of “{told['class']}” ({100 * found['confidence']:.1f} %): {cells}, "
            f"{found['seconds']:.2f} s on {found['device']}"
        )
        if found["status"] != "ok":
            self.stdout.write(self.style.WARNING(f"The map is {found['status']}: it says nothing."))
        self.stdout.write(str(out))


def _out(options: dict[str, Any]) -> Path | None:
    given: Path | None = options["out"]
    if given is None and options["json"]:
        return None
    return checked_out(given or Path(f"{options['image'].stem}_map.png"), options["image"], (".png",))


def _classifier(given: str | None) -> tuple[Classifier, str]:
    """The classifier and, where nobody named it, why it is this one."""
    if given:
        return find(Classifier, given), ""
    known = list(Classifier.objects.exclude(weights="").order_by("-created", "-pk")[:6])
    if len(known) == 1:
        return known[0], " (the only classifier)"
    newest = AttentionModule.objects.select_related("classifier").order_by("-created", "-pk").first()
    if newest is not None:
        return newest.classifier, f" (the newest with a trained attention, “{newest}”)"
    if not known:
        raise CommandError("There is no classifier yet. Train one, or take in weights by import_classifier.")
    raise CommandError(f"Which classifier? Name it by --classifier. There are: {', '.join(map(str, known))}.")


def _draw(
    picture: bytes, found: dict[str, Any], method: str, chosen: dict[str, Any], out: Path, options: dict[str, Any]
) -> None:
    left, top, right, bottom = found["window"]
    placed = PlacedMap(
        values=np.asarray(found["map"], dtype=np.float32),
        signed=has_sign(method.partition(":")[0], chosen),
        picture=(found["picture"][0], found["picture"][1]),
        window=(left, top, right, bottom),
    )
    drawn: Pictures.Image = over(
        placed, open_picture(picture).convert("RGB"), style=options["style"], colours=options["colours"]
    )
    try:
        drawn.save(out, "PNG")
    except OSError as error:
        raise CommandError(f"{out} cannot be written ({error.strerror or error}).") from error


def _told(
    classifier: Classifier, method: str, chosen: dict[str, Any], found: dict[str, Any], out: Path | None
) -> dict[str, Any]:
    names = classifier.classes
    return {
        "classifier": str(classifier.uuid),
        "name": classifier.name,
        "method": method,
        "options": chosen,
        "label": found["label"],
        "class": names[found["label"]],
        "confidence": found["confidence"],
        "predictions": [row | {"class": names[row["label"]]} for row in found["predictions"]],
        "status": found["status"],
        "picture": found["picture"],
        "window": found["window"],
        "seconds": found["seconds"],
        "device": found["device"],
        "out": str(out) if out is not None else None,
    }
