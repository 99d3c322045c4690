"""Pascal VOC's XML, also ImageNet's: one file a picture, with its size and its objects (name, bndbox, difficult).

Source: the annotation format of the PASCAL Visual Object Classes challenge (Everingham et al., 2010). Its pixels are
counted from 1 and both corners belong to the box, so xmin … xmax becomes x0 = xmin − 1, x1 = xmax here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from mlcore.exchange.annotations import BadEntry, clean_text, quoted, storable
from mlcore.exchange.attachments import Names
from mlcore.exchange.boxes import NO, YES, PlannedBox
from mlcore.exchange.plan import BESIDE, Plan, Planned
from mlcore.exchange.readers import Folder, checked_classes, clean_name, number
from mlcore.exchange.report import ImportRefused, Problem

MAX_BYTES = 16 * 1024**2
MAX_DEPTH = 32
MAX_SIDE = 1_000_000
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
CORNERS = ("xmin", "ymin", "xmax", "ymax")
# ImageNet left this where a picture's name should stand in some of its files.
PLACEHOLDER = "%s"


@dataclass(frozen=True)
class Thing:
    """An object of a picture: its name, its box (x0, y0, x1, y1) and where it stands in the file."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool
    place: str


@dataclass
class Annotated:
    """What one file says. `size` is (width, height), None where the file does not say it."""

    file: str
    picture: str
    size: tuple[int, int] | None
    things: list[Thing] = field(default_factory=list)


def plan_voc(
    folder: Path, source: Path, *, known: list[str] | None = None, names: Mapping[str, str] | None = None
) -> Plan:
    """Reads the XML files below `folder`; their pictures lie below `source`.

    A file without a usable <filename> belongs to the picture of its own name; a <filename> without a suffix, as
    ImageNet writes it, to the picture of that stem. names: class names for the objects' names (ImageNet's are ids of
    synsets); then these are the classes, in their order. Otherwise the names that stand in the files are, sorted.
    known: classes that are already fixed. A picture gets the label of each class that it holds.

    Raises ImportRefused where nothing can be used.
    """
    if not folder.is_dir():
        raise ImportRefused(f"There is no folder of XML files “{folder}”.")
    problems: list[Problem] = []
    read = _read_all(folder, names, problems)
    if known is not None:
        classes = list(known)
    elif names is not None:
        classes = checked_classes(list(names.values()), "names")
    else:
        classes = checked_classes(sorted({thing.name for one in read for thing in one.things}), folder.name)
    positions = {name: index for index, name in enumerate(classes)}
    paths = _picture_paths(source)
    pictures = Names(paths)
    items: dict[str, Planned] = {}
    said: dict[str, str] = {}
    for one in read:
        name = _picture_of(one, pictures)
        if name is None:
            shown = one.picture or str(PurePosixPath(one.file).with_suffix(""))
            problems.append(Problem(f"There is no picture {quoted(shown)} in the folder, or several.", one.file))
        elif name in items:
            problems.append(Problem(f"The picture {quoted(name)} is described in {said[name]} already.", one.file))
        else:
            said[name] = one.file
            items[name] = _planned(one, name, paths[name], positions, problems)
    if not items:
        raise ImportRefused(f"{folder.name}: none of the XML files could be used.", problems)
    bare = sum(not item.labels for item in items.values())
    notes = [Problem(f"{bare} of the images have no object; they have no label.", folder.name)] if bare else []
    return Plan(classes, list(items.values()), problems, notes)


def _planned(one: Annotated, name: str, path: Path, positions: dict[str, int], problems: list[Problem]) -> Planned:
    item = Planned(name, path, size=one.size)
    for thing in one.things:
        index = positions.get(thing.name)
        if index is None:
            sentence = f"“{thing.name}” is not a class of this set. Classes are fixed by the first import."
            problems.append(Problem(sentence, f"{thing.place}, name"))
            continue
        if index not in item.labels:
            item.labels.append(index)
        item.boxes.append(PlannedBox(*thing.box, category=index, difficult=thing.difficult, table=thing.place))
    item.labels.sort()
    return item


def _read_all(folder: Path, names: Mapping[str, str] | None, problems: list[Problem]) -> list[Annotated]:
    paths = _below(folder, lambda path: path.suffix.lower() == ".xml")
    if not paths:
        raise ImportRefused(f"{folder.name}: there is no XML file in this folder.")
    read = []
    for path in paths:
        shown = os.fsencode(path.relative_to(folder)).decode("utf-8", "replace")
        try:
            read.append(read_voc(path, shown, names, problems))
        except BadEntry as bad:
            problems.append(Problem(str(bad), f"{shown}, {bad.field}" if bad.field else shown))
    if not read:
        raise ImportRefused(f"{folder.name}: none of the {len(paths)} XML files could be read.", problems)
    return read


def _below(root: Path, wanted: Any) -> list[Path]:
    """Files below a folder, sorted; links to folders are not followed, those that lead out are passed over."""
    inside = Folder(root)
    found = []
    for where, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [Path(where) / name for name in sorted(files) if not name.startswith(".")]
        found += [path for path in paths if wanted(path) and inside.inside(path)]
    return found


def _picture_paths(source: Path) -> dict[str, Path]:
    """Name → path of the pictures below a folder."""
    folder = Folder(source)
    found = {}
    for path in _below(source, lambda path: path.suffix.lower() not in BESIDE):
        try:
            found[folder.name_of(path)] = path
        except ValueError:  # a name that no XML file can say
            continue
    return found


def _picture_of(one: Annotated, pictures: Names) -> str | None:
    """The picture beside the file's own place comes before one elsewhere."""
    own = PurePosixPath(one.file)
    if not one.picture:
        return pictures.of_mask(str(own))
    beside = str(own.parent / one.picture)
    if one.picture.lower().endswith(SUFFIXES):
        return pictures.whole.get(beside) or pictures.of_file(one.picture)
    return pictures.stem.get(beside) or pictures.of_mask(f"{one.picture}.xml")


# --- one file -------------------------------------------------------------------------------------------------


def read_voc(path: Path, shown: str, names: Mapping[str, str] | None, problems: list[Problem]) -> Annotated:
    """One file; objects that are wrong are named and left out. Raises BadEntry where the file is no annotation."""
    root = _parsed(path)
    if root.tag != "annotation":
        raise BadEntry(f"This is no VOC file: its root is <{clean_text(root.tag, 60)}>, not <annotation>.")
    picture = clean_name(_text(root, "filename")).replace("\\", "/")
    one = Annotated(shown, "" if picture == PLACEHOLDER else picture, _size(root))
    for position, element in enumerate(root.findall("object"), start=1):
        place = f"{shown}, object {position}"
        try:
            one.things.append(_thing(element, place, names))
        except BadEntry as bad:
            problems.append(Problem(str(bad), f"{place}, {bad.field}" if bad.field else place))
    return one


def _parsed(path: Path) -> Element:
    """The tree of a file. Any DOCTYPE is refused: it is where entities are declared that grow without bound or read
    other files, and no annotation needs one."""
    builder = TreeBuilder()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise BadEntry(f"The elements are nested deeper than {MAX_DEPTH}.")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def doctype(*_: Any) -> None:
        raise BadEntry("The file has a DOCTYPE, which could declare entities; it is not read. Remove that line.")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = doctype
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadEntry(f"The file has more than {MAX_BYTES / 1e6:.0f} MB.")
        parser.Parse(path.read_bytes(), True)
        tree: Element = builder.close()
    except OSError as error:
        raise BadEntry(f"The file cannot be read ({error.strerror or error}).") from error
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter two: encodings that nobody knows
        raise BadEntry(f"The file is not XML that can be read ({clean_text(error)}).") from error
    return tree


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _size(root: Element) -> tuple[int, int] | None:
    size = root.find("size")
    if size is None:
        return None
    sides = []
    for tag in ("width", "height"):
        said = _text(size, tag)
        value = _number(said, f"size, {tag}") if said else 0.0
        if value != int(value) or value < 0:
            raise BadEntry(f"{quoted(said)} is no number of pixels.", f"size, {tag}")
        sides.append(int(value))
    # Some tools write 0 where they did not look.
    return (sides[0], sides[1]) if all(sides) else None


def _number(said: str, place: str) -> float:
    try:
        value = number(said)
    except ValueError as error:
        raise BadEntry(clean_text(error), place) from error
    if abs(value) > MAX_SIDE:
        raise BadEntry(f"{quoted(said)} is no number of pixels.", place)
    return value


def _thing(element: Element, place: str, names: Mapping[str, str] | None) -> Thing:
    name = clean_name(_text(element, "name"))
    if not storable(name):
        raise BadEntry("The name of the object is missing or holds characters that no name has.", "name")
    if names is not None:
        if name not in names:
            raise BadEntry(f"The list of names has no {quoted(name)}.", "name")
        name = names[name]
    corners = element.find("bndbox")
    if corners is None:
        raise BadEntry("The object has no <bndbox>.")
    values = {tag: _number(_text(corners, tag), tag) for tag in CORNERS}
    for low, high in (("xmin", "xmax"), ("ymin", "ymax")):
        if values[high] < values[low]:
            raise BadEntry(f"{high} ({values[high]:g}) must not be smaller than {low} ({values[low]:g}).", high)
    difficult = _text(element, "difficult").lower()
    if difficult not in YES and difficult not in NO:
        raise BadEntry(f"{quoted(difficult)} is neither 1 (difficult) nor 0.", "difficult")
    box = (values["xmin"] - 1, values["ymin"] - 1, values["xmax"], values["ymax"])
    return Thing(name, box, difficult in YES, place)
