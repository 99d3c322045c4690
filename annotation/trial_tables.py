"""Tables that researchers upload for a study: fixed lists of images, and practice, qualification and check trials.

A table is taken whole or not at all; every line that is wrong is named with its number and what is wrong with it.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotation.models import Study
from annotation.models.studies import Phase
from annotation.studies import Kind
from mlcore.catalogue.fields import RecipeError, clean_fields
from mlcore.models import Image, ImageSet

MOST_BYTES = 5 * 1024 * 1024
MOST_ROWS = 20_000
MOST_PROBLEMS = 50
EXTRA_PHASES = (str(Phase.PRACTICE), str(Phase.QUALIFICATION), str(Phase.CHECK))


@dataclass(frozen=True)
class Line:
    """A line of a table; `number` counts lines as an editor does, from 1."""

    number: int
    cells: dict[str, str]


class TableInvalid(ValueError):
    """Nothing of the table is taken. `problems`: (line, sentence), the line 0 for the table as a whole."""

    def __init__(self, problems: Sequence[tuple[int, str]]) -> None:
        self.problems = list(problems[:MOST_PROBLEMS])
        self.left_out = max(len(problems) - MOST_PROBLEMS, 0)
        super().__init__(self.sentence)

    @property
    def lines(self) -> list[str]:
        said = [f"Line {line}: {sentence}" if line else sentence for line, sentence in self.problems]
        return said + ([f"… and {self.left_out} lines more."] if self.left_out else [])

    @property
    def sentence(self) -> str:
        return " ".join(self.lines)


@dataclass(frozen=True)
class ExtraTrial:
    """A line of a table of practice, qualification and check trials, checked; `answer` None: as labels tell it."""

    phase: str
    image: Image
    group: str = ""
    answer: dict[str, Any] | None = None
    instruction: str = ""
    feedback: str = ""


@dataclass
class _Found:
    problems: list[tuple[int, str]] = field(default_factory=list)

    def say(self, line: int, sentence: str) -> None:
        self.problems.append((line, sentence))

    def refuse(self) -> None:
        if self.problems:
            raise TableInvalid(self.problems)


def decoded(data: bytes) -> str:
    """The text of an uploaded table. Raises TableInvalid."""
    if len(data) > MOST_BYTES:
        raise TableInvalid([(0, f"The table has more than {MOST_BYTES // 1024**2} MB.")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableInvalid([(0, f"The table is not UTF-8 text (byte {error.start}). Save it as UTF-8.")]) from error


def read(text: str, needed: Sequence[str], optional: Sequence[str] = ()) -> list[Line]:
    """The lines of a CSV (comma, semicolon or tab) whose first line names its columns. Raises TableInvalid."""
    text = text.removeprefix("\ufeff")
    first = next(iter(text.splitlines()), "")
    if not first.strip():
        raise TableInvalid([(0, f"The table is empty. Its first line names the columns: {', '.join(needed)}.")])
    if "\0" in text:
        raise TableInvalid([(0, "This is not a text table (it holds zero bytes).")])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    found, lines = _Found(), []
    try:
        columns = [cell.strip().lower() for cell in next(reader)]
        _check_columns(columns, needed, optional, found)
        found.refuse()
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(columns):
                found.say(reader.line_num, f"It has {len(cells)} cells, the first line {len(columns)}.")
                continue
            lines.append(Line(reader.line_num, dict(zip(columns, (cell.strip() for cell in cells), strict=True))))
            if len(lines) > MOST_ROWS:
                raise TableInvalid([(0, f"The table has more than {MOST_ROWS} lines.")])
    except csv.Error as error:
        raise TableInvalid([(reader.line_num, f"The line cannot be read ({error}).")]) from error
    found.refuse()
    if not lines:
        raise TableInvalid([(0, "The table names its columns and holds nothing else.")])
    return lines


def _check_columns(columns: list[str], needed: Sequence[str], optional: Sequence[str], found: _Found) -> None:
    for name in needed:
        if name not in columns:
            found.say(0, f"There is no column “{name}”. The first line names: {', '.join(needed)}.")
    for name in sorted(set(columns) - set(needed) - set(optional)):
        known = ", ".join([*needed, *optional])
        found.say(0, f"The column “{name}” means nothing here. Columns: {known}.")
    for name, times in Counter(columns).items():
        if times > 1:
            found.say(0, f"The column “{name}” stands twice in the first line.")


def lists_of(text: str, images: Iterable[Image]) -> list[list[Image | tuple[Image, str]]]:
    """Fixed lists from `list,image[,condition][,position]`, in the order of their first lines. Raises TableInvalid.

    Images are named as in their set and must be among `images`. Without positions the lines' order counts.
    """
    found = _Found()
    by_name = {image.name: image for image in images}
    places: dict[str, list[tuple[float, int, Image | tuple[Image, str]]]] = {}
    for line in read(text, ("list", "image"), ("condition", "position")):
        name, wanted, position = line.cells["list"], line.cells["image"], line.cells.get("position", "")
        condition = line.cells.get("condition", "")
        image = by_name.get(wanted)
        if not name:
            found.say(line.number, "It names no list.")
        elif image is None:
            found.say(line.number, f"“{wanted}” is not among the images of this study.")
        elif position and not position.isdigit():
            found.say(line.number, f"The position “{position}” is not a whole number.")
        else:
            of_list = places.setdefault(name, [])
            entry = (image, condition) if condition else image
            if any(other == entry for *_, other in of_list):
                found.say(line.number, f"“{wanted}” stands twice in list “{name}”.")
            elif position and any(float(position) == place for place, *_ in of_list):
                found.say(line.number, f"Position {position} stands twice in list “{name}”.")
            of_list.append((float(position) if position else float("inf"), line.number, entry))
    found.refuse()
    return [[entry for *_, entry in sorted(rows, key=lambda row: row[:2])] for rows in places.values()]


def extra_trials_of(text: str, study: Study, kind: Kind) -> list[ExtraTrial]:
    """Trials from `phase,image[,group,<right answer…>,instruction,feedback]`, in order. Raises TableInvalid.

    The columns of the right answer are the kind's own (`kind.gold_fields`). A line without any of them takes the right
    answer that labels and masks tell, which is looked up when the trials are made.
    """
    gold = [item.name for item in kind.gold_fields]
    lines = read(text, ("phase", "image"), ("group", *gold, "instruction", "feedback"))
    by_name = images_named(study.image_set, {line.cells["image"] for line in lines})
    arms = set(study.arms.values_list("name", flat=True))
    found, items = _Found(), []
    for line in lines:
        cells = line.cells
        problem = _problem(cells, by_name, arms)
        if problem:
            found.say(line.number, problem)
            continue
        given = {name: cells[name] for name in gold if cells.get(name)}
        try:
            answer = clean_fields(kind.gold_fields, given) if given else None
        except RecipeError as error:
            for name, sentence in error.errors.items():
                found.say(line.number, f"{name}: {sentence}")
            continue
        items.append(
            ExtraTrial(
                cells["phase"], by_name[cells["image"]], cells.get("group", ""), answer,
                cells.get("instruction", ""), cells.get("feedback", ""),
            )
        )  # fmt: skip
    found.refuse()
    return items


def _problem(cells: Mapping[str, str], by_name: Mapping[str, Image], arms: set[str]) -> str:
    if cells["phase"] not in EXTRA_PHASES:
        return f"The phase “{cells['phase']}” is not one of {', '.join(EXTRA_PHASES)}."
    if cells["image"] not in by_name:
        return f"There is no image “{cells['image']}” in the image set."
    group = cells.get("group", "")
    if group and not arms:
        return f"This study has one condition only, so the group “{group}” means nothing."
    if group and group not in arms:
        return f"The group “{group}” is not one of {', '.join(sorted(arms))}."
    for name, most in (("instruction", 500), ("feedback", 500)):
        if len(cells.get(name, "")) > most:
            return f"The {name} is longer than {most} characters."
    return ""


def images_named(image_set: ImageSet, names: Iterable[str]) -> dict[str, Image]:
    """The images of a set that have one of these names."""
    wanted = sorted(set(names))
    found: dict[str, Image] = {}
    for start in range(0, len(wanted), 500):
        rows = Image.objects.filter(image_set=image_set, name__in=wanted[start : start + 500])
        found.update({image.name: image for image in rows})
    return found
