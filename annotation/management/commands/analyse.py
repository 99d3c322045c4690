"""manage.py analyse STUDY [--kinds human] [--without P-1] [--json] [--latex FILE] [--csv FOLDER] [--figure FILE]"""

import json
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import F

from annotation.analysis import compute_now
from annotation.errors import StudyRefused
from annotation.looking import record_look
from annotation.management.arguments import find_study
from annotation.models import Participant, Study
from annotation.statistics import table


class Command(BaseCommand):
    help = "Alignment of a preference study: what its page shows, here and now, as text, JSON, LaTeX, CSV or picture."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="name or UUID")
        parser.add_argument(
            "--kinds", help="whose answers: human, simulated, imported, by commas (people's, else whoever answered)"
        )
        parser.add_argument(
            "--without", action="append", default=[], metavar="PSEUDONYM", help="left out in a second look; repeatable"
        )
        parser.add_argument("--json", action="store_true", help="all figures as JSON")
        parser.add_argument("--latex", type=Path, metavar="FILE", help="the table for a paper")
        parser.add_argument("--csv", type=Path, metavar="FOLDER", help="cells.csv, raters.csv, images.csv")
        parser.add_argument(
            "--figure", type=Path, action="append", default=[], metavar="FILE", help="*.svg, *.pdf or *.png; repeatable"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        study = find_study(options["study"])
        for path in options["figure"]:
            if path.suffix not in (".svg", ".pdf", ".png"):
                raise CommandError(f"“{path}” should end in .svg, .pdf or .png.")
        kinds = options["kinds"].split(",") if options["kinds"] else _answered(study)
        try:
            report = compute_now(study, [kind.strip() for kind in kinds], without=options["without"])
            if study.state == Study.State.LIVE:
                record_look(study, None)
        except StudyRefused as refused:
            raise CommandError(refused.sentence) from refused
        self._write(report, options)
        if options["json"]:
            self.stdout.write(json.dumps(report, indent=1, ensure_ascii=False))
            return
        for sentence in report["text"]:
            self.stdout.write(sentence)
        self.stdout.write("")
        for cell in report["cells"]:
            shares = " ".join(
                f"{name} {100 * share:5.1f} %" for name, share in cell["shares"].items() if share is not None
            )
            score = cell["alignment"]
            interval = "" if score["low"] is None else f" ({score['low']:+.2f} to {score['high']:+.2f})"
            said = "–" if score["mean"] is None else f"{score['mean']:+.2f}{interval}"
            holm = "" if cell["p_holm"] is None else f"  p(Holm) {cell['p_holm']:.3g}"
            self.stdout.write(f"{cell['cell'] or 'all pairs':<52} {shares}  alignment {said}{holm}")

    def _write(self, report: dict[str, Any], options: dict[str, Any]) -> None:
        from annotation.statistics.alignment import csv_tables, latex
        from annotation.statistics.alignment.figure import PREFERENCES, pictures

        try:
            if options["latex"]:
                options["latex"].write_text(latex.table(report), encoding="utf-8")
            if options["csv"]:
                options["csv"].mkdir(parents=True, exist_ok=True)
                for name in ("cells", "raters", "images"):
                    text = getattr(csv_tables, name)(report)
                    (options["csv"] / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
            drawn = pictures(report) if options["figure"] else {}
            for path in options["figure"]:
                path.write_bytes(drawn[PREFERENCES, path.suffix[1:]])
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}.") from error


def _answered(study: Study) -> list[str]:
    """People's answers; where nobody but others has answered, theirs."""
    every = [kind for kind in Participant.Kind.values if kind != Participant.Kind.PREVIEW]
    kind_of_answer = F("assignment__participant__kind")
    counts = Counter(dict.fromkeys(table.counted([study], every).values_list(kind_of_answer, flat=True).distinct(), 1))
    human = str(Participant.Kind.HUMAN)
    return [human] if human in counts or not counts else sorted(counts)
