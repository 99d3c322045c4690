"""manage.py layers "SqueezeNet, ImageNet" [--json]"""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from mlcore.management.arguments import find
from mlcore.management.one_question import ask
from mlcore.models import Classifier
from mlcore.runs.inquiries import keep_layers
from mlcore.runs.questions import layers_question

TITLES = {"grad_cam": "Grad-CAM", "tame": "TAME"}


class Command(BaseCommand):
    help = "List the layers of a classifier that a map can be taken from, with their shapes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("classifier", help="name or UUID of the classifier")
        parser.add_argument("--json", action="store_true", help="one JSON document, and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        classifier = find(Classifier, options["classifier"])
        found = ask(lambda: layers_question(classifier))
        keep_layers(classifier, found)
        if options["json"]:
            told = {
                "classifier": str(classifier.uuid),
                "name": classifier.name,
                "architecture": classifier.architecture,
            }
            told |= {key: found[key] for key in ("image_size", "suggested", "layers")}
            self.stdout.write(json.dumps(told, ensure_ascii=False, indent=1))
            return
        size = found["image_size"]
        self.stdout.write(f"{classifier}: {len(found['layers'])} layers, for a picture of {size}×{size} px")
        width = max((len(row["name"]) for row in found["layers"]), default=0)
        for row in found["layers"]:
            marks = ", ".join(TITLES.get(name, name) for name in row["suggested"])
            cells = f"{row['height']}×{row['width']}"
            line = f"  {row['name']:<{width}}  {row['type']:<24}{row['channels']:>6}  {cells:>9}  {marks}"
            self.stdout.write(line.rstrip())
        for name, layers in found["suggested"].items():
            self.stdout.write(f"Start with, for {TITLES.get(name, name)}: {','.join(layers)}")
