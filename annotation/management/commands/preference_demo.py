"""manage.py preference_demo fixtures/preference_demo.zip: the bundle that this project ships, made anew."""

import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from mlcore.exchange.decoy import render_decoy
from mlcore.exchange.images import import_folder
from mlcore.exchange.partitions import partition_from_splits
from mlcore.management.run_command import perform_here
from mlcore.models import Classifier, ImageSet, Partition
from mlcore.runs.start import start_run

NAME = "Decoy scenes for maps"
WORLD: dict[str, Any] = {
    "per_part": {"train": 1200, "annotation_pool": 4, "validation": 96, "test": 60},
    "size": 48,
    "mark": False,
}
SEED = 101
READING = {"image_size": 48, "resize": "none", "normalise": "imagenet"}
PHASE_1: dict[str, Any] = READING | {
    "architecture": "sixconv",
    "epochs": 15,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "optimizer": "adam",
    "schedule": "cosine",
    "select": "best_accuracy",
}
# Far stronger than published: a small network on small pictures, tuned within a minute, so that one sees a difference.
TUNING: dict[str, Any] = READING | {
    "objective": "harmony",
    "method": "grad_cam",
    "max_steps": 400,
    "evaluate_steps": 20,
    "learning_rate": 1e-4,
    "keep_weight": 3.0,
}
# metric → weight of its term
METRICS = {"rma": 0.3, "complexity": 0.3}
PAIRS = 8


class Command(BaseCommand):
    help = (
        "Make the small preference study of decoy scenes that is shipped in fixtures/: render, train, tune a copy for "
        f"each of {' and '.join(METRICS)}, explain, choose pairs, write the bundle. Takes some minutes; everything is "
        "left in the installation that runs it, so give it one of its own (HARMONY_VAR)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("out", type=Path, metavar="FILE.zip")

    def handle(self, *args: Any, **options: Any) -> None:
        if ImageSet.objects.filter(name=NAME).exists():
            raise CommandError(f"There is an image set “{NAME}” here already. Use an installation of its own.")
        image_set, partition = _scenes()
        original = self._train(image_set, partition, "original", PHASE_1, None)
        for metric, weight in METRICS.items():
            recipe = TUNING | {"metric": metric, "term_weight": weight}
            self._train(image_set, partition, f"tuned for {metric}", recipe, original)
        tuned = [f"--tuned=tuned for {metric}" for metric in METRICS]
        call_command(
            "export_pairs", *tuned, f"--study={NAME}", "--publish", f"--n={PAIRS}", f"--out={options['out']}",
            stdout=self.stdout,
        )  # fmt: skip

    def _train(
        self, image_set: ImageSet, partition: Partition, name: str, recipe: dict[str, Any], start: Classifier | None
    ) -> Classifier:
        run = start_run(
            kind="train",
            name=name,
            owner=None,
            image_set=image_set,
            partition=partition,
            classifier=start,
            recipe=recipe,
            seed=SEED,
            enqueue=False,
        )
        made = perform_here(run).made_classifier
        for score in run.scores.filter(part="validation").order_by("metric"):
            self.stdout.write(f"  {name}: {score.metric} {score.value} (n = {score.n})")
        return made


def _scenes() -> tuple[ImageSet, Partition]:
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        labels = render_decoy(folder, seed=SEED, **WORLD)
        image_set = import_folder(folder / "images", name=NAME, labels=labels, masks=folder / "masks").image_set
        return image_set, partition_from_splits(image_set, labels, "given", None)
