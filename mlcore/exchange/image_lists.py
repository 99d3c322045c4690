"""Lists of images as text files: a line is a file's name and, after a blank, perhaps its label ("n01440764/a.JPEG 0").

Such lists say which images a published system was trained or measured on; they cut a set into parts, or are imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcore.exchange.attachments import Names
from mlcore.exchange.partitions import PartitionRefused, write_partition
from mlcore.exchange.parts import part_of
from mlcore.exchange.plan import Plan, Planned
from mlcore.exchange.readers import Folder, Row, Table, checked_name, clean_name, table_text
from mlcore.exchange.report import ImportRefused, Problem
from mlcore.exchange.tables import plan_rows
from mlcore.models import ImageLabel, ImageSet, Partition
from mlcore.models.partitions import Part

SHOWN = 5


@dataclass(frozen=True)
class Line:
    """A line of a list; `label` is an index or a name, or empty."""

    number: int
    file: str
    label: str


def read_list(path: Path, is_file: Callable[[str], bool]) -> list[Line]:
    """The lines that are not empty. is_file: whether a text is the name of a file, so that names of files and classes
    may have blanks in them. Raises ImportRefused where the file cannot be read."""
    found = []
    for number, text in enumerate(table_text(path).splitlines(), start=1):
        line = text.strip()
        if not line:
            continue
        file, label = (part.strip() for part in line.rsplit("\t", 1)) if "\t" in line else _split(line, is_file)
        found.append(Line(number, file, label))
    if not found:
        raise ImportRefused(f"{path.name}: the list is empty. A line is a file's name and, if you like, its label.")
    return found


def _split(line: str, is_file: Callable[[str], bool]) -> tuple[str, str]:
    """The longest beginning that is a file's name, and the rest."""
    file = line
    while not is_file(file):
        shorter = file.rsplit(None, 1)[0]
        if shorter == file:
            # Nobody knows it: only a number behind it is surely no part of its name.
            name, _, last = line.rpartition(" ")
            return (name.strip(), last) if last.isdecimal() and name.strip() else (line, "")
        file = shorter
    return file, line[len(file) :].strip()


def partition_from_lists(
    image_set: ImageSet,
    lists: Sequence[tuple[Path, str]],
    name: str,
    *,
    rest: str | None = None,
    owner: Any = None,
) -> Partition:
    """A partition whose parts are the images that lists name, (list, part) each; several lists may make one part.

    rest: the part of images that no list names; without it they belong to no part. A label is only compared: with the
    set's classes and with the image's own labels. Raises PartitionRefused, which names every bad line.
    """
    images = dict(image_set.images.values_list("name", "pk"))
    names = Names(images)
    own: dict[int, set[int]] = {}
    for image, index in ImageLabel.objects.filter(image__image_set=image_set).values_list("image_id", "index"):
        own.setdefault(image, set()).add(index)
    parts: dict[int, Part] = {}
    bad: list[str] = []
    for path, said in lists:
        part = _part(said)
        try:
            lines = read_list(path, lambda text: names.of_file(text) is not None)
        except ImportRefused as error:
            raise PartitionRefused(error.sentence) from error
        for line in lines:
            found = names.of_file(line.file)
            where = f"{path.name}, line {line.number}"
            if found is None:
                bad.append(f"{where}: “{line.file}” is not in the set, or several files are called so.")
                continue
            pk = images[found]
            why = _why_not_labelled(line.label, image_set.classes, own.get(pk, set()))
            if why:
                bad.append(f"{where}: {why}")
            elif parts.setdefault(pk, part) != part:
                bad.append(f"{where}: “{line.file}” is in the part {parts[pk]} already.")
    if bad:
        more = f" … and {len(bad) - SHOWN} more lines." if len(bad) > SHOWN else ""
        raise PartitionRefused(" ".join(bad[:SHOWN]) + more)
    if rest:
        remainder = _part(rest)
        parts |= {pk: remainder for pk in images.values() if pk not in parts}
    spec = {"lists": [[path.name, str(_part(said))] for path, said in lists], "rest": rest or None}
    return write_partition(image_set, name, parts, seed=0, spec=spec, owner=owner)


def _part(name: str) -> Part:
    part = part_of(name)
    if part is None:
        raise PartitionRefused(f"“{name}” is not a part. Known: {', '.join(Part.values)}.")
    return part


def _why_not_labelled(label: str, classes: Sequence[str], own: set[int]) -> str:
    """Why a line's label cannot be: one sentence, or nothing."""
    if not label:
        return ""
    places: Mapping[str, int] = {str(name): place for place, name in enumerate(classes)}
    clean = clean_name(label)
    index = places.get(clean, int(label) if label.isdecimal() else -1)
    if not 0 <= index < len(classes):
        return f"“{label}” is no label of the set: a class, or 0 to {len(classes) - 1}."
    if own and index not in own:
        there = ", ".join(f"“{classes[one]}”" for one in sorted(own) if one < len(classes))
        return f"the list says “{classes[index]}”, the image is labelled {there}."
    return ""


def plan_list(path: Path, source: Path, *, known: list[str] | None = None) -> Plan:
    """Images to import as a list names them, below `source` (or below `source`/images); labels may be left out.

    known: classes that are already fixed. Raises ImportRefused where no line can be used.
    """
    folders = [Folder(source)] + ([Folder(source / "images")] if (source / "images").is_dir() else [])
    lines = read_list(path, lambda text: _find(folders, text) is not None)
    labelled = tuple(Row(line.number, {"file": line.file, "label": line.label}) for line in lines if line.label)
    plan = Plan(list(known or ()), [], [])
    if labelled:
        try:
            plan = plan_rows(Table(path.name, ("file", "label"), labelled, ()), source, known=known)
        except ImportRefused as error:
            if len(labelled) == len(lines):
                raise
            plan.problems += error.problems
    taken = {item.name for item in plan.items}
    for line in lines:
        if line.label:
            continue
        found = _find(folders, line.file)
        if found is None:
            plan.problems.append(Problem("There is no such file.", f"{path.name} ({line.file})", line.number))
        elif found[0] in taken:
            plan.problems.append(Problem("The file stands there already.", f"{path.name} ({line.file})", line.number))
        else:
            taken.add(found[0])
            plan.items.append(Planned(found[0], found[1], row=line.number))
    if not plan.items:
        raise ImportRefused(f"{path.name}: no line could be used.", plan.problems)
    return plan


def _find(folders: Sequence[Folder], name: str) -> tuple[str, Path] | None:
    for folder in folders:
        try:
            path = folder.find(name)
            return checked_name(path.relative_to(folder.root).as_posix()), path
        except ValueError:
            continue
    return None
