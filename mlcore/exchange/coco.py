"""COCO's JSON of instances: images, annotations (category, box, segmentation, crowd) and categories.

Source: the data format of COCO (Lin et al., “Microsoft COCO: Common Objects in Context”, 2014;
https://cocodataset.org/#format-data). A box is [x, y, width, height] in pixels from the upper left corner.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlcore.exchange.annotations import BadEntry, clean_text, quoted, storable
from mlcore.exchange.boxes import PlannedBox
from mlcore.exchange.plan import Plan, Planned
from mlcore.exchange.readers import Folder, checked_classes, checked_name, clean_name
from mlcore.exchange.report import ImportRefused, Problem
from mlcore.exchange.segments import Segment

MAX_BYTES = 1024**3
MAX_SIDE = 1_000_000
LISTS = ("images", "annotations", "categories")


def plan_coco(
    path: Path, source: Path, *, known: list[str] | None = None, names: Mapping[str, str] | None = None
) -> Plan:
    """Reads a file of instances whose pictures lie below `source` (or below `source`/images).

    The classes are the categories in the order of their ids, whether or not an annotation uses them. known: classes
    that are already fixed; a category must be one of them by its name. names: class names for the categories' names.
    A picture gets the label of each category that it holds. Crowds (`iscrowd`) become difficult boxes.

    Raises ImportRefused where the file as a whole cannot be used.
    """
    data = _read(path)
    categories = _categories(data["categories"], path.name, names)
    classes = known if known is not None else checked_classes(list(categories.values()), path.name)
    reader = _Reader(path.name, source, {name: index for index, name in enumerate(classes)}, categories)
    for number, row in enumerate(data["images"]):
        reader.image(number, row)
    items = [item for item in reader.images.values() if item is not None]
    if not items:
        raise ImportRefused(
            f"{path.name}: none of the {len(data['images'])} images that it names can be found.", reader.problems
        )
    for number, row in enumerate(data["annotations"]):
        reader.annotation(number, row)
    for item in items:
        item.labels.sort()
    bare = sum(not item.labels for item in items)
    notes = [Problem(f"{bare} of the images have no annotation; they have no label.", path.name)] if bare else []
    return Plan(list(classes), items, reader.problems, notes)


def _read(path: Path) -> dict[str, list[Any]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ImportRefused(f"{path.name}: more than {MAX_BYTES / 1e9:.1f} GB are not taken.")
        found = json.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise ImportRefused(f"{path.name}: there is no such file.") from error
    except OSError as error:
        raise ImportRefused(f"{path.name}: the file cannot be read ({error.strerror or error}).") from error
    except (ValueError, RecursionError) as error:
        raise ImportRefused(f"{path.name}: the file is not JSON that can be read ({error}).") from error
    for name in LISTS:
        if not isinstance(found, dict) or not isinstance(found.get(name), list):
            raise ImportRefused(
                f"{path.name}: this is no COCO file of instances: the list “{name}” is missing. "
                "It needs images, annotations and categories."
            )
    kept: dict[str, list[Any]] = found
    return kept


def _categories(rows: list[Any], file: str, names: Mapping[str, str] | None) -> dict[int | str, str]:
    """Id → class name, in the order of the ids."""
    found: dict[int | str, str] = {}
    for number, row in enumerate(rows):
        place = f"{file}, categories[{number}]"
        identity = _identity(row.get("id")) if isinstance(row, dict) else None
        name = row.get("name") if isinstance(row, dict) else None
        if identity is None or not isinstance(name, str) or not storable(name):
            raise ImportRefused(f"{place}: a category needs an id and a name.")
        if identity in found:
            raise ImportRefused(f"{place}: the id {quoted(identity)} stands twice.")
        if names is not None and clean_name(name) not in names:
            raise ImportRefused(f"{place}: the list of names has no {quoted(name)}.")
        found[identity] = clean_name(name) if names is None else names[clean_name(name)]
    return dict(sorted(found.items(), key=lambda pair: (isinstance(pair[0], str), pair[0])))


def _identity(value: Any) -> int | str | None:
    """Ids are whole numbers; some tools write text."""
    return value if isinstance(value, int | str) and not isinstance(value, bool) and value != "" else None


class _Reader:
    """Goes through the images, then the annotations; what is wrong is named and the rest goes on."""

    def __init__(self, file: str, source: Path, positions: dict[str, int], categories: dict[int | str, str]) -> None:
        self.file = file
        self.folders = [Folder(source)] + ([Folder(source / "images")] if (source / "images").is_dir() else [])
        self.positions, self.categories = positions, categories
        self.images: dict[int | str, Planned | None] = {}  # None: the image has a problem of its own already
        self.seen: dict[str, int] = {}
        self.ids: set[int | str] = set()
        self.problems: list[Problem] = []

    def image(self, number: int, row: Any) -> None:
        place = f"images[{number}]"
        identity = None
        try:
            if not isinstance(row, dict):
                raise BadEntry("This is no object with id and file_name.")
            identity = _identity(row.get("id"))
            if identity is None:
                raise BadEntry("The id is missing or is neither a number nor text.", "id")
            if identity in self.images:
                taken, identity = identity, None
                raise BadEntry(f"The id {quoted(taken)} stands twice; the first image keeps it.", "id")
            item = self._found(row.get("file_name"))
            if item.name in self.seen:
                raise BadEntry(f"The file stands in images[{self.seen[item.name]}] already.", "file_name")
            item.size = _size(row)
            self.seen[item.name] = number
            self.images[identity] = item
        except BadEntry as bad:
            if identity is not None:
                self.images[identity] = None
            self._name(bad, place, row.get("file_name") if isinstance(row, dict) else None)

    def _found(self, name: Any) -> Planned:
        if not isinstance(name, str) or not name:
            raise BadEntry("The name of the file is missing.", "file_name")
        said = ""
        for folder in self.folders:
            try:
                path = folder.find(name)
                return Planned(checked_name(path.relative_to(folder.root).as_posix()), path)
            except ValueError as error:
                said = said or clean_text(error)
        raise BadEntry(said, "file_name")

    def annotation(self, number: int, row: Any) -> None:
        place = f"annotations[{number}]"
        try:
            self._annotate(f"{self.file}, {place}", row)
        except BadEntry as bad:
            self._name(bad, place)

    def _annotate(self, place: str, row: Any) -> None:
        if not isinstance(row, dict):
            raise BadEntry("This is no object with image_id and category_id.")
        image = _identity(row.get("image_id"))
        if image is None or image not in self.images:
            raise BadEntry(f"There is no image {quoted(row.get('image_id'))} in this file.", "image_id")
        item = self.images[image]
        if item is None:
            return
        identity = _identity(row.get("id"))
        if identity is not None and identity in self.ids:
            raise BadEntry(f"The id {quoted(identity)} stands twice; the first annotation keeps it.", "id")
        index = self._category(row.get("category_id"))
        box = _box(row, place, index)
        if identity is not None:
            self.ids.add(identity)
        if index not in item.labels:
            item.labels.append(index)
        if box is not None:
            item.boxes.append(box)
        item.segments.setdefault(index, []).append(Segment(row.get("segmentation") or None, place))

    def _category(self, value: Any) -> int:
        identity = _identity(value)
        if identity is None or identity not in self.categories:
            raise BadEntry(f"{quoted(value)} is the id of no category.", "category_id")
        name = self.categories[identity]
        if name not in self.positions:
            raise BadEntry(
                f"“{name}” is not a class of this set. Classes are fixed by the first import.", "category_id"
            )
        return self.positions[name]

    def _name(self, bad: BadEntry, place: str, file: Any = None) -> None:
        shown = f"{self.file}, {place}" + (f".{bad.field}" if bad.field else "")
        if isinstance(file, str) and file:
            shown += f" ({clean_text(file)})"
        self.problems.append(Problem(str(bad), shown))


def _size(row: dict[str, Any]) -> tuple[int, int] | None:
    """(width, height), or None where the file does not say it."""
    if row.get("width") is None and row.get("height") is None:
        return None
    for name in ("width", "height"):
        value = row.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MAX_SIDE:
            raise BadEntry(f"{quoted(value)} is no number of pixels.", name)
    return row["width"], row["height"]


def _box(row: dict[str, Any], place: str, index: int) -> PlannedBox | None:
    """The box of an annotation; None where it has none, as in files of labels alone."""
    said = row.get("bbox")
    crowd = row.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise BadEntry(f"{quoted(crowd)} is neither 1 (a crowd) nor 0.", "iscrowd")
    if said is None or said == []:
        return None
    if not isinstance(said, list) or len(said) != 4:
        raise BadEntry("A box is a list of four numbers: x, y, width, height.", "bbox")
    for value in said:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or abs(value) > MAX_SIDE or not math.isfinite(value):
            raise BadEntry(f"{quoted(value)} is no number of pixels.", "bbox")
    x, y, width, height = (float(value) for value in said)
    if width <= 0 or height <= 0:
        raise BadEntry(f"The box has no area: it is {width:g} wide and {height:g} high.", "bbox")
    return PlannedBox(x, y, x + width, y + height, index, crowd == 1, place)
