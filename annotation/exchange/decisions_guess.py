"""Guesses what the columns of a table of decisions mean, from their names and from whether their values can be read so.

Where the AI's label stands in several columns, each condition takes the one that fits what the table says of the AI
being right in every row of it; among several that fit, the one whose name is most like the condition's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from statistics import median

from annotation.exchange.decisions import Sheet
from annotation.exchange.decisions_cells import number, truth
from annotation.exchange.decisions_columns import LABEL, PREDICTED, ROLES, TIMES, Reading, Role, conditions_of

LOOKED_AT = 400  # rows
READABLE = 0.9  # of the values that are looked at
UNITS = {"milliseconds": ("_ms", "ms", "milliseconds"), "seconds": ("_s", "_sec", "seconds")}
FASTEST_MILLISECONDS = 200  # nobody decides faster, and nobody takes so many seconds in the median
_NO_LETTER = re.compile(r"[^a-z0-9]+")


def guess(sheet: Sheet) -> Reading:
    """The likeliest reading; roles that no column fits are left out."""
    columns: dict[str, str] = {}
    free = {_plain(column): column for column in sheet.columns}
    for role in ROLES:
        found = _column_of(role, free, sheet)
        if found is not None:
            columns[role.name] = free.pop(found)
    labels = guess_labels(sheet, columns)
    if labels:
        del columns[LABEL]
    return Reading(columns, labels)


def _plain(column: str) -> str:
    return _NO_LETTER.sub("_", column.lower()).strip("_")


def _column_of(role: Role, free: dict[str, str], sheet: Sheet) -> str | None:
    names = [name for name in role.names if name in free]
    if role.like is not None:
        names += [name for name in free if role.like.search(name) and name not in names]
    for name in names:
        values = sheet.values(free[name], LOOKED_AT)
        if values and _readable(role, values) >= READABLE and _right_unit(role, name, values):
            return name
    return None


def _readable(role: Role, values: list[str]) -> float:
    return sum(_can(role, value) for value in values) / len(values)


def _can(role: Role, value: str) -> bool:
    try:
        role.read(value)
    except ValueError:
        return False
    return True


def _right_unit(role: Role, name: str, values: list[str]) -> bool:
    """Names such as “rt” or “time” say no unit; the values do."""
    if role.name not in TIMES:
        return True
    said = next((unit for unit, endings in UNITS.items() if name.endswith(endings)), None)
    if said is None:
        middle = median(number(value) for value in values if _can(role, value))
        said = "milliseconds" if middle >= FASTEST_MILLISECONDS else "seconds"
    return said == role.name


def guess_labels(sheet: Sheet, columns: Mapping[str, str]) -> dict[str, str]:
    """Condition → column of its AI's label; nothing where one column serves all, or nothing tells them apart."""
    read = {column for role, column in columns.items() if role != LABEL}
    candidates = [column for column in sheet.columns if column not in read and PREDICTED.search(_plain(column))]
    told = {role: columns.get(role) for role in ("condition", "truth", "ai_right")}
    if len(candidates) < 2 or None in told.values():
        return {}
    fits: dict[str, set[str]] = {name: set(candidates) for name in conditions_of(sheet, told["condition"])}
    for row in sheet.rows:
        shown, ai_right = row[told["truth"] or ""], row[told["ai_right"] or ""]
        if not shown or not ai_right:
            continue
        try:
            right = truth(ai_right)
        except ValueError:
            continue
        left = fits.get(row[told["condition"] or ""], set())
        left -= {column for column in left if row[column] and (row[column] == shown) != right}
    if any(set(candidates) == left for left in fits.values()) or not all(fits.values()):
        return {}  # nothing tells them apart, or none of them is it
    return {name: max(sorted(left), key=lambda column: _alike(name, column)) for name, left in fits.items()}


def _alike(condition: str, column: str) -> float:
    return SequenceMatcher(None, _plain(condition), _plain(column)).ratio()
