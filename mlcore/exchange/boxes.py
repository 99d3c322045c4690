"""Boxes in tables: file, x0, y0, x1, y1 in pixels of the picture, perhaps with a class and “difficult”."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlcore.exchange.readers import BOX_COLUMNS, FILE_COLUMNS, Row, number, read_table
from mlcore.exchange.report import ImportRefused, Problem

YES = ("1", "true", "yes", "y", "t")
NO = ("", "0", "false", "no", "n", "f")
# Boxes are often rounded or scaled: this far beyond the edge is silently the edge.
EDGE = 1.0


@dataclass(frozen=True)
class PlannedBox:
    """A box as the table says it, x0 < x1 and y0 < y1; `category` is None where the picture's own class is meant."""

    x0: float
    y0: float
    x1: float
    y1: float
    category: int | None = None
    difficult: bool = False
    table: str = ""
    row: int | None = None

    def fitted(self, width: int, height: int) -> tuple[PlannedBox | None, str]:
        """The box inside a picture of this size, and a sentence where it had to be cut; (None, why) where none is
        left."""
        x0, y0 = max(self.x0, 0.0), max(self.y0, 0.0)
        x1, y1 = min(self.x1, float(width)), min(self.y1, float(height))
        if x1 <= x0 or y1 <= y0:
            return None, f"The box lies outside its picture, which is {width}×{height}."
        beyond = max(x0 - self.x0, y0 - self.y0, self.x1 - x1, self.y1 - y1)
        said = (
            f"The box reached beyond its picture ({width}×{height}) and was cut at the edge." if beyond > EDGE else ""
        )
        return PlannedBox(x0, y0, x1, y1, self.category, self.difficult, self.table, self.row), said


class BadBox(Exception):
    """A box that a table says wrongly; `field` is the column."""

    def __init__(self, sentence: str, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


def parse_box(row: Row, *, table: str, classes: list[str], class_column: str | None = None) -> PlannedBox:
    """The box of a row. Raises BadBox."""
    values = {}
    for column in BOX_COLUMNS:
        try:
            values[column] = number(row[column])
        except ValueError as error:
            raise BadBox(str(error), column) from error
    for low, high in (("x0", "x1"), ("y0", "y1")):
        if values[high] <= values[low]:
            raise BadBox(f"{high} ({values[high]:g}) must be larger than {low} ({values[low]:g}).", high)
    difficult = row["difficult"].lower()
    if difficult not in YES and difficult not in NO:
        raise BadBox(f"“{row['difficult']}” is neither 1 (difficult) nor 0.", "difficult")
    category = _category(row[class_column], classes, class_column) if class_column else None
    return PlannedBox(**values, category=category, difficult=difficult in YES, table=table, row=row.number)


def _category(value: str, classes: list[str], column: str) -> int | None:
    if not value:
        return None
    if value in classes:
        return classes.index(value)
    if value.isdecimal() and int(value) < len(classes):
        return int(value)
    raise BadBox(f"“{value}” is not a class of this set.", column)


def read_boxes(path: Path, classes: list[str]) -> tuple[list[tuple[str, PlannedBox]], list[Problem]]:
    """(file, box) for each sound row of a table of boxes, and the problems of the others. Raises ImportRefused."""
    table = read_table(path)
    missing = [column for column in BOX_COLUMNS if column not in table.columns]
    if missing:
        raise ImportRefused(f"{path.name}: the column “{missing[0]}” is missing. Boxes need file, x0, y0, x1, y1.")
    named = table.first_of(FILE_COLUMNS) or ""
    class_column = table.first_of(("class", "label", "category"))
    found, problems = [], list(table.problems)
    for row in table.rows:
        try:
            found.append((row[named], parse_box(row, table=path.name, classes=classes, class_column=class_column)))
        except BadBox as error:
            problems.append(Problem(str(error), path.name, row.number, error.field))
    return found, problems
