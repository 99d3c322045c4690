"""Tables and paths that other people wrote: read with every oddity named by row and column."""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mlcore.exchange.report import ImportRefused, Problem

FILE_COLUMNS = ("file", "filename", "file_name", "image", "path")
BOX_COLUMNS = ("x0", "y0", "x1", "y1")
MAX_TABLE_BYTES = 512 * 1024 * 1024
MAX_NAME = 400


@dataclass(frozen=True)
class Row:
    """A line of a table; `number` counts lines in the file, so that an editor finds it."""

    number: int
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


@dataclass(frozen=True)
class Table:
    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]

    def first_of(self, names: Iterable[str]) -> str | None:
        """The first of these columns that the table has."""
        return next((name for name in names if name in self.columns), None)


def read_table(path: Path) -> Table:
    """A CSV (comma, semicolon or tab; UTF-8) with a header that names the file's column.

    Rows with too few or too many cells are named and left out. Raises ImportRefused where the table as a whole
    cannot be read.
    """
    text = table_text(path)
    lines = text.splitlines()
    if not lines or not lines[0].strip():
        raise ImportRefused(f"{path.name}: the table is empty. Its first line must name the columns.")
    delimiter = max(",;\t", key=lines[0].count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        columns = tuple(cell.strip().lower() for cell in next(reader))
        rows, problems = _rows(reader, columns, path.name)
    except csv.Error as error:
        raise ImportRefused(f"{path.name}: the table cannot be read near line {reader.line_num} ({error}).") from error
    twice = sorted({column for column in columns if column and columns.count(column) > 1})
    if twice:
        raise ImportRefused(f"{path.name}: the column “{twice[0]}” stands twice in the first line.")
    table = Table(path.name, columns, rows, problems)
    if table.first_of(FILE_COLUMNS) is None:
        raise ImportRefused(
            f"{path.name}: no column names the files. The first line must have a column “file”; "
            f"it has {', '.join(f'“{column}”' for column in columns[:12])}."
        )
    return table


def table_text(path: Path) -> str:
    """The UTF-8 text of a file. Raises ImportRefused where there is none, or too much of it."""
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise ImportRefused(f"{path.name}: the table is larger than {MAX_TABLE_BYTES / 1e6:.0f} MB.")
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ImportRefused(f"{path.name}: there is no such table.") from error
    except OSError as error:
        raise ImportRefused(f"{path.name}: the table cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise ImportRefused(
            f"{path.name}: the table is not UTF-8 text (byte {error.start}). Save it as UTF-8."
        ) from error
    if "\0" in text:
        raise ImportRefused(f"{path.name}: this is not a text table (it holds zero bytes).")
    return text


def _rows(reader: Any, columns: Sequence[str], name: str) -> tuple[tuple[Row, ...], tuple[Problem, ...]]:
    rows, problems = [], []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(columns):
            sentence = f"The row has {len(cells)} cells, the first line {len(columns)}."
            problems.append(Problem(sentence, name, reader.line_num))
            continue
        values = {column: cell.strip() for column, cell in zip(columns, cells, strict=True)}
        rows.append(Row(reader.line_num, values))
    return tuple(rows), tuple(problems)


def read_class_list(path: Path) -> list[str]:
    """Class names in order: a text file with one a line, or a CSV with columns index (or label) and name (or class,
    english). Names that stand twice (ImageNet has two “crane”) get their index behind them. Raises ImportRefused."""
    text = table_text(path)
    if path.suffix.lower() != ".csv":
        names = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        columns = [(column or "").strip().lower() for column in reader.fieldnames or []]
        reader.fieldnames = columns
        index = next((column for column in ("index", "label", "id") if column in columns), None)
        named = next((column for column in ("name", "class", "english", "class_name") if column in columns), None)
        if index is None or named is None:
            raise ImportRefused(f"{path.name}: a list of classes needs the columns “index” and “name”.")
        found: dict[int, str] = {}
        for row in reader:
            value = (row[index] or "").strip()
            if not value.isdecimal() or int(value) in found:
                raise ImportRefused(f"{path.name}, row {reader.line_num}: “{value}” is no index, or stands twice.")
            found[int(value)] = (row[named] or "").strip()
        if sorted(found) != list(range(len(found))):
            raise ImportRefused(f"{path.name}: the indices must run from 0 to {len(found) - 1} without a gap.")
        names = [found[index] for index in range(len(found))]
    counts = Counter(names)
    return checked_classes(
        [f"{name} ({index})" if counts[name] > 1 else name for index, name in enumerate(names)], path.name
    )


def checked_classes(names: Sequence[str], where: str) -> list[str]:
    """The names as a list. Raises ImportRefused for an empty list, an empty name or one that stands twice."""
    cleaned = [clean_name(str(name)) for name in names]
    if not cleaned:
        raise ImportRefused(f"{where}: the list of classes is empty.")
    if "" in cleaned:
        raise ImportRefused(f"{where}: class {cleaned.index('')} has no name.")
    seen: set[str] = set()
    for name in cleaned:
        if name in seen:
            raise ImportRefused(f"{where}: the class “{name}” stands twice.")
        seen.add(name)
    return cleaned


def clean_name(name: str) -> str:
    """Unicode's composed form: the same name typed on two systems is the same name here."""
    return unicodedata.normalize("NFC", name.strip())


def number(value: str) -> float:
    """A finite number. Raises ValueError with a sentence."""
    try:
        parsed = float(value)
    except ValueError:
        parsed = math.nan
    if not math.isfinite(parsed):
        raise ValueError(f"“{value}” is not a number." if value else "The number is missing.")
    return parsed


class Folder:
    """Files below one folder, found by the names that tables use for them; nothing outside is ever reached."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.real = root.resolve()

    def name_of(self, path: Path) -> str:
        """Path below the folder with forward slashes. Raises ValueError with a sentence."""
        return checked_name(path.relative_to(self.root).as_posix())

    def inside(self, path: Path) -> bool:
        """Whether the file that a path leads to, links followed, lies below the folder."""
        return path.resolve().is_relative_to(self.real)

    def find(self, name: str) -> Path:
        """The file that a table calls `name`. Raises ValueError with a sentence."""
        if not name:
            raise ValueError("The file's name is missing.")
        relative = PurePosixPath(name.replace("\\", "/"))
        if relative.is_absolute() or ".." in relative.parts or (relative.parts and relative.parts[0].endswith(":")):
            raise ValueError(f"“{name}” leads out of the folder.")
        for spelling in (str(relative), *(unicodedata.normalize(form, str(relative)) for form in ("NFC", "NFD"))):
            path = self.root / spelling
            try:
                if path.is_file():
                    break
            except (OSError, ValueError) as error:
                raise ValueError(f"“{name[:80]}” cannot be a file's name.") from error
        else:
            raise ValueError("There is no such file.")
        if not self.inside(path):
            raise ValueError("The file is a link that leads out of the folder.")
        return path


def checked_name(name: str) -> str:
    """A name that every database takes. Raises ValueError with a sentence."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("The file's name is not valid text (UTF-8). Rename it.") from error
    cleaned = unicodedata.normalize("NFC", name)
    if len(cleaned) > MAX_NAME:
        raise ValueError(f"The file's name has {len(cleaned)} characters; at most {MAX_NAME} are taken.")
    return cleaned
