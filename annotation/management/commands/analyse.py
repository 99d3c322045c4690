"""manage.py analyse STUDY [--kinds human] [--without P-1] [--json] [--latex FILE] [--csv FOLDER] [--figure FILE]"""

import json
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import F

from annotation.analysis import compute_now, pictures
from annotation.errors import StudyRefused
from annotation.looking import record_look
from annotation.management.arguments import find_study
from annotation.models import Participant, Study
from annotation.statistics import table
from annotation.studies.team import Team


class Command(BaseCommand):
    help = "The analysis of a preference or a team study, here and now, as text, JSON, LaTeX, CSV or picture."

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
        parser.add_argument(
            "--csv", type=Path, metavar="FOLDER", help="cells, raters and images, or conditions, comparisons and people"
        )
        parser.add_argument(
            "--figure",
            type=Path,
            action="append",
            default=[],
            metavar="FILE",
            help="*.svg, *.pdf or *.png, repeatable; team.* is a team study’s second picture, gain.* a preference’s",
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
        self._write(study, report, options)
        if options["json"]:
            self.stdout.write(json.dumps(report, indent=1, ensure_ascii=False))
            return
        for sentence in report["text"]:
            self.stdout.write(sentence)
        self.stdout.write("")
        for line in _team_lines(report) if study.kind == Team.name else _alignment_lines(report):
            self.stdout.write(line)

    def _write(self, study: Study, report: dict[str, Any], options: dict[str, Any]) -> None:
        from annotation.statistics import team_print
        from annotation.statistics.alignment import csv_tables, latex

        team = study.kind == Team.name
        names = ("conditions", "comparisons", "people") if team else ("cells", "raters", "images")
        writer = team_print if team else csv_tables
        try:
            if options["latex"]:
                text = team_print.table(report) if team else latex.table(report)
                options["latex"].write_text(text, encoding="utf-8")
            if options["csv"]:
                options["csv"].mkdir(parents=True, exist_ok=True)
                for name in names:
                    text = getattr(writer, name)(report)
                    (options["csv"] / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
            drawn = pictures(study.kind, report) if options["figure"] else {}
            first = next((name for name, _ in drawn), "")
            for path in options["figure"]:
                # A file that is called as a picture is that one; any other is the first.
                name = path.stem if (path.stem, path.suffix[1:]) in drawn else first
                path.write_bytes(drawn[name, path.suffix[1:]])
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}.") from error


def _alignment_lines(report: dict[str, Any]) -> Iterator[str]:
    for cell in report["cells"]:
        shares = " ".join(f"{name} {100 * share:5.1f} %" for name, share in cell["shares"].items() if share is not None)
        score = cell["alignment"]
        interval = "" if score["low"] is None else f" ({score['low']:+.2f} to {score['high']:+.2f})"
        said = "–" if score["mean"] is None else f"{score['mean']:+.2f}{interval}"
        holm = "" if cell["p_holm"] is None else f"  p(Holm) {cell['p_holm']:.3g}"
        yield f"{cell['cell'] or 'all pairs':<52} {shares}  alignment {said}{holm}"


def _team_lines(report: dict[str, Any]) -> Iterator[str]:
    from annotation.statistics.team_words import percent

    for one in report["conditions"]:
        means = [percent(one["accuracy"][name]["mean"]) for name in ("overall", "ai_right", "ai_wrong")]
        seconds = one["seconds"]["mean"]
        yield (
            f"{one['condition']:<40} {one['people']:>4} people {one['answers']:>6} answers  all {means[0]:>7}  "
            f"AI right {means[1]:>7}  AI wrong {means[2]:>7}  team {percent(one['team']['mean']):>7}  "
            f"AI alone {percent((one['ai'] or {}).get('accuracy')):>7}  "
            f"{'–' if seconds is None else f'{seconds:.1f}'} s"
        )


def _answered(study: Study) -> list[str]:
    """People's answers; where nobody but others has answered, theirs."""
    every = [kind for kind in Participant.Kind.values if kind != Participant.Kind.PREVIEW]
    kind_of_answer = F("assignment__participant__kind")
    counts = Counter(dict.fromkeys(table.counted([study], every).values_list(kind_of_answer, flat=True).distinct(), 1))
    human = str(Participant.Kind.HUMAN)
    return [human] if human in counts or not counts else sorted(counts)
