"""Reads what the released harmony_app leaves behind: its SQLite database, or its fixtures (definitions §5).

Both hold examples (an image, the original's map, the tuned classifier's) of four looked-up names, and labels: what a
user chose. A fixture file may hold examples alone; names that it does not look up are read from the examples' paths.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from annotation.exchange.harmony_app_names import APP, CHOICES, EXAMPLE, PICTURES, TABLES
from mlcore.exchange.report import ImportRefused

SQLITE = b"SQLite format 3\x00"
LABEL, USER = f"{APP}.label", "auth.user"
# Where a path names what an example is of: folder/dataset/experiment/model/method/file.
IN_PATH = {"dataset": -5, "experiment": -4, "cnn_model": -3, "relevancy_method": -2}
MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Example:
    """One pair of maps; the names are theirs."""

    number: int
    dataset: str
    experiment: str
    cnn_model: str
    relevancy_method: str
    prediction: str
    image: str
    original: str
    learn: str

    @property
    def cell(self) -> tuple[str, str, str, str]:
        """What the alignment is asked for, each by itself."""
        return self.dataset, self.experiment, self.cnn_model, self.relevancy_method


@dataclass
class Released:
    """Everything that counts: labels by (user, example), the first of repeated ones."""

    examples: list[Example] = field(default_factory=list)
    labels: dict[tuple[int, int], str] = field(default_factory=dict)
    users: dict[int, str] = field(default_factory=dict)
    repeated: int = 0
    contradicting: int = 0
    without_example: int = 0


def read(sources: Iterable[Path]) -> Released:
    """A database, or fixtures that belong together (files, or folders of *.json). Raises ImportRefused."""
    paths = [Path(source) for source in sources]
    for path in paths:
        if not path.exists():
            raise ImportRefused(f"There is no file “{path}”.")
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if not files:
        raise ImportRefused("There is no *.json in that folder.")
    for file in files:
        if file.stat().st_size > MOST_BYTES:
            raise ImportRefused(f"“{file.name}” is larger than {MOST_BYTES >> 30} GB.")
    databases = [file for file in files if _is_database(file)]
    if databases and len(files) > 1:
        raise ImportRefused("Import one database, or fixtures that belong together; not both at once.")
    rows = _from_database(databases[0]) if databases else _from_fixtures(files)
    return _joined(rows)


def _is_database(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(SQLITE)) == SQLITE


Rows = dict[str, dict[int, dict[str, Any]]]


def _from_database(file: Path) -> Rows:
    wanted = {
        EXAMPLE: ("dataset_id", "experiment_id", "cnn_model_id", "relevancy_method_id", "prediction", *PICTURES),
        LABEL: ("choice", "example_id", "user_id"),
        USER: ("username",),
    } | dict.fromkeys(TABLES.values(), ("name",))
    found: Rows = {}
    # Opened without a write: a copy that is still in use stays as it is.
    connection = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
    try:
        for model, columns in wanted.items():
            table = model.replace(".", "_")
            said = connection.execute(f'select id, {", ".join(columns)} from "{table}" order by id')  # noqa: S608
            names = [column.removesuffix("_id") for column in columns]
            found[model] = {row[0]: dict(zip(names, row[1:], strict=True)) for row in said}
    except sqlite3.Error as error:
        raise ImportRefused(f"“{file.name}” is not a database of harmony_app: {error}.") from error
    finally:
        connection.close()
    return found


def _from_fixtures(files: Iterable[Path]) -> Rows:
    found: Rows = {}
    for file in files:
        try:
            entries = json.loads(file.read_bytes())
        except (ValueError, UnicodeDecodeError) as error:
            raise ImportRefused(f"“{file.name}” is not JSON: {error}.") from error
        if not isinstance(entries, list):
            raise ImportRefused(f"“{file.name}” is not a fixture: a list of entries is expected.")
        for place, entry in enumerate(entries, 1):
            try:
                model, number, fields = str(entry["model"]), int(entry["pk"]), dict(entry["fields"])
            except (TypeError, KeyError, ValueError):
                raise ImportRefused(f"“{file.name}”, entry {place}: model, pk and fields are expected.") from None
            found.setdefault(model, {})[number] = fields
    return found


def _joined(rows: Rows) -> Released:
    if not rows.get(EXAMPLE):
        raise ImportRefused(f"There is no {EXAMPLE} in it: this is not a database or fixture of harmony_app.")
    names = {key: {pk: str(row.get("name") or "") for pk, row in rows.get(model, {}).items()}
             for key, model in TABLES.items()}  # fmt: skip
    released = Released(
        examples=[_example(number, row, names) for number, row in sorted(rows[EXAMPLE].items())],
        users={number: str(row.get("username") or number) for number, row in rows.get(USER, {}).items()},
    )
    known = {example.number for example in released.examples}
    # In the order in which they were given: the first label of a user for an example is the one that counts.
    for number, row in sorted(rows.get(LABEL, {}).items()):
        choice = str(row.get("choice"))
        if choice not in CHOICES:
            raise ImportRefused(f"Label {number}: “{choice}” is not one of {', '.join(CHOICES)}.")
        try:
            key = int(row["user"]), int(row["example"])
        except (KeyError, TypeError, ValueError):
            raise ImportRefused(f"Label {number} does not say whose it is, or of which example.") from None
        if key[1] not in known:
            released.without_example += 1
        elif key in released.labels:
            released.repeated += 1
            released.contradicting += released.labels[key] != choice
        else:
            released.labels[key] = choice
    return released


def _example(number: int, row: Mapping[str, Any], names: Mapping[str, Mapping[int, str]]) -> Example:
    pictures = {key: str(row.get(key) or "") for key in PICTURES}
    if not pictures["image"]:
        raise ImportRefused(f"Example {number} names no image.")
    said = {key: _name(number, key, row.get(key), names[key], pictures["image"]) for key in IN_PATH}
    return Example(number=number, prediction=str(row.get("prediction") or ""), **said, **pictures)


def _name(number: int, key: str, value: Any, names: Mapping[int, str], path: str) -> str:
    """By its row; else as natural key; else as the path of the image says it."""
    if isinstance(value, int) and names.get(value):
        return names[value]
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    parts = PurePosixPath(path).parts
    if len(parts) >= -IN_PATH["dataset"]:
        return parts[IN_PATH[key]]
    raise ImportRefused(f"Example {number}: its {key} {value} is in none of the files; add the fixture that holds it.")
