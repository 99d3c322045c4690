"""manage.py correspond --images Birds --classifier "iNaturalist" --matchers knn,emd_corr --wait --json"""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from mlcore.management.arguments import find
from mlcore.management.figure_files import add_figure_files, check_figure_files, write_figure_files
from mlcore.management.run_command import RunCommand, perform_here
from mlcore.models import ImageSet, Run
from mlcore.runs.correspond_report import outcome_of
from mlcore.runs.correspond_tables import csv_text, document, latex_text, table


class Command(RunCommand):
    help = (
        "Classify images by comparing them with a gallery: nearest neighbours, EMD-Corr, CHM-Corr, and beside them the "
        "classifier's own answer. An option of one matcher is --option MATCHER.OPTION=VALUE, such as "
        "--option emd_corr.num_patch=9."
    )
    kind = "correspond"
    flags = ("part", "gallery_part", "matchers", "layer", "classes", "label_source", "index")

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--gallery", metavar="NAME",
            help="name or UUID of the images that are compared with; left out: those of --images, none with itself",
        )  # fmt: skip
        parser.add_argument("--json", action="store_true", help="with --wait: one JSON document, and nothing else")
        add_figure_files(parser)

    def wish(self, options: dict[str, Any]) -> dict[str, Any]:
        if options["json"] and not options["wait"]:
            raise CommandError("--json prints figures, which are there only after the run: add --wait.")
        check_figure_files(options)
        given = options["gallery"]
        return super().wish(options) | {"gallery": find(ImageSet, given) if given else None}

    def default_name(self, image_set: ImageSet, recipe: dict[str, Any]) -> str:
        return f"{image_set.name}, by comparison"[:160]

    def go_on(self, run: Run, options: dict[str, Any]) -> None:
        if not options["wait"]:
            super().go_on(run, options)
            return
        outcome = outcome_of(perform_here(run))
        assert outcome is not None, "a comparison that succeeded has an outcome"
        run = outcome.run
        if options["json"]:
            self.stdout.write(json.dumps(document(outcome), ensure_ascii=False, indent=1))
        else:
            self.stdout.write(self.style.SUCCESS(f"{run.uuid} {run.state}: {run.name}"))
            for line in table(outcome):
                self.stdout.write(line)
        for line in write_figure_files(outcome, options, csv_text, latex_text):
            if not options["json"]:
                self.stdout.write(line)
