"""What tests of bundles share: rows and pictures as they are compared, and bundles that were tampered with."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core import serializers

from annotation.api.pictures import map_bytes, picture_bytes
from annotation.exchange.bundle import FIXTURE, MANIFEST, MODELS, write_bundle
from annotation.models import Stimulus, Study
from mlcore.exchange.shards import load_map
from mlcore.models import Explanation, Image

# What stays where the study was made; and where maps lie, which is compared by the maps themselves.
STAYS = {"owner", "weights", "run", "join_key", "shard", "index"}


def packed(*studies: Study) -> io.BytesIO:
    stream = io.BytesIO()
    write_bundle(studies, stream)
    return stream


def rows() -> dict[str, list[dict[str, Any]]]:
    """Every row that a bundle may hold, by model, as fields without what stays."""
    found: dict[str, list[dict[str, Any]]] = {}
    for model in MODELS:
        plain = serializers.serialize(
            "python", model._base_manager.all(), use_natural_foreign_keys=True, use_natural_primary_keys=True
        )
        kept = [{name: value for name, value in row["fields"].items() if name not in STAYS} for row in plain]
        found[model._meta.label_lower] = sorted(kept, key=str)
    return found


def seen() -> tuple[dict[str, bytes], dict[str, Any], dict[str, Any]]:
    """Maps as people see them, maps as arrays, and pictures, by UUID."""
    stimuli = Stimulus.objects.select_related("trial__image", "explanation")
    return (
        {str(one.uuid): map_bytes(one) for one in stimuli},
        {str(row.uuid): load_map(row).tobytes() for row in Explanation.objects.all()},
        {str(row.uuid): (row.file.read(), picture_bytes(row)) for row in Image.objects.all()},
    )


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def changed(
    data: io.BytesIO,
    rows: Callable[[list[dict]], Any] = lambda rows: None,
    files: Callable[[dict[str, bytes]], Any] = lambda files: None,
    manifest: Callable[[dict], Any] = lambda manifest: None,
    sums: bool = True,
) -> io.BytesIO:
    """The bundle with other rows or files; with a manifest that fits again unless `sums` is off."""
    with zipfile.ZipFile(data) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    told = json.loads(held.pop(MANIFEST))
    fixture = json.loads(held[FIXTURE])
    rows(fixture)
    held[FIXTURE] = json.dumps(fixture).encode()
    files(held)
    if sums:
        told["files"] = {
            name: {"sha256": hashlib.sha256(one).hexdigest(), "size": len(one)} for name, one in held.items()
        }
    manifest(told)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, one in {**held, MANIFEST: json.dumps(told).encode()}.items():
            archive.writestr(name, one)
    return stream


def of(rows: list[dict], model: str) -> dict[str, Any]:
    return next(row["fields"] for row in rows if row["model"] == model)


def first(files: dict[str, bytes], suffix: str) -> str:
    return next(name for name in files if name.endswith(suffix))
