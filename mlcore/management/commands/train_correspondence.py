"""manage.py train_correspondence --classifier NAME --pairs train.jsonl --validation val.jsonl --name points"""

import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from mlcore.management.arguments import find
from mlcore.models import Classifier, CorrespondenceNetwork
from mlcore.runs.new_network import NewNetwork


class Command(BaseCommand):
    help = (
        "Train a correspondence network on key-point pairs (docs/chm-corr.md says how the files look), here and now, "
        "and keep it beside its classifier. On warps of images: manage.py train --option objective=correspondence."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--classifier", required=True, metavar="NAME", help="name or UUID; it stays as it is")
        parser.add_argument("--pairs", required=True, type=Path, metavar="FILE", help="pairs to learn from")
        parser.add_argument("--validation", required=True, type=Path, metavar="FILE", help="pairs to choose by")
        parser.add_argument("--name", required=True)
        parser.add_argument("--layer", default="", help="stage that is read; default: what suits the classifier")
        parser.add_argument("--start", default="", metavar="FILE", help="safetensors of a network to go on training")
        parser.add_argument("--width", type=int, default=256, help="channels; default: 256, as published")
        parser.add_argument("--epochs", type=int, default=20)
        parser.add_argument("--batch-size", type=int, default=20)
        parser.add_argument("--learning-rate", type=float, default=1e-3)
        parser.add_argument("--image-size", type=int, default=240)
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        classifier = find(Classifier, options["classifier"])
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "network.safetensors"
                made, told = self._train(classifier, options, path)
                row = self._keep(classifier, options["name"], path, {"layer": made.layer, "settings": made.settings})
        except (ValueError, OSError) as error:
            raise CommandError(str(error)) from error
        best = max(one["pck"] for one in told)
        self.stdout.write(self.style.SUCCESS(f"{row.uuid} {row.name}: PCK@0.1 {best:.3f} on the validation pairs"))

    def _train(self, classifier: Classifier, options: dict[str, Any], path: Path) -> tuple[Any, list[dict[str, float]]]:
        import torch  # as heavy as training itself: not before the arguments are read

        from mlcore.correspondence.chm.learning import train_network
        from mlcore.correspondence.chm.network import CHMNetwork
        from mlcore.correspondence.chm.pairs import read_pairs
        from mlcore.training.classifiers import build
        from mlcore.training.key_points import KeyPoints

        train, validation = read_pairs(options["pairs"]), read_pairs(options["validation"])
        model = build(
            classifier.architecture, len(classifier.classes), weights=classifier.weights.path,
            padding=classifier.padding,
        ).eval()  # fmt: skip
        torch.manual_seed(options["seed"])
        size = options["image_size"]
        if options["start"]:
            network = CHMNetwork.load(options["start"])
        else:
            network = CHMNetwork.for_model(model, options["layer"] or None, width=options["width"], size=size)
        seen = {"size": size, "normalise": (classifier.transform or {}).get("normalise", "imagenet")}
        pairs = KeyPoints(model, network.layer, train, seed=options["seed"], **seen)
        chosen_by = KeyPoints(model, network.layer, validation, **seen).in_order(options["batch_size"])

        def said(number: int, figures: dict[str, float]) -> None:
            self.stdout.write(f"epoch {number}: loss {figures['loss']:.4f}, validation PCK@0.1 {figures['pck']:.3f}")

        told = train_network(
            network,
            lambda number: pairs.epoch(number, options["batch_size"]),
            chosen_by,
            epochs=options["epochs"],
            learning_rate=options["learning_rate"],
            on_epoch=said,
        )
        network.save(path)
        return network, told

    def _keep(self, classifier: Classifier, name: str, path: Path, told: dict[str, Any]) -> CorrespondenceNetwork:
        new = NewNetwork(None, path, told)
        try:
            with transaction.atomic():
                return new.write(classifier, name=name, owner=classifier.owner)
        except BaseException:
            new.discard()
            raise
