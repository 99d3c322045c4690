"""Reads a table of accept/reject decisions that somebody published: CSV as spreadsheets and scripts write it.

Comma, semicolon or tab; UTF-8 (with or without a byte order mark), UTF-16 with one, or Windows-1252, in which western
spreadsheets save. What the columns mean is another matter: annotation.exchange.decisions_columns.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from mlcore.exchange.csv_cells import without_apostrophe
from mlcore.exchange.readers import Row, clean_name
from mlcore.exchange.report import ImportRefused, Problem

MOST_BYTES = 64 * 1024 * 1024
MOST_ROWS = 250_000
MOST_COLUMNS = 200
DELIMITERS = ",;\t"
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# What exports put before a text that a spreadsheet would run as a formula is not the text's own.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


@dataclass(frozen=True)
class Sheet:
    """A table as it stands in the file: text in every cell, and the lines that could not be cut into cells.

    `delimiter` and `encoding` say how it was read.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]
    delimiter: str
    encoding: str

    def values(self, column: str, most: int | None = None) -> list[str]:
        """The cells of a column that are not empty, in the order of the rows, of the first `most` rows."""
        return [row[column] for row in self.rows[:most] if row[column]]


def read_sheet(path: Path) -> Sheet:
    """The table in this file. Raises ImportRefused with a sentence."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ImportRefused(f"{path.name}: the table is larger than {MOST_BYTES >> 20} MB. Import it in parts.")
        return parse_sheet(path.read_bytes(), path.name)
    except OSError as error:
        raise ImportRefused(f"{path.name}: the table cannot be read ({error.strerror or error}).") from error


def parse_sheet(data: bytes, name: str, most_rows: int = MOST_ROWS) -> Sheet:
    """The table in these bytes; `name` is what sentences call it. Raises ImportRefused with a sentence."""
    text, encoding = _decoded(data, name)
    head = next((line for line in text.splitlines() if line.strip()), "")
    if not head:
        raise ImportRefused(f"{name}: the table is empty. Its first line must name the columns.")
    # Excel's own hint, where somebody left it in.
    hinted = head.strip().lower().startswith("sep=") and len(head.strip()) == len("sep=,")
    delimiter = head.strip()[-1] if hinted else max(DELIMITERS, key=head.count)
    if delimiter not in DELIMITERS:
        raise ImportRefused(f"{name}: columns are separated by comma, semicolon or tab, not by “{delimiter}”.")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: tuple[str, ...] = ()
    rows: list[Row] = []
    problems: list[Problem] = []
    plain = _Plain()
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells) or (hinted and not columns and cells[0][:4].lower() == "sep="):
                continue
            if not columns:
                columns = _checked_columns(cells, name)
            elif len(cells) != len(columns):
                told = f"the row has {len(cells)} cells, the first line {len(columns)}."
                problems.append(Problem(told, name, reader.line_num))
            else:
                values = {column: plain[cell] for column, cell in zip(columns, cells, strict=True) if column}
                rows.append(Row(reader.line_num, values))
                if len(rows) > most_rows:
                    raise ImportRefused(
                        f"{name}: the table has more than {most_rows:,} rows. Import it with "
                        "manage.py import_decisions, or in parts."
                    )
    except csv.Error as error:
        raise ImportRefused(f"{name}: the table cannot be read near line {reader.line_num} ({error}).") from error
    if not rows:
        raise ImportRefused(f"{name}: there is no row below the names of the columns.", problems)
    return Sheet(name, tuple(column for column in columns if column), tuple(rows), tuple(problems), delimiter, encoding)


def _decoded(data: bytes, name: str) -> tuple[str, str]:
    if len(data) > MOST_BYTES:
        raise ImportRefused(f"{name}: the table is larger than {MOST_BYTES >> 20} MB. Import it in parts.")
    marked = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)
    for encoding in (marked,) if marked else ("utf-8", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text, {"utf-8-sig": "UTF-8", "utf-8": "UTF-8", "utf-16": "UTF-16", "cp1252": "Windows-1252"}[encoding]
    raise ImportRefused(f"{name}: this is not a text table. Save it as CSV in UTF-8.")


def _checked_columns(cells: list[str], name: str) -> tuple[str, ...]:
    columns = tuple(_cell(cell) for cell in cells)
    if len(columns) > MOST_COLUMNS:
        raise ImportRefused(f"{name}: the table has {len(columns)} columns; at most {MOST_COLUMNS} are taken.")
    folded = [column.lower() for column in columns if column]
    twice = next((column for column in columns if column and folded.count(column.lower()) > 1), None)
    if twice is not None:
        raise ImportRefused(f"{name}: the column “{twice}” stands twice in the first line.")
    if len(folded) < 2:
        raise ImportRefused(f"{name}: one column alone. Columns are separated by comma, semicolon or tab.")
    return columns


class _Plain(dict[str, str]):
    """Cell → its text. The same few values stand in most rows: each is cleaned and kept once."""

    def __missing__(self, cell: str) -> str:
        self[cell] = _cell(cell)
        return self[cell]


def _cell(cell: str) -> str:
    """Without what only looks like text: spaces around it, control characters, a spreadsheet's apostrophe."""
    return without_apostrophe(clean_name(_CONTROL.sub(" ", cell)))
