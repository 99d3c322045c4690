"""Files into the storage under the hash of their content: the same bytes are written once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage


def put(name: str, data: bytes) -> str:
    """Stores `data` at exactly `name`, which holds the data's hash or belongs to one row alone; it is returned.

    A file of the right size that is there already is left. Else the data is written beside its place and moved
    there whole: a reader, or a second import of the same pictures, never meets half a file. Raises OSError where the
    disk refuses.
    """
    path = Path(default_storage.path(name))
    if path.is_file() and path.stat().st_size == len(data):
        return name
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(temporary, settings.FILE_UPLOAD_PERMISSIONS or 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return name


def read(name: str) -> bytes:
    """The whole file. Raises FileNotFoundError."""
    with default_storage.open(name, "rb") as stream:
        return stream.read()
