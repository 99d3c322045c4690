"""Masks and boxes onto the pictures of an import."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from django.db import transaction
from PIL import Image as Pictures

from mlcore.exchange import storage
from mlcore.exchange.boxes import PlannedBox
from mlcore.exchange.readers import Folder, clean_name
from mlcore.exchange.report import ImportReport, Problem
from mlcore.exchange.verify import MAX_BYTES, BadImage, open_picture, png_bytes, to_8_bits
from mlcore.exchange.writing import SOURCE, Known, Writer
from mlcore.models import Box, Image, ImageSet, Mask
from mlcore.models.images import mask_path

BATCH = 64
SHOWN = 5


class Names:
    """Finds the picture that another file means: the same path, else the same last part where only one has it."""

    def __init__(self, names: Iterable[str]) -> None:
        paths = {name: PurePosixPath(name) for name in names}
        self.whole = {name: name for name in paths}
        self.last = _unique((path.name, name) for name, path in paths.items())
        self.stem = _unique((str(path.with_suffix("")), name) for name, path in paths.items())
        self.last_stem = _unique((path.stem, name) for name, path in paths.items())

    def of_file(self, name: str) -> str | None:
        clean = clean_name(name.replace("\\", "/"))
        return self.whole.get(clean) or self.last.get(PurePosixPath(clean).name)

    def of_mask(self, name: str) -> str | None:
        """Whatever the suffix: masks are PNG, pictures often not."""
        path = PurePosixPath(clean_name(name))
        return self.stem.get(str(path.with_suffix(""))) or self.last_stem.get(path.stem)


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    twice: set[str] = set()
    for key, name in pairs:
        if key in found:
            twice.add(key)
        found[key] = name
    return {key: name for key, name in found.items() if key not in twice}


# --- boxes ----------------------------------------------------------------------------------------------------


def add_boxes(writer: Writer, planned: Sequence[tuple[str, PlannedBox]]) -> None:
    """Adds the boxes whose picture came in; a box that is there already is not added again."""
    report, names = writer.report, Names(writer.images)
    left_out = Names(writer.left_out)
    fitting: dict[int, dict[tuple, PlannedBox]] = {}
    strangers: list[str] = []
    for file, box in planned:
        name = names.of_file(file)
        if name is None:
            if left_out.of_file(file) is None:
                strangers.append(file)
            continue
        image = writer.images[name]
        fitted, said = box.fitted(image.width, image.height)
        if said:
            (report.notes if fitted else report.problems).append(Problem(said, box.table or name, box.row))
        if fitted:
            fitting.setdefault(image.pk, {})[_key(fitted)] = fitted
    _strangers(report, strangers, "box", "boxes")
    pks = sorted(fitting)
    for start in range(0, len(pks), BATCH):
        report.boxes += _write_boxes(writer.image_set, {pk: fitting[pk] for pk in pks[start : start + BATCH]})


def _key(box: PlannedBox | Box) -> tuple:
    return (box.x0, box.y0, box.x1, box.y1, box.category)


@transaction.atomic
def _write_boxes(image_set: ImageSet, fitting: dict[int, dict[tuple, PlannedBox]]) -> int:
    ImageSet.objects.select_for_update().get(pk=image_set.pk)
    there = {(box.image_id, _key(box)) for box in Box.objects.filter(image__in=list(fitting), source=SOURCE)}
    rows = [
        Box(
            image_id=pk,
            x0=box.x0,
            y0=box.y0,
            x1=box.x1,
            y1=box.y1,
            category=box.category,
            difficult=box.difficult,
            source=SOURCE,
        )
        for pk, boxes in fitting.items()
        for key, box in boxes.items()
        if (pk, key) not in there
    ]
    Box.objects.bulk_create(rows)
    return len(rows)


def _strangers(report: ImportReport, names: list[str], one: str, many: str) -> None:
    """One sentence for all that belong to no picture: often a table covers more than was imported."""
    if names:
        shown = ", ".join(names[:SHOWN]) + ("…" if len(names) > SHOWN else "")
        counted = f"{len(names)} {one if len(names) == 1 else many}"
        report.notes.append(Problem(f"{counted} with no picture of that name: {shown}"))


# --- masks ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MaskFiles:
    folder: Folder
    paths: list[Path]


def mask_files(root: Path) -> MaskFiles:
    """The PNG files below a folder, in the order of their names."""
    paths = [
        Path(where) / name
        for where, folders, files in os.walk(root)
        for name in files
        if name.lower().endswith(".png") and not name.startswith(".")
    ]
    return MaskFiles(Folder(root), sorted(paths))


def add_masks(writer: Writer, files: MaskFiles, *, threshold: int, ticks: Callable[[], None]) -> None:
    """Adds a mask to each picture that has none from an import yet; others are named."""
    report, names = writer.report, Names(writer.images)
    left_out = Names(writer.left_out)
    strangers: list[str] = []
    batch: list[tuple[str, Known, bytes, int | None]] = []
    for path in files.paths:
        ticks()
        shown = os.fsencode(path.relative_to(files.folder.root)).decode("utf-8", "replace")
        try:
            name = names.of_mask(files.folder.name_of(path))
            if name is None:
                if left_out.of_mask(shown) is None:
                    strangers.append(shown)
                continue
            if not files.folder.inside(path):
                raise BadImage("The mask is a link that leads out of the folder.")
            image = writer.images[name]
            if path.stat().st_size > MAX_BYTES:
                raise BadImage(f"The mask has more than {MAX_BYTES / 1e6:.0f} MB.")
            mask = binary_mask(path.read_bytes(), image.width, image.height, threshold)
            batch.append((shown, image, png_bytes(mask), None))
        except (BadImage, ValueError, OSError) as error:
            report.problems.append(Problem(str(error), shown))
        if len(batch) == BATCH:
            write_masks(writer, batch)
            batch = []
    if batch:
        write_masks(writer, batch)
    _strangers(report, strangers, "mask", "masks")


def binary_mask(data: bytes, width: int, height: int, threshold: int = 127) -> Pictures.Image:
    """A mask file as a grey picture of 0 and 255. Raises BadImage where it does not fit or marks nothing.

    A pixel belongs to the object where its grey value is above `threshold`. Two kinds count every value but 0:
    palettes (whose values are indices) and masks in which no value is above the threshold.
    """
    picture = open_picture(data)
    if picture.size != (width, height):
        raise BadImage(
            f"The mask is {picture.width}×{picture.height}, its picture {width}×{height}. They must have one size."
        )
    if picture.mode.startswith("I"):
        values = np.asarray(to_8_bits(picture)) if np.asarray(picture).max() > 255 else np.asarray(picture)
    elif picture.mode == "P" and _indexed(picture):
        values = np.where(np.asarray(picture) > 0, 255, 0)
    else:
        values = np.asarray(picture.convert("RGB").convert("L"))
    inside = values > threshold if values.max() > threshold else values > 0
    if not inside.any():
        raise BadImage("The mask is empty: no pixel of it is marked.")
    return Pictures.fromarray(np.where(inside, 255, 0).astype(np.uint8))


def _indexed(picture: Pictures.Image) -> bool:
    """Whether a palette's first colour is black: then values are categories, 0 the ground. A palette that only
    shortens a grey picture may put white first."""
    palette = picture.getpalette("RGB") or [0, 0, 0]
    return palette[:3] == [0, 0, 0]


@transaction.atomic
def write_masks(writer: Writer, batch: list[tuple[str, Known, bytes, int | None]]) -> None:
    """Adds masks (where it is said, image, PNG, class or None) to images that have none of that class yet."""
    ImageSet.objects.select_for_update().get(pk=writer.image_set.pk)
    pks = {image.pk for _, image, _, _ in batch}
    rows = Mask.objects.filter(image__in=pks, source=SOURCE)
    there = {(row.image_id, row.category): row.sha256 for row in rows}
    made = []
    for shown, image, data, category in batch:
        digest = hashlib.sha256(data).hexdigest()
        before = there.get((image.pk, category))
        if before is not None:
            if before != digest:
                writer.report.problems.append(Problem("The picture has another mask already; that one stays.", shown))
            continue
        there[image.pk, category] = digest
        owner = Image(pk=image.pk, uuid=image.uuid, image_set=writer.image_set)
        row = Mask(image_id=image.pk, sha256=digest, source=SOURCE, category=category)
        row.file = storage.put(mask_path(Mask(image=owner, sha256=digest), f"{digest}.png"), data)
        made.append(row)
    Mask.objects.bulk_create(made)
    writer.report.masks += len(made)
