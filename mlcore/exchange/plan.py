"""What an import is going to read: every picture with its classes, boxes and part, before a file is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mlcore.exchange.boxes import PlannedBox
from mlcore.exchange.parts import part_of
from mlcore.exchange.readers import Folder, checked_classes, checked_name
from mlcore.exchange.report import ImportRefused, Problem
from mlcore.exchange.segments import Segment
from mlcore.models.partitions import Part

# Files that systems and people leave beside pictures; naming each of them as broken would bury the real ones.
BESIDE = (".csv", ".txt", ".json", ".md", ".xml", ".html", ".db", ".ini", ".zip", ".pdf", ".py", ".yaml", ".yml")


@dataclass
class Planned:
    """One picture: where it is, what it is called below the folder, and what the source says about it.

    size: (width, height) that its boxes and segments are for, where the source says it. segments: those of each class.
    """

    name: str
    path: Path
    labels: list[int] = field(default_factory=list)
    part: str = ""
    boxes: list[PlannedBox] = field(default_factory=list)
    row: int | None = None
    size: tuple[int, int] | None = None
    segments: dict[int, list[Segment]] = field(default_factory=dict)


@dataclass
class Plan:
    classes: list[str]
    items: list[Planned]
    problems: list[Problem]
    notes: list[Problem] = field(default_factory=list)


def plan_folders(source: Path, known: list[str] | None) -> Plan:
    """A folder a class, perhaps below folders train, val and test. `known`: classes that are already fixed.

    Raises ImportRefused where there are no class folders.
    """
    folder = Folder(source)
    problems: list[Problem] = []
    tops = _subfolders(folder, source, problems)
    parts = {top: part_of(top.name) for top in tops}
    kinds = set(parts.values())
    # “train” alone may be a class (a vehicle); train beside val or test is a cut, whatever else lies there.
    split = bool(tops) and (all(parts.values()) or (Part.TRAIN in kinds and bool(kinds & {Part.VALIDATION, Part.TEST})))
    found: list[tuple[str, str, Path]] = []  # class, part, folder
    for top in tops:
        if split and parts[top] is None:
            problems.append(Problem("The folder is none of train, val and test; it was passed over.", top.name))
        elif split:
            _loose(folder, top, problems)
            found += [(below.name, str(parts[top]), below) for below in _subfolders(folder, top, problems)]
        else:
            found.append((top.name, "", top))
    if not found:
        raise ImportRefused(
            f"{source.name} holds no folder a class. Put the pictures into one folder for each class, "
            "or give a table with the columns file and label."
        )
    _loose(folder, source, problems)
    classes = known or checked_classes(sorted({checked_name(name) for name, _, _ in found}), source.name)
    positions = {name: index for index, name in enumerate(classes)}
    items = []
    for class_name, part, place in found:
        clean = checked_name(class_name)
        if clean not in positions:
            problems.append(Problem(_unknown_class(clean, classes), file=_shown(source, place)))
            continue
        index = positions[clean]
        for path in _pictures(folder, place, problems):
            try:
                items.append(Planned(folder.name_of(path), path, [index], part))
            except ValueError as error:
                problems.append(Problem(str(error), file=_shown(source, path)))
    return Plan(classes, items, problems)


def _unknown_class(name: str, classes: list[str]) -> str:
    shown = ", ".join(classes[:8]) + ("…" if len(classes) > 8 else "")
    return f"“{name}” is not a class of this set ({shown}). Classes are fixed by the first import."


def _shown(source: Path, path: Path) -> str:
    """A path for a sentence, whatever bytes it holds."""
    return os.fsencode(path.relative_to(source)).decode("utf-8", "replace")


def _subfolders(folder: Folder, place: Path, problems: list[Problem]) -> list[Path]:
    found = []
    for path in sorted(place.iterdir()):
        if path.name.startswith(".") or not path.is_dir():
            continue
        if folder.inside(path):
            found.append(path)
        else:
            problems.append(Problem("The folder is a link that leads out of the folder.", _shown(folder.root, path)))
    return found


def _loose(folder: Folder, place: Path, problems: list[Problem]) -> None:
    """Names the pictures that lie beside the class folders instead of in one."""
    for path in sorted(place.iterdir()):
        if path.is_file() and not _beside(path):
            problems.append(Problem("The file lies in no class folder.", _shown(folder.root, path)))


def _beside(path: Path) -> bool:
    return path.name.startswith(".") or path.suffix.lower() in BESIDE


def _pictures(folder: Folder, place: Path, problems: list[Problem]) -> Iterator[Path]:
    """Files below a class folder, in the order of their names. Links to folders are not followed."""
    for where, folders, files in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if (Path(where) / name).is_symlink():
                problems.append(
                    Problem("The folder is a link; links are not followed.", _shown(folder.root, Path(where) / name))
                )
        for name in sorted(files):
            path = Path(where) / name
            if _beside(path):
                continue
            if not folder.inside(path):
                problems.append(Problem("The file is a link that leads out of the folder.", _shown(folder.root, path)))
                continue
            yield path
