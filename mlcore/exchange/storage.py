"""Files into the storage under the hash of their content: the same bytes are written once."""

from __future__ import annotations

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage


def put(path: str, data: bytes) -> str:
    """Stores `data` at exactly `path`, whose name holds the data's hash; the path is returned.

    A file of the right size that is there already is left; one of another size was cut off by a crash and is
    written anew. Raises OSError where the storage refuses.
    """
    if default_storage.exists(path):
        if default_storage.size(path) == len(data):
            return path
        default_storage.delete(path)
    return default_storage.save(path, ContentFile(data))


def read(path: str) -> bytes:
    """The whole file. Raises FileNotFoundError."""
    with default_storage.open(path, "rb") as stream:
        return stream.read()
