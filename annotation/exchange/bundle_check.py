"""Whether a zip is a bundle that may be taken in: its files, their sums, and what its rows may say.

A bundle comes from elsewhere. It is believed in nothing: paths, sizes and sums are held against the manifest, rows are
of the models that a study needs and name one another only, and files that rows name lie in the bundle.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import stat
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from django.db.models import ForeignKey, Model

from annotation.errors import PlanInvalid, StudyRefused
from annotation.exchange.bundle import FIXTURE, FORMAT, MANIFEST, MEDIA, MODELS
from annotation.models import Study, StudyPicture, StudyVersion
from annotation.plan import clean_plan
from annotation.studies import KINDS, Kind
from mlcore.exchange.verify import BadImage, open_picture
from mlcore.models import Classifier, Explanation, Image

MOST_FILES = 200_000
MOST_BYTES = 20 * 1024**3
MOST_OF_ONE = 256 * 1024**2
MOST_TEXT = 512 * 1024**2  # the fixture, and the manifest
MOST_SHARD = 256 * 1024**2  # a shard, unpacked
CHUNK = 1024 * 1024
_PLACES = ("images/", "explanations/", "studies/")
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*(/[A-Za-z0-9_][A-Za-z0-9_.\-]*)+")
_BY_LABEL: dict[str, type[Model]] = {model._meta.label_lower: model for model in MODELS}


class BundleRefused(ValueError):
    """The bundle is not taken; the text is the sentence for the person. Nothing was changed."""


@dataclass(frozen=True)
class Checked:
    """A bundle that may be taken in: its manifest, its rows, and the names of its files in the storage."""

    manifest: dict[str, Any]
    fixture: bytes
    rows: list[dict[str, Any]]
    media: list[str]


def checked(archive: zipfile.ZipFile) -> Checked:
    """Raises BundleRefused with a sentence that names what is wrong."""
    entries = _entries(archive)
    if MANIFEST not in entries or FIXTURE not in entries:
        raise BundleRefused(f"This is no bundle of a study: it holds no {MANIFEST} or no {FIXTURE}.")
    manifest = _parsed(read(archive, entries[MANIFEST], MOST_TEXT), MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        said = manifest.get("format") if isinstance(manifest, dict) else None
        raise BundleRefused(f"The bundle's format is {said!r}; this installation reads {FORMAT!r}.")
    files = manifest.get("files")
    if not isinstance(files, dict) or set(files) != set(entries) - {MANIFEST}:
        raise BundleRefused("The files of the bundle are not those that its manifest names.")
    for name, told in files.items():
        _check_sum(archive, entries[name], told)
    fixture = read(archive, entries[FIXTURE], MOST_TEXT)
    rows = _parsed(fixture, FIXTURE)
    media = [name.removeprefix(MEDIA) for name in entries if name.startswith(MEDIA)]
    _check_rows(rows, set(media))
    _check_media(archive, entries, rows)
    return Checked(manifest, fixture, rows, media)


def read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int = MOST_OF_ONE) -> bytes:
    """The whole entry, at most as long as the zip's table of contents says. Raises BundleRefused."""
    if entry.file_size > most:
        raise BundleRefused(f"“{entry.filename}” is larger than {most // 1024**2} MB.")
    try:
        with archive.open(entry) as stream:
            data = stream.read(entry.file_size + 1)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise BundleRefused(f"“{entry.filename}” is damaged ({error}).") from error
    if len(data) != entry.file_size:
        raise BundleRefused(f"“{entry.filename}” has another size than the zip says.")
    return data


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    listed = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(listed) > MOST_FILES:
        raise BundleRefused(f"The bundle holds {len(listed)} files; at most {MOST_FILES} are taken.")
    if sum(entry.file_size for entry in listed) > MOST_BYTES:
        raise BundleRefused(f"Unpacked, the bundle is larger than {MOST_BYTES // 1024**3} GB.")
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in listed:
        name = entry.filename
        if name not in (FIXTURE, MANIFEST):
            path = name.removeprefix(MEDIA)
            safe = _PATH.fullmatch(path) and path.startswith(_PLACES) and ".." not in PurePosixPath(path).parts
            if not name.startswith(MEDIA) or not safe:
                raise BundleRefused(f"“{name}” must not be in a bundle.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise BundleRefused(f"“{name}” is a link.")
        if name in found:
            raise BundleRefused(f"“{name}” is in the bundle twice.")
        found[name] = entry
    return found


def _parsed(data: bytes, name: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BundleRefused(f"{name} is no JSON ({error}).") from error


def _check_sum(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, told: Any) -> None:
    data = read(archive, entry, MOST_TEXT if entry.filename == FIXTURE else MOST_OF_ONE)
    if not isinstance(told, dict) or told.get("size") != len(data):
        raise BundleRefused(f"“{entry.filename}” has another size than the manifest says.")
    if told.get("sha256") != hashlib.sha256(data).hexdigest():
        raise BundleRefused(f"“{entry.filename}” was changed: its SHA-256 is not the one in the manifest.")


def _check_rows(rows: Any, media: set[str]) -> None:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BundleRefused(f"{FIXTURE} is no list of rows.")
    keys: dict[type[Model], set[tuple]] = {model: set() for model in MODELS}
    for number, row in enumerate(rows, 1):
        model = _BY_LABEL.get(str(row.get("model")))
        if model is None:
            raise BundleRefused(f"Row {number} is of “{row.get('model')}”, which no bundle holds.")
        if set(row) != {"model", "fields"} or not isinstance(row["fields"], dict):
            raise BundleRefused(f"Row {number} ({row['model']}) is not as a bundle has it: rows have no numbers.")
        key = key_of(model, row["fields"])
        if key in keys[model]:
            raise BundleRefused(f"Row {number} ({row['model']}) is there twice.")
        keys[model].add(key)
    for number, row in enumerate(rows, 1):
        for sentence in _wrong(_BY_LABEL[row["model"]], row["fields"], keys, media):
            raise BundleRefused(f"Row {number} ({row['model']}) {sentence}.")
    kinds = {row["fields"]["uuid"]: row["fields"]["kind"] for row in rows if _BY_LABEL[row["model"]] is Study}
    for row in rows:
        if _BY_LABEL[row["model"]] is StudyVersion:
            _check_version(row["fields"], KINDS[kinds[row["fields"]["study"][0]]])


def _check_version(fields: dict[str, Any], kind: Kind) -> None:
    """Its pages read the settings and the plan without asking again whether they are whole."""
    settings, number = fields.get("settings"), fields.get("number")
    if not isinstance(settings, dict) or not set(kind.default_settings()) <= set(settings):
        raise BundleRefused(f"Version {number} of the study lacks settings of “{kind.title}”.")
    groups = settings.get("groups")
    if not isinstance(groups, list) or not all(isinstance(group, dict) and "sets" in group for group in groups):
        raise BundleRefused(f"Version {number} of the study does not say which maps its conditions show.")
    try:
        kind.clean_settings({name: settings[name] for name in kind.default_settings()})
        clean_plan(fields.get("plan") or None)
    except (StudyRefused, PlanInvalid) as error:
        raise BundleRefused(f"Version {number} of the study cannot be kept: {error}") from error


def _wrong(
    model: type[Model], fields: dict[str, Any], keys: dict[type[Model], set[tuple]], media: set[str]
) -> Iterator[str]:
    for field in model._meta.concrete_fields:
        if not isinstance(field, ForeignKey) or fields.get(field.name) is None:
            continue
        named, related = fields[field.name], field.related_model
        if related not in keys or not isinstance(named, list) or _hashable(named) not in keys[related]:
            yield f"names a {field.name} that is not in the bundle"
    if model is Classifier and fields.get("weights"):
        yield "brings weights"
    if model is Study and fields.get("kind") not in KINDS:
        yield f"is of the kind “{fields.get('kind')}”, which is not known here"
    for name in {Image: ("file",), StudyPicture: ("file",), Explanation: ("shard",)}.get(model, ()):
        if fields.get(name) not in media:
            yield f"names a file “{fields.get(name)}” that is not in the bundle"


def key_of(model: type[Model], fields: dict[str, Any]) -> tuple:
    """The row's natural key, as `get_by_natural_key` takes it. Raises BundleRefused where a part of it is missing."""
    columns = getattr(model, "natural_columns", ("uuid",))
    found: list[Any] = []
    for column in columns:
        name, _, rest = column.partition("__")
        value = fields.get(name)
        if rest:
            # Of a row that is named by its own natural key: (study, number) of a list stands before the position.
            place = sum(1 for other in columns[: columns.index(column)] if other.startswith(f"{name}__"))
            value = value[place] if isinstance(value, list) and place < len(value) else None
        if not isinstance(value, str | int) or (column.endswith("uuid") and not _is_uuid(value)):
            raise BundleRefused(f"A row of {model._meta.label_lower} says no {name}.")
        found.append(value)
    return tuple(found)


def _is_uuid(value: Any) -> bool:
    try:
        return str(uuid.UUID(value)) == value
    except (ValueError, AttributeError, TypeError):
        return False


def _hashable(value: list[Any]) -> tuple:
    return tuple(str(item) if isinstance(item, dict | list) else item for item in value)


def _check_media(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], rows: list[dict[str, Any]]) -> None:
    """Every file is named by a row; pictures are pictures with the row's sum and size; shards hold the rows' maps."""
    used: set[str] = set()
    maps: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        model, fields = _BY_LABEL[row["model"]], row["fields"]
        if model in (Image, StudyPicture):
            used.add(fields["file"])
            _check_picture(read(archive, entries[MEDIA + fields["file"]]), fields)
        elif model is Explanation:
            used.add(fields["shard"])
            maps.setdefault(fields["shard"], []).append(fields)
    for shard, wanted in maps.items():
        _check_shard(read(archive, entries[MEDIA + shard]), shard, wanted)
    extra = {name for name in entries if name.startswith(MEDIA)} - {MEDIA + name for name in used}
    if extra:
        raise BundleRefused(f"No row names “{min(extra)}”.")


def _check_picture(data: bytes, fields: dict[str, Any]) -> None:
    try:
        picture = open_picture(data)
    except BadImage as error:
        raise BundleRefused(f"“{fields['file']}” is not taken. {error}") from error
    if (fields.get("width"), fields.get("height")) != picture.size:
        raise BundleRefused(f"“{fields['file']}” has another size than its row says.")
    if "sha256" in fields and fields["sha256"] != hashlib.sha256(data).hexdigest():
        raise BundleRefused(f"“{fields['file']}” is another picture than its row says.")


def _check_shard(data: bytes, name: str, wanted: list[dict[str, Any]]) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as shard:
            if sum(entry.file_size for entry in shard.infolist()) > MOST_SHARD:
                raise BundleRefused(f"The maps in “{name}” take more than {MOST_SHARD // 1024**2} MB.")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            maps = arrays["maps"]
    except BundleRefused:
        raise
    except Exception as error:  # hostile bytes make the readers raise nearly anything
        raise BundleRefused(f"“{name}” holds no maps ({type(error).__name__}).") from error
    for fields in wanted:
        index, size = fields.get("index"), (fields.get("height"), fields.get("width"))
        if maps.ndim != 3 or maps.dtype != np.float32 or maps.shape[1:] != size or not _within(index, len(maps)):
            raise BundleRefused(f"“{name}” does not hold the maps that its rows name.")


def _within(index: Any, number: int) -> bool:
    return isinstance(index, int) and 0 <= index < number
