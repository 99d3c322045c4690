"""A table that waits between the page where it was sent and the page where its import is confirmed.

It lies in the storage under a name that nobody can guess; the page's address holds that name signed, and is of use to
the person who sent it alone. After a day, or the import, it is gone.
"""

from datetime import timedelta
from pathlib import PurePath
from typing import Any

from django.core import signing
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404
from django.utils import timezone
from django.utils.crypto import get_random_string

from mlcore.exchange.report import ImportRefused

FOLDER = "imports"
SALT = "annotation.import_uploads"
KEPT = timedelta(days=1)
MOST_BYTES = 16 * 1024 * 1024


def keep(upload: UploadedFile, user: Any) -> str:
    """Keep the file and return the token that finds it again. Raises ImportRefused where it is too large."""
    _sweep()
    name = "".join(letter for letter in PurePath(upload.name or "").name if letter.isprintable())[-120:] or "table.csv"
    if (upload.size or 0) > MOST_BYTES:
        raise ImportRefused(
            f"{name} is larger than {MOST_BYTES >> 20} MB. Import it with manage.py import_decisions, or in parts."
        )
    stored = default_storage.save(f"{FOLDER}/{get_random_string(32)}.csv", upload)
    return signing.dumps([user.pk, stored, name], salt=SALT)


def find(token: str, user: Any) -> tuple[str, str]:
    """(name in the storage, what the file was called). Raises Http404 for anything but this person's own upload."""
    try:
        whose, stored, name = signing.loads(token, salt=SALT, max_age=KEPT)
    except signing.BadSignature as error:
        raise Http404("There is no such upload, or it is older than a day. Send the file again.") from error
    if whose != user.pk or not default_storage.exists(stored):
        raise Http404("There is no such upload any more. Send the file again.")
    return stored, name


def read(stored: str) -> bytes:
    """The whole file."""
    with default_storage.open(stored, "rb") as stream:
        return stream.read()


def forget(stored: str) -> None:
    """Delete the file."""
    default_storage.delete(stored)


def _sweep() -> None:
    """What nobody confirmed for a day."""
    if not default_storage.exists(FOLDER):
        return
    before = timezone.now() - KEPT
    for name in default_storage.listdir(FOLDER)[1]:
        path = f"{FOLDER}/{name}"
        try:
            if default_storage.get_modified_time(path) < before:
                default_storage.delete(path)
        except FileNotFoundError:  # another sweep was faster
            continue
