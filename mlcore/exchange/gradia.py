"""GRADIA's own layout, in and out: train, val and test folders of class folders, and two JSON files beside them.

    attention.json     file name → 2-D list (or a picture's path): what people drew
    reasonablity.json  file name → “Unreasonable Inaccurate”, …: what people said (the spelling is theirs)
    harmony.json       ours, optional: what the layout cannot say, so that a set comes back as it left

GRADIA's people rate and draw validation images. Here the part that chooses the epoch must hold none of them
(definitions §2), so rated and drawn images of “val” become the annotation pool.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from django.db import transaction

from mlcore.exchange import storage
from mlcore.exchange.attachments import Names
from mlcore.exchange.gradia_export import ExportRefused, GradiaExport, export_gradia
from mlcore.exchange.gradia_files import (
    FORMAT,
    IMPORTANT,
    MANIFEST,
    UNIMPORTANT,
    UNKNOWN,
    BadMap,
    codes_of,
    palette_png,
    read_cases,
    read_json,
)
from mlcore.exchange.images import import_folder
from mlcore.exchange.matrix import PRESETS, weights_of
from mlcore.exchange.partitions import PartitionRefused, partition_from_splits
from mlcore.exchange.parts import part_of
from mlcore.exchange.readers import Folder
from mlcore.exchange.report import ImportRefused, ImportReport, Problem, Progress
from mlcore.exchange.verify import png_bytes
from mlcore.models import AuditEntry, Image, ImageSet, Partition, SupervisionItem, SupervisionSet
from mlcore.models.partitions import Part
from mlcore.models.supervision import map_path

__all__ = ["ExportRefused", "GradiaExport", "GradiaReport", "export_gradia", "import_gradia"]

ATTENTION = ("attention.json", "attention_label.json", "attention_labels.json", "attention_map.json")
REASONABILITY = ("reasonablity.json", "reasonability.json", "reasonablity_val.json", "reasonability_val.json")
Case = SupervisionItem.Case


@dataclass
class GradiaReport:
    """What came of an import; `supervision` is None where nothing was said about the images."""

    images: ImportReport
    partition: Partition
    supervision: SupervisionSet | None
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)


@dataclass
class _Said:
    """What people said about one image; `drawn` is the stored form of the map, None where nothing was drawn."""

    case: str
    drawn: bytes | None
    w_p: float
    w_a: float


def import_gradia(
    folder: Path,
    *,
    name: str,
    owner: Any = None,
    attention: Path | None = None,
    reasonability: Path | None = None,
    partition: str = "GRADIA",
    supervision: str | None = None,
    preset: str = "default",
    progress: Progress | None = None,
) -> GradiaReport:
    """Imports a folder in GRADIA's layout as image set, partition and supervision set.

    attention, reasonability: the JSON files; by default those of the usual names in the folder. supervision: the
    name of the supervision set, by default that of the image set. preset: "gradia" gives a drawn map that nobody
    rated no weight. Doing it again adds nothing. Raises ImportRefused, PartitionRefused.
    """
    folder = Path(folder)
    if preset not in PRESETS:
        raise ImportRefused(f"“{preset}” is not a preset. Known: {', '.join(PRESETS)}.")
    if not folder.is_dir():
        raise ImportRefused(f"There is no folder “{folder}”.")
    if not (folder / "labels.csv").is_file() and not any(
        part_of(path.name) for path in folder.iterdir() if path.is_dir()
    ):
        raise ImportRefused(f"{folder.name} has no folders train, val and test; import it as a folder of images.")
    notes: list[Problem] = []
    problems: list[Problem] = []
    manifest = _manifest(folder, problems)
    attention = attention or _first(folder, ATTENTION)
    reasonability = reasonability or _first(folder, REASONABILITY)
    drawn = read_json(attention, problems) if attention else {}
    cases = read_cases(reasonability, problems) if reasonability else {}

    images = import_folder(folder, name=name, owner=owner, classes=manifest.get("classes"), progress=progress)
    if not images.splits:
        raise ImportRefused(f"{folder.name} says of no picture whether it is train, val or test.")
    image_set = images.image_set
    names = Names(images.splits)
    rows = {row.name: row for row in image_set.images.filter(name__in=list(images.splits))}
    parts = _parts(images.splits, names, manifest, {*drawn, *cases}, notes)
    cut = _partition(image_set, parts, partition, owner)

    said: dict[str, _Said] = {}
    place = Folder(attention.parent if attention else folder)
    for file in sorted({*drawn, *cases, *manifest.get("weights", {})}):
        known = names.of_file(file)
        if known is None:
            notes.append(Problem("There is no picture of this name; what is said about it was passed over.", file))
        elif parts[known] in (Part.TEST, Part.VALIDATION):
            problems.append(
                Problem(f"The picture is in the part {parts[known]}, which holds no rated or drawn image.", file)
            )
        else:
            case = cases.get(file, Case.NOT_RATED)
            row = rows[known]
            codes = None
            if file in drawn:
                rest = UNKNOWN if file in manifest.get("unknown", []) else UNIMPORTANT
                codes = _codes(file, drawn[file], place, row, rest, problems, notes)
            w_p, w_a = manifest.get("weights", {}).get(file) or weights_of(
                case, has_map=codes is not None, preset=preset
            )
            drawn_map = None if codes is None else png_bytes(palette_png(codes))
            said[known] = _Said(case, drawn_map, float(w_p), float(w_a) if drawn_map else 0.0)
    made = _supervise(image_set, rows, said, supervision or name, preset, manifest, owner) if said else None
    return GradiaReport(images, cut, made, images.problems + problems, images.notes + notes)


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _manifest(folder: Path, problems: list[Problem]) -> dict[str, Any]:
    """Our own file, or an empty one. Raises ImportRefused where it is there and not of its form."""
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    found = read_json(path, problems)
    forms = {"classes": list, "parts": dict, "unknown": list, "weights": dict, "participants": dict}
    if found.get("format") != FORMAT or any(not isinstance(found.get(key), form) for key, form in forms.items()):
        raise ImportRefused(f"{MANIFEST}: the file is not of the form {FORMAT}. Remove it to import without it.")
    for file, pair in found["weights"].items():
        numbers = isinstance(pair, list) and len(pair) == 2 and all(isinstance(value, int | float) for value in pair)
        if not numbers or not all(np.isfinite(value) and value >= 0 for value in pair):
            raise ImportRefused(f"{MANIFEST}: the weights of {file} are not two numbers from 0 up.")
    return found


def _parts(
    splits: Mapping[str, str], names: Names, manifest: Mapping[str, Any], said: set[str], notes: list[Problem]
) -> dict[str, str]:
    """Image name → part: as our own file says, else from the folders, rated and drawn “val” images in the pool."""
    parts = dict(splits)
    if manifest:
        for name, part in manifest["parts"].items():
            known = names.of_file(str(name))
            if known is not None:
                parts[known] = str(part)
        return parts
    moved = [name for file in said if (name := names.of_file(file)) and parts[name] == Part.VALIDATION]
    parts.update(dict.fromkeys(moved, Part.POOL.value))
    if moved:
        notes.append(Problem(f"{len(moved)} rated or drawn images of val are the annotation pool."))
        if Part.VALIDATION not in parts.values():
            notes.append(Problem("All images of val were rated or drawn: the partition has no validation part."))
    return parts


def _partition(image_set: ImageSet, parts: dict[str, str], name: str, owner: Any) -> Partition:
    """The partition of that name if it cuts the same way, else a new one. Raises PartitionRefused."""
    before = Partition.objects.filter(image_set=image_set, name=name).first()
    if before is None:
        return partition_from_splits(image_set, parts, name, owner)
    if dict(before.members.values_list("image__name", "part")) != {key: str(part) for key, part in parts.items()}:
        raise PartitionRefused(f"“{image_set.name}” has another partition “{name}” already. Take another name.")
    return before


def _codes(
    file: str,
    value: Any,
    place: Folder,
    row: Image,
    rest: int,
    problems: list[Problem],
    notes: list[Problem],
) -> np.ndarray | None:
    try:
        codes, note = codes_of(value, place, (row.width, row.height), rest)
    except BadMap as error:
        problems.append(Problem(str(error), file))
        return None
    if note:
        notes.append(Problem(note, file))
    if not (codes == IMPORTANT).any():
        problems.append(Problem("The drawn map is empty; it was left out.", file))
        return None
    return codes


@transaction.atomic
def _supervise(
    image_set: ImageSet,
    rows: Mapping[str, Image],
    said: Mapping[str, _Said],
    name: str,
    preset: str,
    manifest: Mapping[str, Any],
    owner: Any,
) -> SupervisionSet:
    """The supervision set of exactly this content, made where it is not there yet."""
    ImageSet.objects.select_for_update().get(pk=image_set.pk)
    maps = {key: one.drawn for key, one in said.items() if one.drawn is not None}
    digest = hashlib.sha256()
    for key, one in sorted(said.items()):
        drawn = hashlib.sha256(maps.get(key, b"")).hexdigest()
        digest.update(json.dumps([rows[key].sha256, one.case, one.w_p, one.w_a, drawn]).encode())
    spec = {"origin": "gradia", "preset": preset, "content": digest.hexdigest()}
    before = SupervisionSet.objects.filter(image_set=image_set, name=name, spec__content=spec["content"]).first()
    if before is not None:
        return before
    made = SupervisionSet.objects.create(
        image_set=image_set, name=name, owner=owner, spec=spec, participants=manifest.get("participants", {})
    )
    items = []
    for key, one in said.items():
        item = SupervisionItem(supervision=made, image=rows[key], case=one.case, w_p=one.w_p, w_a=one.w_a)
        if key in maps:
            item.map = storage.put(map_path(item, "map.png"), maps[key])
        items.append(item)
    SupervisionItem.objects.bulk_create(items, batch_size=500)
    AuditEntry.write(owner, "import_supervision", made, after={"items": len(items), "maps": len(maps), **spec})
    return made
