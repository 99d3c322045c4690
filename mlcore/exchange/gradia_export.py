"""A partition and what people said about it, written in GRADIA's layout (see `mlcore.exchange.gradia`)."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from mlcore.exchange import storage
from mlcore.exchange.gradia_files import FORMAT, MANIFEST, UNKNOWN, WORDS, list_of
from mlcore.exchange.verify import open_picture
from mlcore.models import Image, ImageLabel, Partition, SupervisionItem, SupervisionSet
from mlcore.models.partitions import Part

__all__ = ["GradiaExport", "export_gradia"]

FOLDERS = {Part.TRAIN: "train", Part.POOL: "val", Part.VALIDATION: "val", Part.TEST: "test"}


class ExportRefused(ValueError):
    """The layout cannot hold this set; the text is the sentence for the person."""


@dataclass(frozen=True)
class GradiaExport:
    """What was written."""

    folder: Path
    images: int
    maps: int
    ratings: int


def export_gradia(partition: Partition, folder: Path, *, supervision: SupervisionSet | None = None) -> GradiaExport:
    """Writes pictures, drawn maps and ratings into `folder`, which must be new or empty.

    The annotation pool goes to “val”, as GRADIA has it; harmony.json keeps the four parts, the order of the classes
    and the weights. Raises ExportRefused, OSError.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportRefused(f"“{folder.name}” is not empty. Choose a new folder.")
    if supervision is not None and supervision.image_set_id != partition.image_set_id:
        raise ExportRefused("The supervision is about another image set.")
    classes = partition.image_set.classes
    bad = next((name for name in classes if not _folder_name(name)), None)
    if bad is not None:
        raise ExportRefused(f"The class “{bad}” cannot be a folder's name.")
    members = list(partition.members.select_related("image").order_by("id"))
    labels: dict[int, int] = {}
    for image, index in (
        ImageLabel.objects.filter(image__image_set=partition.image_set_id)
        .order_by("id")
        .values_list("image_id", "index")
    ):
        labels.setdefault(image, index)
    files = _file_names([member.image for member in members])
    parts = {}
    for member in members:
        if member.image_id not in labels:
            raise ExportRefused(f"{member.image.name} has no class; the layout has a folder for each.")
        file = files[member.image_id]
        place = folder / FOLDERS[Part(member.part)] / classes[labels[member.image_id]] / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(storage.read(str(member.image.file.name)))
        parts[file] = member.part
    for name in {*FOLDERS.values()}:
        (folder / name).mkdir(parents=True, exist_ok=True)

    items = _items(supervision, files) if supervision else []
    unknown = _write_maps(folder / "attention.json", items, files)
    ratings = {files[item.image_id]: WORDS[item.case] for item in items if item.case in WORDS}
    _write(folder / "reasonablity.json", ratings)
    manifest = {
        "format": FORMAT,
        "image_set": partition.image_set.name,
        "classes": classes,
        "parts": parts,
        "unknown": unknown,
        "weights": {files[item.image_id]: [item.w_p, item.w_a] for item in items},
        "participants": supervision.participants if supervision else {},
    }
    _write(folder / MANIFEST, manifest)
    return GradiaExport(folder, len(members), sum(bool(item.map) for item in items), len(ratings))


def _folder_name(name: str) -> bool:
    return (
        bool(name)
        and not name.startswith(".")
        and not any(sign in name for sign in "/\\\0")
        and len(name.encode()) < 250
    )


def _file_names(images: list[Image]) -> dict[int, str]:
    """Image → a file name that no other has: the JSON files know files by their last part alone."""
    plain = {
        image.pk: f"{PurePosixPath(image.name).stem}{PurePosixPath(str(image.file.name)).suffix}" for image in images
    }
    counts = Counter(plain.values())
    return {
        image.pk: plain[image.pk]
        if counts[plain[image.pk]] == 1
        else f"{PurePosixPath(plain[image.pk]).stem}-{image.sha256[:12]}{PurePosixPath(plain[image.pk]).suffix}"
        for image in images
    }


def _items(supervision: SupervisionSet, files: dict[int, str]) -> list[SupervisionItem]:
    items = list(supervision.items.select_related("image").order_by("id"))
    outside = next((item for item in items if item.image_id not in files), None)
    if outside is not None:
        raise ExportRefused(f"{outside.image.name} was rated or drawn and is in no part of the partition.")
    return items


def _write_maps(path: Path, items: list[SupervisionItem], files: dict[int, str]) -> list[str]:
    """Writes one map after another, so that memory holds one; the files are returned of which a reader could not
    tell that what is not painted is unknown."""
    ambiguous = []
    with path.open("w", encoding="utf-8") as stream:
        separator = "{"
        for item in items:
            if not item.map:
                continue
            codes = np.asarray(open_picture(storage.read(str(item.map.name))))
            values = list_of(codes)
            stream.write(f"{separator}\n{json.dumps(files[item.image_id], ensure_ascii=False)}: {json.dumps(values)}")
            separator = ","
            if (codes == UNKNOWN).any() and not any(value < 0 for row in values for value in row):
                ambiguous.append(files[item.image_id])
        stream.write("{}" if separator == "{" else "\n}")
    return ambiguous


def _write(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
