"""manage.py train --image-set Birds --partition given --objective supervised --epochs 10 --wait"""

from argparse import ArgumentParser
from typing import Any

from mlcore.management.arguments import find, sentence_of
from mlcore.management.run_command import RunCommand
from mlcore.models import AttentionModule, ImageSet, Run, SupervisionSet
from mlcore.runs.start import RunRefused, start_control


class Command(RunCommand):
    help = "Train or fine-tune a classifier; the same run as from the admin's form."
    kind = "train"
    flags = ("objective", "architecture", "epochs", "batch_size", "learning_rate", "attention_weight", "select")

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--supervision", metavar="NAME", help="name or UUID of what people said")
        parser.add_argument(
            "--with-control", action="store_true", help="also the same run without maps (w_a = 0), to compare with"
        )

    def wish(self, options: dict[str, Any]) -> dict[str, Any]:
        given = options["supervision"]
        return super().wish(options) | {"supervision": find(SupervisionSet, given) if given else None}

    def default_name(self, image_set: ImageSet, recipe: dict[str, Any]) -> str:
        return f"{image_set.name}, {recipe.get('objective', 'supervised')}"[:160]

    def go_on(self, run: Run, options: dict[str, Any]) -> None:
        super().go_on(run, options)
        module = AttentionModule.objects.filter(run=run).select_related("classifier").first()
        if module is not None:
            self.stdout.write(f"  {module.uuid}  {module.get_kind_display()} explains “{module.classifier}”")
        if options["with_control"]:
            try:
                control = start_control(run, enqueue=not options["wait"])
            except RunRefused as refused:
                raise sentence_of(refused) from refused
            super().go_on(control, options)
