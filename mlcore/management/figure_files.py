"""--csv and --latex: files that a command writes figures into once its run is done."""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from django.core.management.base import CommandError

Figures = TypeVar("Figures")


def add_figure_files(parser: ArgumentParser) -> None:
    """--csv, --latex."""
    parser.add_argument("--csv", type=Path, metavar="FILE", help="with --wait: every figure, one a line")
    parser.add_argument("--latex", type=Path, metavar="FILE", help="with --wait: the table for a paper (booktabs)")


def check_figure_files(options: dict[str, Any]) -> None:
    """Raises CommandError where the files could not be written, before anything is computed."""
    files = [options[name] for name in ("csv", "latex") if options[name] is not None]
    if files and not options["wait"]:
        raise CommandError("--csv and --latex write figures, which are there only after the run: add --wait.")
    for path in files:
        if not path.parent.is_dir():
            raise CommandError(f"The folder of {path} does not exist.")
        if path.is_dir():
            raise CommandError(f"“{path}” is a folder: name a file in it.")
    if len(set(files)) < len(files):
        raise CommandError("--csv and --latex name one file: the second would write over the first.")


def write_figure_files(
    figures: Figures, options: dict[str, Any], csv: Callable[[Figures], str], latex: Callable[[Figures], str]
) -> Iterator[str]:
    """Writes what was asked for; a line for each file. Raises CommandError."""
    for path, text in ((options["csv"], csv), (options["latex"], latex)):
        if path is not None:
            try:
                path.write_text(text(figures), "utf-8")
            except OSError as error:
                raise CommandError(f"{path} could not be written ({error.strerror or error}).") from error
            yield f"written: {path}"
