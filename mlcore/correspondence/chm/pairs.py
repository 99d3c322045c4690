"""Pairs of pictures with key points that a person (or a data set) set: the file that they are read from.

JSON lines, a pair a line; paths from the file's own folder, pixels of the pictures as they are, the left upper corner
of a picture at 0, 0; `box` (x0, y0, x1, y1), of the object in the target, may be absent:

    {"source": "a.jpg", "target": "b.jpg", "points": [[12, 30.5], [80, 44]], "true": [[20, 28], [91, 40]], "box": [4, 9, 120, 88]}

CSV, a key point a line, with the columns source, target, x, y, to_x, to_y and, where the object is known, x0, y0, x1, y1;
lines of the same source and target are one pair.
"""  # noqa: E501

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COLUMNS = ("source", "target", "x", "y", "to_x", "to_y")
BOX = ("x0", "y0", "x1", "y1")
Point = tuple[float, float]


@dataclass(frozen=True)
class KeyPointPair:
    """Two pictures, key points (x, y) of the source and where they are in the target, in pixels of each; box: of the
    object in the target, None where nobody says."""

    source: Path
    target: Path
    points: tuple[Point, ...]
    true: tuple[Point, ...]
    box: tuple[float, float, float, float] | None = None


def read_pairs(path: str | Path) -> list[KeyPointPair]:
    """The pairs of a .jsonl or .csv file, in its order. Raises ValueError naming the file and the line."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path.name}: the file of key-point pairs does not exist.")
    readers = {".jsonl": _json_lines, ".csv": _table}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path.name}: key-point pairs are read from .jsonl or .csv.")
    try:
        found = list(readers[path.suffix.lower()](path))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: the file is no text in UTF-8.") from error
    if not found:
        raise ValueError(f"{path.name}: the file holds no pair.")
    return found


def _json_lines(path: Path) -> Iterator[KeyPointPair]:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path.name}, line {number}"
        try:
            raw = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{where}: this is no JSON ({error}).") from error
        if not isinstance(raw, dict):
            raise ValueError(f"{where}: a pair is an object with source, target, points and true.")
        lacking = [name for name in ("source", "target", "points", "true") if not raw.get(name)]
        if lacking:
            raise ValueError(f"{where}: the pair lacks {', '.join(lacking)}.")
        yield _pair(path, where, raw, raw["points"], raw["true"], raw.get("box"))


def _table(path: Path) -> Iterator[KeyPointPair]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = csv.DictReader(stream)
        lacking = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if lacking:
            raise ValueError(f"{path.name}: the columns {', '.join(lacking)} are missing.")
        pairs: dict[tuple[str, str], dict[str, Any]] = {}
        for row in rows:
            where = f"{path.name}, line {rows.line_num}"
            if not row["source"] or not row["target"]:
                raise ValueError(f"{where}: a key point names its source and its target.")
            known = pairs.setdefault(
                (row["source"], row["target"]), {"where": where, "points": [], "true": [], "box": None}
            )
            known["points"].append(_numbers(where, (row["x"], row["y"])))
            known["true"].append(_numbers(where, (row["to_x"], row["to_y"])))
            box = [row.get(name) or "" for name in BOX]
            if all(box):
                known["box"] = box
    for (source, target), known in pairs.items():
        raw = {"source": source, "target": target}
        yield _pair(path, known["where"], raw, known["points"], known["true"], known["box"])


def _pair(path: Path, where: str, raw: dict[str, Any], points: Any, true: Any, box: Any) -> KeyPointPair:
    files = [path.parent / str(raw[name]) for name in ("source", "target")]
    for file in files:
        if not file.is_file():
            raise ValueError(f"{where}: the picture {file.name} does not exist.")
    if not isinstance(points, list) or not isinstance(true, list) or len(points) != len(true):
        raise ValueError(f"{where}: points and true are lists of as many (x, y).")
    corners = None
    if box is not None:
        left, top, right, bottom = _numbers(where, box, 4)
        if right <= left or bottom <= top:
            raise ValueError(f"{where}: the box is empty; it is x0, y0, x1, y1.")
        corners = (left, top, right, bottom)
    return KeyPointPair(
        files[0], files[1],
        tuple(_point(where, one) for one in points), tuple(_point(where, one) for one in true), corners,
    )  # fmt: skip


def _point(where: str, raw: Any) -> Point:
    x, y = _numbers(where, raw)
    return x, y


def _numbers(where: str, raw: Any, count: int = 2) -> tuple[float, ...]:
    try:
        found = tuple(float(value) for value in raw)
    except (TypeError, ValueError):
        found = ()
    if len(found) != count or not all(math.isfinite(value) for value in found):
        raise ValueError(f"{where}: {raw!r} is not {count} numbers.")
    return found
