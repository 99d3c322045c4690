"""What the commands `mask` and `match` share: a picture that is read, and a file that is drawn."""

from collections.abc import Iterable
from pathlib import Path

from django.core.management.base import CommandError

from mlcore.exchange.verify import BadImage, Verified, verify


def checked(path: Path) -> Verified:
    """The picture as an import would keep it: upright, opaque, whole. Raises CommandError."""
    if not path.is_file():
        raise CommandError(f"There is no file “{path}”.")
    try:
        return verify(path)
    except BadImage as error:
        raise CommandError(f"{path.name}: {error}") from error


def checked_out(out: Path, picture: Path, endings: Iterable[str]) -> Path:
    """Where something is drawn: a file of one of these endings that may be written, and is not the picture itself.

    Raises CommandError.
    """
    if out.suffix.lower() not in endings:
        raise CommandError(f"--out: “{out.name}” does not end in {' or '.join(endings)}.")
    if not out.parent.is_dir():
        raise CommandError(f"--out: there is no folder “{out.parent}”.")
    if out.is_dir():
        raise CommandError(f"--out: “{out.name}” is a folder.")
    if out.exists() and out.samefile(picture):
        raise CommandError(f"--out: “{out.name}” would write over the picture itself.")
    return out
