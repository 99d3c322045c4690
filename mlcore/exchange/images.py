"""Pictures into the database: from folders or a table, with masks and boxes, checked, hashed, and never twice.

    report = import_folder(Path("birds"), name="Birds", owner=user, masks=Path("masks"))
    print(report.sentence())

A bad file is named with its reason and the rest goes on. A batch of files is one transaction, so an import that
is broken off leaves whole batches, and doing it again adds what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.db import IntegrityError, transaction

from harmony.batches import in_batches
from mlcore.exchange.annotations import add_segments, drop_misfits, own_boxes, read_names
from mlcore.exchange.attachments import add_boxes, add_masks, mask_files
from mlcore.exchange.boxes import read_boxes
from mlcore.exchange.coco import plan_coco
from mlcore.exchange.image_lists import plan_list
from mlcore.exchange.plan import Plan, plan_folders
from mlcore.exchange.readers import checked_classes, read_class_list
from mlcore.exchange.report import ImportRefused, ImportReport, Problem, Progress
from mlcore.exchange.tables import plan_table
from mlcore.exchange.voc import plan_voc
from mlcore.exchange.writing import Writer
from mlcore.models import AuditEntry, ImageSet

__all__ = ["ImportRefused", "ImportReport", "Problem", "import_folder"]

BATCH = 32


def import_folder(
    source: Path,
    *,
    name: str,
    owner: Any = None,
    masks: Path | None = None,
    boxes: Path | None = None,
    labels: Path | None = None,
    classes: Path | Sequence[str] | None = None,
    class_column: str | None = None,
    mask_threshold: int = 127,
    coco: Path | None = None,
    voc: Path | None = None,
    names: Path | None = None,
    listed: Path | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Imports a folder of pictures as the image set `name`, or adds what is new to the set of that name.

    source: a folder a class (perhaps below train, val, test), or the folder that a table of labels refers to.
    labels: the table: file, label (index or name)[, class][, split][, x0, y0, x1, y1]; a `labels.csv` in `source`
        is taken by itself.
    classes: all class names in order (or a list's file), where the pictures at hand do not show every class.
    class_column: column that names the class, e.g. a coarser one.
    masks: folder of masks with the pictures' stems; a pixel belongs to the object where its grey value is above
        `mask_threshold` (in masks whose values are all small, where it is not 0).
    boxes: table file, x0, y0, x1, y1[, class][, difficult].
    coco: COCO's JSON of instances; voc: a folder of Pascal VOC's XML. Labels, boxes and (COCO) masks come from there.
    listed: a list of images instead, a file's name and perhaps its label a line.
    names: file of class names for the names that `coco` or `voc` use, such as ImageNet's ids of synsets.

    The classes of a set are fixed by its first import. Raises ImportRefused where nothing can be imported.
    """
    source = Path(source)
    if not source.is_dir():
        raise ImportRefused(f"There is no folder “{source}”.")
    if not name.strip():
        raise ImportRefused("The image set needs a name.")
    if masks is not None and not Path(masks).is_dir():
        raise ImportRefused(f"There is no folder of masks “{masks}”.")
    existing = _existing(name, owner)
    fixed = _known(existing, classes)
    if coco or voc or names:
        if (coco is None) == (voc is None) or labels or class_column or listed:
            raise ImportRefused(
                "Give one of a COCO file, a folder of VOC files, a list and a table of labels; names go with the first "
                "two."
            )
        plan = _plan_annotations(source, coco, voc, names, fixed)
    elif listed:
        if labels or class_column:
            raise ImportRefused("Give a list of images or a table of labels, not both.")
        plan = plan_list(Path(listed), source, known=fixed)
    else:
        plan = _plan(source, labels, fixed, class_column)
    planned_boxes, box_problems = read_boxes(Path(boxes), plan.classes) if boxes else ([], [])
    files = mask_files(Path(masks)) if masks else None
    total = len(plan.items) + (len(files.paths) if files else 0)
    ticks = _Ticks(progress, total)

    image_set = existing or _create(name, owner, plan.classes)
    if existing and existing.classes != plan.classes:
        existing.classes = plan.classes
        existing.save(update_fields=["classes"])
    report = ImportReport(image_set, problems=list(plan.problems), notes=list(plan.notes))
    writer = Writer(image_set, report)
    for batch in in_batches(plan.items, BATCH):
        writer.write(batch, ticks)
    if not writer.images and not existing:
        image_set.delete()
        raise ImportRefused(f"None of the {len(plan.items)} files could be imported.", report.problems)

    drop_misfits(writer, plan.items)
    report.problems += box_problems
    add_boxes(writer, own_boxes(plan.items) + planned_boxes)
    add_segments(writer, plan.items)
    if files:
        add_masks(writer, files, threshold=mask_threshold, ticks=ticks)
    if report.changed:
        counts = {"added": report.added, "masks": report.masks, "boxes": report.boxes}
        AuditEntry.write(owner, "import_images", image_set, after=counts)
    return report


class _Ticks:
    """Counts files for the caller's progress bar."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self) -> None:
        self.done += 1
        if self.progress:
            self.progress(self.done, self.total)


def _existing(name: str, owner: Any) -> ImageSet | None:
    found = ImageSet.objects.filter(name=name).first()
    if found and owner is not None and found.owner_id not in (None, owner.pk) and not owner.is_superuser:
        raise ImportRefused(f"There is an image set “{name}” of somebody else. Choose another name.")
    return found


def _known(existing: ImageSet | None, classes: Path | Sequence[str] | None) -> list[str] | None:
    """The classes that a row must keep to: the set's own, else the given ones; None: the source decides."""
    given = None
    if isinstance(classes, Path):
        given = read_class_list(classes)
    elif classes is not None:
        given = checked_classes(classes, "classes")
    if existing is None or not existing.images.exists():
        return given
    if given is not None and given != existing.classes:
        raise ImportRefused(
            f"“{existing.name}” has other classes than the list given. The classes of a set are fixed by its "
            "first import; choose another name for a new set."
        )
    return list(existing.classes)


def _plan(source: Path, labels: Path | None, known: list[str] | None, class_column: str | None) -> Plan:
    table = Path(labels) if labels else source / "labels.csv"
    if labels or table.is_file():
        return plan_table(table, source, known=known, class_column=class_column)
    return plan_folders(source, known)


def _plan_annotations(
    source: Path, coco: Path | None, voc: Path | None, names: Path | None, known: list[str] | None
) -> Plan:
    listed = read_names(Path(names)) if names else None
    if coco:
        return plan_coco(Path(coco), source, known=known, names=listed)
    assert voc is not None
    return plan_voc(Path(voc), source, known=known, names=listed)


def _create(name: str, owner: Any, classes: list[str]) -> ImageSet:
    try:
        with transaction.atomic():
            made = ImageSet.objects.create(name=name, owner=owner, classes=classes)
            AuditEntry.write(owner, "create_image_set", made, after={"name": name, "classes": len(classes)})
    except IntegrityError as error:
        raise ImportRefused(f"Somebody has just made an image set “{name}”. Try again.") from error
    return made
