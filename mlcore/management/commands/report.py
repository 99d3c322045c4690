"""manage.py report --image-set Birds --classifier A --classifier B --methods grad_cam --part test --wait --csv FILE"""

from argparse import ArgumentParser
from typing import Any

from mlcore.management.arguments import find
from mlcore.management.figure_files import add_figure_files, check_figure_files, write_figure_files
from mlcore.management.run_command import RunCommand, perform_here
from mlcore.models import Classifier, ImageSet, Run
from mlcore.runs.report import Cell, Report, report_of
from mlcore.runs.report_tables import csv_text, latex_text


class Command(RunCommand):
    help = (
        "Compare classifiers and methods on images with boxes or masks: accuracy, maps, metrics, one table. An option "
        "of one method or metric is --option NAME.OPTION=VALUE, such as --option pointing.tolerance=0."
    )
    kind = "report"
    flags = ("part", "methods", "metrics", "target")

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        add_figure_files(parser)

    def add_classifier(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--classifier", action="append", default=[], metavar="NAME", dest="classifiers",
            help="name or UUID of a classifier with exactly the images' classes; repeatable",
        )  # fmt: skip

    def wish(self, options: dict[str, Any]) -> dict[str, Any]:
        check_figure_files(options)
        wish = super().wish(options | {"classifier": None})
        return wish | {"classifiers": [find(Classifier, name) for name in options["classifiers"]]}

    def default_name(self, image_set: ImageSet, recipe: dict[str, Any]) -> str:
        return f"{image_set.name}, report"[:160]

    def go_on(self, run: Run, options: dict[str, Any]) -> None:
        if not options["wait"]:
            super().go_on(run, options)
            return
        run = perform_here(run)
        report = report_of(run)
        assert report is not None, "a report that succeeded has figures"
        self.stdout.write(self.style.SUCCESS(f"{run.uuid} {run.state}: {run.name}"))
        for row in table(report):
            self.stdout.write(row)
        for line in write_figure_files(report, options, csv_text, latex_text):
            self.stdout.write(line)


def table(report: Report) -> list[str]:
    """The report as lines: a row a classifier and method, a column a metric; what was left out below."""
    rows = [["", *(f"{column.name} {column.arrow}{column.shown_unit}" for column in report.columns)]]
    for row in report.everything:
        rows.append([row.title, *map(_cell, row.cells)])
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  ".join(text.ljust(width) if place == 0 else text.rjust(width) for place, (text, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    for row in report.everything:
        for cell in row.cells:
            if cell.left_out and cell.score is not None:
                left = ", ".join(f"{count} {reason}" for reason, count in cell.score.left_out.items())
                lines.append(f"left out of {cell.column.name} of {row.title}: {left}")
    return lines


def _cell(cell: Cell) -> str:
    interval = f" [{', '.join(cell.interval)}]" if cell.interval else ""
    return f"{cell.value or '–'}{interval}"
