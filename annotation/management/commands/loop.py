"""The whole loop on a folder of images with masks or boxes: one command, one table."""

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from annotation.loop import LoopFailed, LoopPlan, LoopResult, run_loop
from annotation.loop_table import table
from harmony.terminal import Stages
from mlcore.catalogue import ARCHITECTURES, Field
from mlcore.catalogue.recipes import fields_for
from mlcore.exchange.images import import_folder
from mlcore.exchange.partitions import PartitionRefused, make_partition
from mlcore.exchange.report import ImportRefused
from mlcore.exchange.scripted import ErrorRates
from mlcore.exchange.weights import import_classifier
from mlcore.models import Classifier, ImageSet, Partition
from mlcore.runs.start import RunRefused

# Found on photographs of ten classes with ten images each (docs/butterflies.md); any option can be given instead.
INPUT = {"image_size": 160, "resize": "squash"}
PHASE1 = {**INPUT, "epochs": 12, "batch_size": 16, "learning_rate": 3e-4, "select": "best_accuracy"}
PHASE2 = {
    **INPUT,
    "objective": "gradia",
    "epochs": 10,
    "batch_size": 16,
    "learning_rate": 1e-4,
    "select": "best_attention_iou",
    "select_threshold": 0.5,
    "attention_weight": 1.0,
}


class Command(BaseCommand):
    help = (
        "Import a folder, train, explain, let scripted annotators rate and draw, fine-tune with and without their "
        "maps, and print a table over seeds. Figures come from simulated annotators and say so."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, help="Folder of images: a folder a class, or with --labels a CSV.")
        parser.add_argument("--labels", type=Path, help="CSV with file, label and perhaps split.")
        parser.add_argument("--masks", type=Path, help="Folder of masks, a PNG an image.")
        parser.add_argument("--boxes", type=Path, help="CSV with file, x0, y0, x1, y1.")
        parser.add_argument("--name", default="", help="Name of the image set. Default: the folder's name.")
        parser.add_argument("--architecture", default="squeezenet1_1", choices=ARCHITECTURES, metavar="NAME")
        parser.add_argument("--weights", type=Path, help="Pretrained weights: safetensors, npz or a checkpoint.")
        parser.add_argument("--padding", default="torch", choices=("torch", "tensorflow"))
        parser.add_argument("--train", type=int, default=10, help="Images a class for training.")
        parser.add_argument("--pool", type=int, default=20, help="Images a class for the annotation pool.")
        parser.add_argument("--validation", type=int, default=10, help="Images a class for validation; the rest tests.")
        parser.add_argument("--drawn", type=int, default=200, help="Images that are rated and drawn, at most.")
        parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
        parser.add_argument("--phase1", nargs="*", default=[], metavar="OPTION=VALUE")
        parser.add_argument("--phase2", nargs="*", default=[], metavar="OPTION=VALUE")
        parser.add_argument("--output", type=Path, help="Write the table to this file as well.")

    def handle(self, *args: Any, **options: Any) -> None:
        phase1 = {**PHASE1, "architecture": options["architecture"], **_given("train", PHASE1, options["phase1"])}
        phase2 = {**PHASE2, **_given("train", PHASE2, options["phase2"])}
        owner = get_user_model().objects.filter(is_superuser=True).order_by("id").first()
        started = time.monotonic()
        line = Stages()
        rates = ErrorRates()
        try:
            image_set = self._import(options, owner, line)
            start = self._weights(options, owner)
            results: list[LoopResult] = []
            for seed in options["seeds"]:
                partition = _partition(image_set, options, seed, owner)
                plan = LoopPlan(
                    name=f"{image_set.name}, seed {seed}",
                    image_set=image_set,
                    partition=partition,
                    owner=owner,
                    phase1=phase1,
                    phase2=phase2,
                    start=start,
                    drawn=options["drawn"],
                    rates=rates,
                    seed=seed,
                )
                results.append(run_loop(plan, line.stage))
        except (ImportRefused, LoopFailed, PartitionRefused, RunRefused, ValueError) as error:
            raise CommandError(str(error)) from error
        finally:
            line.end()
        text = table(results, rates)
        self.stdout.write(text)
        self.stdout.write(f"{time.monotonic() - started:.0f} s")
        if options["output"]:
            options["output"].write_text(text + "\n")

    def _import(self, options: dict[str, Any], owner: Any, line: Stages) -> ImageSet:
        report = import_folder(
            options["folder"],
            name=options["name"] or options["folder"].resolve().name,
            owner=owner,
            labels=options["labels"],
            masks=options["masks"],
            boxes=options["boxes"],
            progress=lambda done, total: line.stage("Importing images", done / max(total, 1)),
        )
        for problem in report.problems:
            self.stderr.write(str(problem))
        return report.image_set

    def _weights(self, options: dict[str, Any], owner: Any) -> Classifier | None:
        if not options["weights"]:
            return None
        name = f"{options['architecture']}: {options['weights'].name}"
        known = Classifier.objects.filter(name=name, owner=owner).first()
        return known or import_classifier(
            options["weights"],
            name=name,
            architecture=options["architecture"],
            classes=None,
            padding=options["padding"],
            owner=owner,
        )


def _partition(image_set: ImageSet, options: dict[str, Any], seed: int, owner: Any) -> Partition:
    """Cut by counts a class; a second call with the same counts and seed takes the first one's partition."""
    counts = {"train": options["train"], "annotation_pool": options["pool"], "validation": options["validation"]}
    name = f"{'/'.join(str(count) for count in counts.values())} a class, seed {seed}"
    known = Partition.objects.filter(image_set=image_set, name=name).first()
    return known or make_partition(image_set, name, counts_per_class=counts, rest="test", seed=seed, owner=owner)


def _given(kind: str, base: dict[str, Any], pairs: list[str]) -> dict[str, Any]:
    """OPTION=VALUE pairs as a dictionary. Raises CommandError naming the pair that is not one."""
    given = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise CommandError(f"“{pair}” is not OPTION=VALUE.")
        given[name] = value
    known: dict[str, Field] = {field.name: field for field in fields_for(kind, {**base, **given})}
    for name in given:
        if name not in known:
            raise CommandError(f"There is no option “{name}”. Known: {', '.join(sorted(known))}.")
    return given
