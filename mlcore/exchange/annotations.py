"""What COCO and VOC have in common: names for their ids, and boxes and segments onto the pictures that they mean."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image as Pictures

from mlcore.exchange.attachments import write_masks
from mlcore.exchange.boxes import PlannedBox
from mlcore.exchange.plan import Planned
from mlcore.exchange.readers import MAX_NAME, checked_classes, clean_name, table_text
from mlcore.exchange.report import ImportRefused, Problem
from mlcore.exchange.segments import BadSegment, Segment, draw
from mlcore.exchange.verify import png_bytes
from mlcore.exchange.writing import Known, Writer

MASK_BATCH = 64
KEY_COLUMNS = ("wnid", "synset", "id", "key")
NAME_COLUMNS = ("name", "class", "english", "class_name")


def read_names(path: Path) -> dict[str, str]:
    """Id → class name, in the file's order: a text file whose lines begin with the id (as ImageNet's list of synsets
    does), or a CSV with columns wnid (or synset, id, key) and name. Names that stand twice get their place in the
    file behind them, as in a list of classes. Raises ImportRefused."""
    text = table_text(path)
    pairs: list[tuple[str, str]] = []
    if path.suffix.lower() == ".csv":
        try:
            rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline=""))]
        except csv.Error as error:
            raise ImportRefused(f"{path.name}: the table cannot be read ({error}).") from error
        columns = [cell.lower() for cell in rows[0]] if rows else []
        key = next((columns.index(name) for name in KEY_COLUMNS if name in columns), None)
        named = next((columns.index(name) for name in NAME_COLUMNS if name in columns), None)
        if key is None or named is None:
            raise ImportRefused(f"{path.name}: a table of names needs the columns “wnid” (or “id”) and “name”.")
        short = max(key, named)
        pairs = [(row[key], row[named]) if len(row) > short else ("", "") for row in rows[1:] if any(row)]
    else:
        lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
        pairs = [(line[0], line[1] if len(line) > 1 else "") for line in lines]
    counts = Counter(clean_name(name) for _, name in pairs)
    found: dict[str, str] = {}
    for place, (identity, name) in enumerate(pairs):
        cleaned = clean_name(name)
        if not identity or not cleaned:
            raise ImportRefused(f"{path.name}, entry {place + 1}: an id and a name are needed.")
        if identity in found:
            raise ImportRefused(f"{path.name}, entry {place + 1}: the id “{identity}” stands twice.")
        found[identity] = f"{cleaned} ({place})" if counts[cleaned] > 1 else cleaned
    checked_classes(list(found.values()), path.name)
    return found


class BadEntry(Exception):
    """An entry of somebody else's file that cannot be taken; `field` is the member that is wrong."""

    def __init__(self, sentence: str, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


def clean_text(value: object, most: int = 200) -> str:
    """A value of somebody else's file for a sentence: short, and text whatever it holds."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _unwritable(one) else one for one in str(value)[:most])


def _unwritable(character: str) -> bool:
    """Control characters, and halves of surrogate pairs: terminals, files or databases refuse them."""
    return unicodedata.category(character) in ("Cc", "Cs")


def quoted(value: object) -> str:
    """`clean_text`, shorter, in quotation marks."""
    return f"“{clean_text(value, 60)}”"


def storable(name: str) -> bool:
    """Whether every database takes the text as a class's name."""
    return bool(name.strip()) and len(name) <= MAX_NAME and not any(map(_unwritable, name))


def drop_misfits(writer: Writer, items: Iterable[Planned]) -> None:
    """Boxes and segments are left out where the picture has another size than the one they were made for."""
    for item in items:
        known = writer.images.get(item.name)
        if known is None or item.size is None or item.size == (known.width, known.height):
            continue
        if item.boxes or item.segments:
            said = (
                f"The annotations are for {item.size[0]}×{item.size[1]} pixels, the picture is "
                f"{known.width}×{known.height}; its boxes and masks were left out."
            )
            writer.report.problems.append(Problem(said, item.name))
        item.boxes, item.segments = [], {}


def own_boxes(items: Iterable[Planned]) -> list[tuple[str, PlannedBox]]:
    """(name of the picture, box)."""
    return [(item.name, box) for item in items for box in item.boxes]


def add_segments(writer: Writer, items: Iterable[Planned]) -> None:
    """One mask for each picture and class: the union of the objects' segments. A class with an object that has none,
    or a broken one, gets no mask there, because a mask with a hole would call an object ground."""
    batch: list[tuple[str, Known, bytes, int | None]] = []
    for item in items:
        known = writer.images.get(item.name)
        if known is None:
            continue
        for category, segments in sorted(item.segments.items()):
            drawn = _union(writer, item, category, segments, known)
            if drawn is None:
                continue
            shown = f"{item.name} ({writer.image_set.classes[category]})"
            batch.append((shown, known, png_bytes(Pictures.fromarray(drawn)), category))
            if len(batch) == MASK_BATCH:
                write_masks(writer, batch)
                batch = []
    if batch:
        write_masks(writer, batch)


def _union(writer: Writer, item: Planned, category: int, segments: list[Segment], known: Known) -> np.ndarray | None:
    """(H, W) uint8 of 0 and 255, or None where there is no whole mask."""
    name = writer.image_set.classes[category]
    bare = [segment for segment in segments if segment.shape is None]
    if bare:
        if len(bare) < len(segments):
            said = f"No mask of “{name}”: not every object of it has a segmentation."
            writer.report.notes.append(Problem(said, f"{item.name} ({bare[0].place})"))
        return None
    union = np.zeros((known.height, known.width), dtype=bool)
    for segment in segments:
        try:
            union |= draw(segment.shape, known.width, known.height)
        except BadSegment as error:
            writer.report.problems.append(Problem(f"{error} The mask of “{name}” was left out.", segment.place))
            return None
    if not union.any():
        said = f"The segmentation of “{name}” marks no pixel of its picture."
        writer.report.problems.append(Problem(said, segments[0].place))
        return None
    return np.where(union, 255, 0).astype(np.uint8)
