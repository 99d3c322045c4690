"""A bundle comes in: all of it or nothing, and a second time nothing more."""

from __future__ import annotations

import tempfile
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.core.serializers.base import DeserializationError
from django.db import DatabaseError, transaction
from django.db.models import Model

from annotation.exchange.bundle import FIXTURE, MEDIA, MODELS
from annotation.exchange.bundle_check import BundleRefused, Checked, checked, key_of, read
from annotation.models import Answer, Study
from mlcore.exchange import storage
from mlcore.models import AuditEntry, Image, ImageSet

__all__ = ["BundleRefused", "Imported", "import_bundle"]

CHUNK = 400  # values in one statement


@dataclass(frozen=True)
class Imported:
    """What came in. `already`: all of it was there."""

    studies: list[Study]
    rows: int
    files: int

    @property
    def already(self) -> bool:
        return not self.rows

    def sentence(self) -> str:
        """What happened, in words."""
        names = ", ".join(f"“{study}”" for study in self.studies)
        if self.already:
            return f"{names}: all of it is here already; nothing was changed."
        return f"{names}: {self.rows} rows and {self.files} files came in."


def import_bundle(source: Path | IO[bytes], *, owner: Any) -> Imported:
    """Takes a bundle in; what comes in belongs to `owner`.

    Rows that are there already stay as they are. Raises BundleRefused with a sentence; then neither rows nor files
    were left behind. Raises OSError where the disk refuses.
    """
    try:
        archive = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise BundleRefused(f"This file cannot be read as a zip ({error}).") from error
    with archive:
        found = checked(archive)
        missing = _missing(found)
        _check_studies(found, missing)
        studies = [str(row["fields"]["uuid"]) for row in found.rows if row["model"] == Study._meta.label_lower]
        new = sum(len(keys) for keys in missing.values())
        if not new:
            return Imported(_studies(studies), 0, 0)
        _check_names(found, missing)
        written: list[str] = []
        try:
            for name in found.media:
                if _store(name, read(archive, archive.getinfo(MEDIA + name))):
                    written.append(name)
            with transaction.atomic():
                _load(found, missing, owner)
                made = _studies(studies)
                for study in made:
                    AuditEntry.write(owner, "study.import_bundle", study, after={"rows": new, "files": len(written)})
        except BaseException:
            for name in written:
                default_storage.delete(name)
            raise
    return Imported(made, new, len(written))


def _studies(uuids: list[str]) -> list[Study]:
    return list(Study.objects.filter(uuid__in=uuids).order_by("pk"))


def _missing(found: Checked) -> dict[type[Model], set[tuple]]:
    """The natural keys of each model's rows that are not here yet."""
    wanted: dict[str, list[tuple]] = defaultdict(list)
    models = {model._meta.label_lower: model for model in MODELS}
    for row in found.rows:
        wanted[row["model"]].append(key_of(models[row["model"]], row["fields"]))
    missing: dict[type[Model], set[tuple]] = {}
    for label, keys in wanted.items():
        model = models[label]
        columns = getattr(model, "natural_columns", ("uuid",))
        there: set[tuple] = set()
        firsts = list({key[0] for key in keys})
        for start in range(0, len(firsts), CHUNK):
            rows = model._base_manager.filter(**{f"{columns[0]}__in": firsts[start : start + CHUNK]})
            there |= {(str(first), *rest) for first, *rest in rows.values_list(*columns)}
        missing[model] = set(keys) - there
    return missing


def _check_studies(found: Checked, missing: dict[type[Model], set[tuple]]) -> None:
    for row in found.rows:
        if row["model"] != Study._meta.label_lower:
            continue
        uuid = row["fields"]["uuid"]
        study = Study.objects.filter(uuid=uuid).first()
        if study is None:
            continue
        if Answer.objects.filter(assignment__trial__study=study).exists():
            raise BundleRefused(f"“{study}” is here already and has answers; it stays as it is. Nothing was imported.")
        if any(missing.values()):
            raise BundleRefused(
                f"“{study}” is here already and was changed since. Delete it to import it again. Nothing was imported."
            )


def _check_names(found: Checked, missing: dict[type[Model], set[tuple]]) -> None:
    """What the database would refuse too, but not in words that help."""
    for row in found.rows:
        fields = row["fields"]
        if row["model"] == ImageSet._meta.label_lower and (fields["uuid"],) in missing[ImageSet]:
            if ImageSet.objects.filter(name=fields.get("name")).exists():
                raise BundleRefused(
                    f"There is another image set “{fields.get('name')}” here. Rename it first. Nothing was imported."
                )
        elif row["model"] == Image._meta.label_lower and (fields["uuid"],) in missing[Image]:
            same = Image.objects.filter(image_set__uuid=fields["image_set"][0], sha256=fields.get("sha256"))
            if same.exists():
                raise BundleRefused(
                    f"The image set here has the picture {fields.get('name')} already, as another row; this bundle was "
                    "made in an installation whose images came in otherwise. Nothing was imported."
                )


def _store(name: str, data: bytes) -> bool:
    """Whether a file was written. Raises BundleRefused where another one of its name is there."""
    if default_storage.exists(name):
        if storage.read(name) != data:
            raise BundleRefused(f"Another file is kept here as {name}. Nothing was imported.")
        return False
    storage.put(name, data)
    return True


def _load(found: Checked, missing: dict[type[Model], set[tuple]], owner: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FIXTURE
        path.write_bytes(found.fixture)
        try:
            call_command("loaddata", str(path), verbosity=0)
        except (CommandError, DatabaseError, DeserializationError, ValueError, TypeError, LookupError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
            raise BundleRefused(f"The rows do not fit here ({first}). Nothing was imported.") from error
    for model, keys in missing.items():
        if owner is None or not any(field.name == "owner" for field in model._meta.concrete_fields):
            continue
        uuids = [key[0] for key in keys]
        for start in range(0, len(uuids), CHUNK):
            model._base_manager.filter(uuid__in=uuids[start : start + CHUNK]).update(owner=owner)
