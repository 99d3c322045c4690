"""manage.py lr_test --image-set Birds --classifier "phase 1" --objective tame --option batch_size=32 --wait"""

from argparse import ArgumentParser
from typing import Any

from mlcore.management.arguments import find
from mlcore.management.run_command import RunCommand, perform_here
from mlcore.models import ImageSet, Run, SupervisionSet


class Command(RunCommand):
    help = (
        "Try learning rates from very small to very large, a step each, with the recipe of a training run, and say "
        "which to train with. Nothing is kept of the weights."
    )
    kind = "lr_test"
    flags = ("objective", "architecture", "batch_size", "low", "high", "steps", "beta", "stop_at")

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--supervision", metavar="NAME", help="name or UUID of what people said")

    def wish(self, options: dict[str, Any]) -> dict[str, Any]:
        given = options["supervision"]
        return super().wish(options) | {"supervision": find(SupervisionSet, given) if given else None}

    def default_name(self, image_set: ImageSet, recipe: dict[str, Any]) -> str:
        return f"{image_set.name}, learning rates, {recipe.get('objective', 'supervised')}"[:160]

    def go_on(self, run: Run, options: dict[str, Any]) -> None:
        if not options["wait"]:
            super().go_on(run, options)
            return
        run = perform_here(run)
        found = run.result["rates"]
        self.stdout.write(self.style.SUCCESS(f"{run.uuid} {run.state}: {run.name}"))
        self.stdout.write(found["sentence"])
        if found.get("doubt"):
            self.stdout.write(found["doubt"])
        if found["suggestion"]:
            self.stdout.write(f"Train with it: --option learning_rate={found['suggestion']:.3g}")
