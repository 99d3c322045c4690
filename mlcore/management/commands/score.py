"""manage.py score --image-set Birds --metrics pointing,deletion --part test --wait --json"""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from mlcore.management.arguments import find
from mlcore.management.run_command import RunCommand, perform_here
from mlcore.models import Explanation, ExplanationSet, HumanMapSet, ImageSet, Partition, Run
from mlcore.runs.score_document import document


class Command(RunCommand):
    help = (
        "Compute metrics of sets of maps and write a table. An option of one metric is --option METRIC.OPTION=VALUE, "
        "such as --option pointing.tolerance=0."
    )
    kind = "score"
    flags = ("part", "metrics")

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--sets", nargs="+", default=["all"], metavar="UUID",
            help="sets of maps (the first letters of a UUID are enough), or all (default): each that has maps there",
        )  # fmt: skip
        parser.add_argument("--human-maps", metavar="NAME", help="name or UUID of people's maps to compare with")
        parser.add_argument("--json", action="store_true", help="with --wait: one JSON document, and nothing else")

    def wish(self, options: dict[str, Any]) -> dict[str, Any]:
        if options["json"] and not options["wait"]:
            raise CommandError("--json prints figures, which are there only after the run: add --wait.")
        if options["classifier"]:
            raise CommandError("Every set has its classifier; choose sets by --sets and leave out --classifier.")
        wish = super().wish(options)
        given = options["human_maps"]
        image_set, part = wish["image_set"], str(wish["recipe"].get("part") or "all")
        return wish | {
            "explanation_sets": _sets(options["sets"], image_set, wish["partition"], part),
            "human_maps": find(HumanMapSet, given) if given else None,
        }

    def default_name(self, image_set: ImageSet, recipe: dict[str, Any]) -> str:
        return f"{image_set.name}, {recipe.get('metrics') or 'scores'}"[:160]

    def go_on(self, run: Run, options: dict[str, Any]) -> None:
        if not options["wait"]:
            super().go_on(run, options)
            return
        run = perform_here(run)
        told = document(run)
        if options["json"]:
            self.stdout.write(json.dumps(told, ensure_ascii=False, indent=1))
            return
        self.stdout.write(self.style.SUCCESS(f"{run.uuid} {run.state}: {run.name}"))
        for row in table(told):
            self.stdout.write(row)


def _sets(given: list[str], image_set: ImageSet, partition: Partition | None, part: str) -> list[ExplanationSet]:
    if given != ["all"]:
        return [find(ExplanationSet, one, image_set=image_set) for one in given]
    maps = Explanation.objects.filter(set__image_set=image_set, payload=Explanation.Payload.MAP)
    if part != "all" and partition is not None:
        maps = maps.filter(image__memberships__partition=partition, image__memberships__part=part)
    return list(ExplanationSet.objects.filter(pk__in=maps.values("set")).order_by("pk"))


def table(told: dict[str, Any]) -> list[str]:
    """The document as lines: a row a set, a column a metric; people's agreement and what was left out below."""
    metrics = told["metrics"]
    arrows = {True: " ↑", False: " ↓", None: ""}
    head = ["", *(metric["metric"] + arrows[metric["higher_is_better"]] for metric in metrics)]
    rows = [
        [f"{one['classifier_name']} · {one['method']} · {one['target']}"]
        + [_cell(one["scores"].get(metric["metric"])) for metric in metrics]
        for one in told["sets"]
    ]
    if told["ceiling"]:
        rows.append(["people with each other"] + [_cell(told["ceiling"].get(metric["metric"])) for metric in metrics])
    widths = [max(len(row[place]) for row in [head, *rows]) for place in range(len(head))]
    lines = [
        "  ".join(text.ljust(width) if place == 0 else text.rjust(width) for place, (text, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in [head, *rows])
    ]
    for one in told["sets"]:
        for metric in metrics:
            found = one["scores"].get(metric["metric"]) or {}
            left = ", ".join(f"{count} {reason}" for reason, count in (found.get("left_out") or {}).items())
            if left:
                lines.append(f"left out of {metric['metric']} of {one['method']} ({one['set'][:8]}): {left}")
    return lines


def _cell(found: dict[str, Any] | None) -> str:
    if found is None or found["value"] is None:
        return "–"
    interval = "" if found["low"] is None else f" [{found['low']:.3f}, {found['high']:.3f}]"
    return f"{found['value']:.3f}{interval} n={found['n']}"
