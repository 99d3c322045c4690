"""A study leaves as CSV or JSON: its answers row by row, with a codebook, and its statistics.

Pseudonyms only: no login, no mail address, no recruiting id. Written as a stream, in constant memory.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import IO, Any

from django.db.models import QuerySet
from django.utils import timezone

from annotation.exchange.rows import COMMON
from annotation.models import Answer, Participant, Study
from annotation.statistics.table import checked_kinds
from annotation.studies import kind_of
from annotation.studies.base import HUMAN_ONLY, Column
from mlcore.exchange.csv_cells import csv_cell

# A spreadsheet runs a cell that begins so as a formula.
# Those who only look at a study are nobody in its data.
ALL_KINDS: tuple[str, ...] = tuple(kind for kind in Participant.Kind.values if kind != Participant.Kind.PREVIEW)
PEOPLE = (
    Column("participant", "Pseudonym, the same within the study", "text"),
    Column("participant_kind", "Who it was; simulated and imported ones are not people", "human, simulated, imported"),
    Column("arm", "The condition of the person; empty where people meet all", "text"),
    Column("list", "Number of the person's fixed list", "from 1"),
    Column("phase", "How far the person came", "consent, introduction, practice, qualification, main, exit, done"),
    Column("outcome", "How the participation ended; empty: it goes on", "completed, failed_checks, screened_out, …"),
    Column("qualification_tries", "Tries at the qualification that were used up", "from 0"),
    Column("consent", "When the person agreed; empty: nobody was asked, or not yet", "ISO 8601, UTC"),
    Column("consent_version", "Version of the texts that the person agreed to", "from 1"),
    Column("started", "When the person entered", "ISO 8601, UTC"),
    Column("finished", "When the participation ended", "ISO 8601, UTC"),
)  # fmt: skip
EXIT = "exit_"


def columns(study: Study) -> tuple[Column, ...]:
    """The export's columns with their meaning: the codebook."""
    return COMMON + kind_of(study).columns


def answers_of(study: Study, kinds: Sequence[str] | None = None) -> "QuerySet[Answer]":
    """All answers, of all phases and of everyone unless `kinds` says otherwise.

    The columns `phase` and `participant_kind` say what counts in figures.
    """
    chosen = ALL_KINDS if kinds is None else checked_kinds(kinds)
    rows = Answer.objects.filter(assignment__trial__study=study, assignment__participant__kind__in=chosen)
    return rows.exclude(assignment__participant__kind=Participant.Kind.PREVIEW)


def export_csv(study: Study, stream: IO[str], *, kinds: Sequence[str] | None = None) -> int:
    """Write the answers with a line of column names; how many rows that were. UTF-8, RFC 4180.

    Truth values are `true` and `false`, what is missing is empty. Text that a spreadsheet would run as a formula gets
    an apostrophe in front.
    """
    number = 0
    for line in csv_lines(study, kinds=kinds):
        stream.write(line)
        number += 1
    return number - 1


def csv_lines(study: Study, *, kinds: Sequence[str] | None = None) -> Iterator[str]:
    """The same, line by line, for a streamed response."""
    names = [column.name for column in columns(study)]
    writer = csv.writer(_Echo())
    yield writer.writerow(names)
    for row in kind_of(study).export_rows(answers_of(study, kinds)):
        yield writer.writerow([csv_cell(row.get(name)) for name in names])


def people_csv_lines(study: Study) -> Iterator[str]:
    """People line by line, in the order in which they came: pseudonyms, outcomes, times, and a column `exit_…` for each
    exit question that any version of the study asks. Neither nicknames nor recruiting ids. In constant memory."""
    questions = list(
        dict.fromkeys(
            question["name"]
            for plan in study.versions.order_by("number").values_list("plan", flat=True)
            for question in (plan or {}).get("exit", [])
        )
    )
    writer = csv.writer(_Echo())
    yield writer.writerow([column.name for column in PEOPLE] + [f"{EXIT}{name}" for name in questions])
    rows = (
        Participant.objects.filter(study=study, kind__in=ALL_KINDS)
        .order_by("pk")
        .values_list(
            "pseudonym", "kind", "arm__name", "trial_list__number", "phase", "outcome", "tries", "consent_at",
            "consent_version__number", "created", "finished", "exit_answers__values",
        )
    )  # fmt: skip
    for *plain, said in rows.iterator(chunk_size=2000):
        answers = said or {}
        cells = [value.isoformat(timespec="seconds") if isinstance(value, datetime) else value for value in plain]
        yield writer.writerow([csv_cell(value) for value in cells + [answers.get(name) for name in questions]])


def export_people(study: Study, stream: IO[str]) -> int:
    """Write the people as CSV; how many there are."""
    number = 0
    for line in people_csv_lines(study):
        stream.write(line)
        number += 1
    return number - 1


def export_json(study: Study, stream: IO[str], *, kinds: Sequence[str] | None = None) -> int:
    """Write one JSON object: study, codebook, statistics, answers; how many answers' rows that were.

    Without `kinds` the rows are everyone's and the statistics are people's only.
    """
    number = 0
    for number, piece in enumerate(json_pieces(study, kinds=kinds)):  # noqa: B007  head and end enclose the rows
        stream.write(piece)
    return number - 1


def json_pieces(study: Study, *, kinds: Sequence[str] | None = None) -> Iterator[str]:
    """The same, piece by piece: the head, one piece a row, the end."""
    kind = kind_of(study)
    head = {
        "format": "harmony.study/1",
        "exported": timezone.now().isoformat(timespec="seconds"),
        "study": describe(study),
        "codebook": codebook(study),
        "statistics": kind.statistics(study, HUMAN_ONLY if kinds is None else kinds),
    }
    text = json.dumps(head, ensure_ascii=False, indent=1)
    yield text[: text.rindex("\n}")] + ',\n "answers": [\n'
    comma = ""
    for row in kind.export_rows(answers_of(study, kinds), full=True):
        yield comma + "  " + json.dumps(row, ensure_ascii=False)
        comma = ",\n"
    yield "\n ]\n}\n"


def describe(study: Study) -> dict[str, Any]:
    version = study.version
    return {
        "uuid": str(study.uuid),
        "name": study.name,
        "kind": study.kind,
        "state": study.state,
        "title": version.title,
        "task": version.task,
        "version": version.number,
        "settings": version.settings,
        "answers_per_trial": study.answers_per_trial,
        "image_set": study.image_set.name,
        "classes": study.image_set.classes,
    }


def codebook(study: Study) -> list[dict[str, str]]:
    return [{"column": item.name, "meaning": item.meaning, "values": item.values} for item in columns(study)]


def export_codebook(study: Study, stream: IO[str]) -> None:
    """Write the codebook as CSV: column, meaning, values."""
    writer = csv.DictWriter(stream, ["column", "meaning", "values"])
    writer.writeheader()
    writer.writerows(codebook(study))


def export_statistics_csv(study: Study, stream: IO[str], *, kinds: Sequence[str] = HUMAN_ONLY) -> None:
    """Write the figures as tables, one below the other, each under its title; the first line names whose they are."""
    kind = kind_of(study)
    writer = csv.writer(stream)
    writer.writerow(["Answers of", ", ".join(checked_kinds(kinds))])
    for table in kind.tables(study, kinds):
        writer.writerow([])
        writer.writerow([table.title])
        writer.writerow(table.columns)
        writer.writerows([csv_cell(value) for value in row] for row in table.rows)


def export_statistics_json(study: Study, stream: IO[str], *, kinds: Sequence[str] = HUMAN_ONLY) -> None:
    """Write the figures as one JSON object."""
    figures = kind_of(study).statistics(study, kinds)
    json.dump({"study": describe(study), "statistics": figures}, stream, ensure_ascii=False, indent=1)


class _Echo:
    """A file whose write gives back the text: csv.writer returns what write returned."""

    def write(self, text: str) -> str:
        return text
