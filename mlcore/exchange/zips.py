"""Unpack an uploaded zip of images: names, number, size and ratio are checked before a byte is written."""

import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO

from mlcore.exchange.report import ImportRefused

MOST_FILES = 100_000
MOST_BYTES = 20 * 1024**3
MOST_RATIO = 100  # pictures hardly shrink; what shrinks more than this is no folder of pictures
SMALL = 1024 * 1024  # a CSV may shrink a lot; below this nobody is harmed
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".csv", ".txt"}
CHUNK = 1024 * 1024


def unpack(upload: IO[bytes], folder: Path) -> Path:
    """Writes the pictures and tables of the zip below `folder`; the folder that holds them all.

    Files of other kinds are passed over. Raises ImportRefused naming the entry that must not be there: a path
    that leads out of the folder, a link, an encrypted file, one that unpacks to far more than it is.
    """
    try:
        with zipfile.ZipFile(upload) as archive:
            entries = [entry for entry in archive.infolist() if _wanted(entry)]
            _check(entries)
            for entry in entries:
                _write(archive, entry, folder)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ImportRefused(f"This file cannot be read as a zip ({error}).") from error
    if not entries:
        raise ImportRefused("The zip holds no pictures.")
    return _root(folder)


def _wanted(entry: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(entry.filename)
    hidden = any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in path.parts)
    return not entry.is_dir() and not hidden and path.suffix.lower() in SUFFIXES


def _check(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > MOST_FILES:
        raise ImportRefused(f"The zip holds {len(entries)} files; at most {MOST_FILES} are taken at once.")
    if sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise ImportRefused(f"Unpacked, the zip is larger than {MOST_BYTES // 1024**3} GB.")
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename:
            raise ImportRefused(f"“{entry.filename}” leads out of the zip. Nothing was imported.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise ImportRefused(f"“{entry.filename}” is a link. Nothing was imported.")
        if entry.file_size > SMALL and entry.file_size > MOST_RATIO * max(entry.compress_size, 1):
            raise ImportRefused(f"“{entry.filename}” unpacks to far more than it is. Nothing was imported.")


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / entry.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as source, target.open("wb") as stream:
        while piece := source.read(CHUNK):
            written += len(piece)
            if written > entry.file_size:  # the table of contents lied
                raise ImportRefused(f"“{entry.filename}” is larger than the zip says. Nothing was imported.")
            stream.write(piece)


def _root(folder: Path) -> Path:
    """Zips made of a folder hold that folder alone: go in, unless it may be the only class."""
    inside = list(folder.iterdir())
    if len(inside) == 1 and inside[0].is_dir() and any(child.is_dir() for child in inside[0].iterdir()):
        return inside[0]
    if len(inside) == 1 and inside[0].is_dir() and any(inside[0].glob("*.csv")):
        return inside[0]
    return folder
