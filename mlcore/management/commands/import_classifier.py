"""manage.py import_classifier WEIGHTS --name "SqueezeNet, ImageNet" --architecture squeezenet1_1"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mlcore.catalogue.recipe_fields import INPUT
from mlcore.exchange.weights import WeightsRefused, import_classifier
from mlcore.management.arguments import add_owner, find_owner, options_of
from mlcore.models import Classifier
from mlcore.runs.start import TRANSFORM


class Command(BaseCommand):
    help = "Take in weights: .safetensors, .npz, or a checkpoint (.pt, .pth) that holds weights only."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("weights", type=Path)
        parser.add_argument("--name", required=True, help="what the classifier is called")
        parser.add_argument("--architecture", required=True, metavar="NAME", help="torchvision's name, or sixconv")
        parser.add_argument("--classes", metavar="FILE|A,B,C", help="class names in order; default: 0, 1, 2, …")
        parser.add_argument("--padding", choices=Classifier.Padding.values, default=Classifier.Padding.TORCH.value)
        parser.add_argument(
            "--transform",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help=f"how images become its input ({', '.join(TRANSFORM)}); runs then start from it",
        )
        add_owner(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        given = options["classes"]
        classes: list[str] | Path | None = None
        if given:
            classes = Path(given) if Path(given).is_file() else [name.strip() for name in given.split(",")]
        try:
            made = import_classifier(
                options["weights"],
                name=options["name"],
                architecture=options["architecture"],
                classes=classes,
                padding=options["padding"],
                owner=find_owner(options["owner"]),
                transform=_transform(options["transform"]),
            )
        except WeightsRefused as refused:
            raise CommandError(str(refused)) from refused
        self.stdout.write(f"{made.uuid} {made}: {made.architecture}, {len(made.classes)} classes, sha256 {made.sha256}")


def _transform(pairs: list[str]) -> dict[str, Any]:
    known = {field.name: field for field in INPUT if field.name in TRANSFORM}
    transform = {}
    for key, value in options_of(pairs).items():
        if key not in known:
            raise CommandError(f"--transform {key}: there is only {', '.join(known)}.")
        try:
            transform[key] = known[key].clean(value)
        except ValueError as error:
            raise CommandError(f"--transform {key}: {error}") from error
    return transform
