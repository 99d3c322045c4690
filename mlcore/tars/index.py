"""What lies where in a tar of samples: key, place and length of the picture, label. One pass over the headers.

The layout is WebDataset's: files of one sample share a name up to its first dot (000123.jpg, 000123.cls, 000123.json)
and lie one after another. The index is kept in a file beside the tar or in a folder of indexes, and is made again when
the tar's size or time of change differ.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mlcore.tars.names import ShardsRefused

VERSION = 1
PICTURES = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "gif"})
LABELS = ("cls", "json")
LABEL_KEYS = ("label", "cls", "class")
NO_LABEL = -1
LONGEST_LABEL = 1 << 20  # bytes of a .cls or .json
# As WebDataset splits a name: folders and all before the first dot of the last part; the rest is the kind.
NAME = re.compile(r"((?:.*/)?[^/.]+)\.([^/]+)")


@dataclass(frozen=True)
class Index:
    """One tar: per sample its key, the picture's first byte and length, and the number of its label in `texts`."""

    keys: NDArray[np.bytes_]  # UTF-8
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int32]
    texts: tuple[str, ...]  # labels as they are written: a class's index or its name
    bytes: int  # of the tar
    changed: int  # its time of change, in nanoseconds

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, number: int) -> str:
        """The name of a sample."""
        return str(self.keys[number], "utf-8")

    def digest(self) -> str:
        """SHA-256 of all that is in it but the time: equal for equal tars, wherever they lie."""
        found = hashlib.sha256(json.dumps([VERSION, self.bytes, len(self), self.texts]).encode())
        found.update(b"\n".join(self.keys.tolist()))
        for array, kind in ((self.offsets, "<i8"), (self.sizes, "<i8"), (self.labels, "<i4")):
            found.update(array.astype(kind).tobytes())
        return found.hexdigest()


def read(path: Path) -> Index:
    """The index of a tar, by a pass over its headers. Raises ShardsRefused naming the tar and the sample at fault."""
    keys: list[bytes] = []
    offsets: list[int] = []
    sizes: list[int] = []
    labels: list[int] = []
    numbers: dict[str, int] = {}
    seen: set[bytes] = set()
    found = path.stat()
    with _opened(path) as stream:
        for key, members in _samples(path, stream):
            encoded = key.encode()
            if encoded in seen:
                raise ShardsRefused(f"{path.name} holds the sample {key} twice, or its files do not lie together.")
            seen.add(encoded)
            pictures = [member for kind, member in members.items() if kind in PICTURES]
            if len(pictures) != 1:
                what = "no picture" if not pictures else "several pictures"
                raise ShardsRefused(f"The sample {key} of {path.name} has {what} ({', '.join(sorted(members))}).")
            keys.append(encoded)
            offsets.append(pictures[0].offset_data)
            sizes.append(pictures[0].size)
            text = _label(path, stream, key, members)
            labels.append(NO_LABEL if text is None else numbers.setdefault(text, len(numbers)))
    if not keys:
        raise ShardsRefused(f"{path.name} holds no sample.")
    return Index(
        np.array(keys), np.array(offsets, np.int64), np.array(sizes, np.int64), np.array(labels, np.int32),
        tuple(numbers), found.st_size, found.st_mtime_ns,
    )  # fmt: skip


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise ShardsRefused(f"{path.name} cannot be read ({error.strerror or error}).") from error


def _samples(path: Path, stream: IO[bytes]) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """(key, kind → member) of every sample, in order. Whatever begins with a dot is passed over."""
    key, members = "", dict[str, tarfile.TarInfo]()
    for member in _members(path, stream):
        if not member.isreg() or member.name.rpartition("/")[2].startswith("."):
            continue
        parts = NAME.fullmatch(member.name)
        if parts is None:
            raise ShardsRefused(f"{path.name}: “{member.name}” is no file of a sample (key.jpg, key.cls, …).")
        if parts[1] != key:
            if key:
                yield key, members
            key, members = parts[1], {}
        kind = parts[2].lower()
        if kind in members:
            raise ShardsRefused(f"The sample {key} of {path.name} has two files .{kind}.")
        members[kind] = member
    if key:
        yield key, members


def _members(path: Path, stream: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    last = ""
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            while (member := tar.next()) is not None:
                last = member.name
                tar.members = []  # type: ignore[attr-defined]  # it would keep every one
                yield member
            end = tar.offset
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        if not last:
            raise ShardsRefused(f"{path.name} is no tar file, or a compressed one ({error}).") from error
        raise ShardsRefused(f"{path.name} is damaged or cut short after {last} ({error}).") from error
    # A header that makes no sense is an end to tarfile; the true end is a block of zeros.
    stream.seek(end)
    if stream.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise ShardsRefused(f"{path.name} is damaged or cut short after {last or 'its beginning'}.")


def _label(path: Path, stream: IO[bytes], key: str, members: dict[str, tarfile.TarInfo]) -> str | None:
    """A sample's label as it is written: .cls, or "label", "cls" or "class" of its .json."""
    for kind in LABELS:
        member = members.get(kind)
        if member is None:
            continue
        if member.size > LONGEST_LABEL:
            raise ShardsRefused(f"The .{kind} of the sample {key} of {path.name} is too long to be a label.")
        stream.seek(member.offset_data)
        raw = stream.read(member.size)
        try:
            text = raw.decode("utf-8").strip()
            told: Any = json.loads(text) if kind == "json" else text
        except ValueError as error:
            raise ShardsRefused(f"The .{kind} of the sample {key} of {path.name} cannot be read ({error}).") from error
        if kind == "json":
            told = next((told[name] for name in LABEL_KEYS if name in told), None) if isinstance(told, dict) else told
        if told is None or told == "":
            continue
        if isinstance(told, bool) or not isinstance(told, int | str):
            raise ShardsRefused(f"The label of the sample {key} of {path.name} is neither a number nor a name.")
        return str(told)
    return None


# --- kept ---


def beside(path: Path) -> Path:
    """Where a tar's index lies, next to it."""
    return path.with_name(f"{path.name}.index.npz")


def kept(path: Path, folder: Path) -> Path | None:
    """A file that holds the tar's index as it is now: beside it, or in the folder of indexes."""
    for place in (beside(path), _in_folder(path, folder)):
        try:
            load(path, place)
        except ShardsRefused:
            continue
        return place
    return None


def ensure(path: Path, folder: Path) -> tuple[Index, Path]:
    """The tar's index and its file, read anew where there is none; kept in `folder`. Raises ShardsRefused."""
    place = kept(path, folder)
    if place is not None:
        return load(path, place), place
    found = read(path)
    place = _in_folder(path, folder)
    try:
        save(found, place)
    except OSError as error:
        raise ShardsRefused(f"The index of {path.name} cannot be written ({error.strerror or error}).") from error
    return found, place


def _in_folder(path: Path, folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    return folder / f"{path.stem}-{name}.index.npz"


def save(index: Index, place: Path) -> None:
    """Write it whole or not at all. Raises OSError."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with draft.open("wb") as stream:
            np.savez(
                stream,
                version=VERSION,
                keys=index.keys,
                offsets=index.offsets,
                sizes=index.sizes,
                labels=index.labels,
                texts=np.frombuffer(json.dumps(index.texts).encode(), np.uint8),
                of=np.array([index.bytes, index.changed], np.int64),
            )
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)


def load(path: Path, place: Path) -> Index:
    """The index of a tar from its file. Raises ShardsRefused where it is none, or the tar has changed since."""
    try:
        now = path.stat()
        with np.load(place, allow_pickle=False) as file:
            if int(file["version"]) != VERSION:
                raise ValueError(f"version {file['version']}")
            size, changed = (int(number) for number in file["of"])
            index = Index(
                file["keys"], file["offsets"], file["sizes"], file["labels"],
                tuple(json.loads(file["texts"].tobytes())), size, changed,
            )  # fmt: skip
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ShardsRefused(f"The index of {path.name} cannot be read ({error}).") from error
    if (index.bytes, index.changed) != (now.st_size, now.st_mtime_ns):
        raise ShardsRefused(f"The shard {path.name} was changed since it was looked through.")
    return index


def class_numbers(index: Index, name: str, classes: list[str]) -> NDArray[np.int32]:
    """The label of every sample as a number of `classes`. A whole number is an index, anything else a name.

    Raises ShardsRefused naming the first sample without a label, or with one that is none of the classes.
    """
    known = {text: number for number, text in enumerate(classes)}
    table = np.array([_number(text, known) for text in index.texts] + [NO_LABEL], np.int32)
    numbers = table[index.labels]  # −1, no label, finds the last
    wrong = np.flatnonzero(numbers < 0)
    if wrong.size:
        key, code = index.key(int(wrong[0])), int(index.labels[wrong[0]])
        if code == NO_LABEL:
            raise ShardsRefused(f"The sample {key} of {name} has no label (.cls or .json).")
        raise ShardsRefused(
            f"The sample {key} of {name} has the label “{index.texts[code]}”, none of the {len(classes)} classes."
        )
    return numbers


def _number(text: str, known: dict[str, int]) -> int:
    if text.isascii() and text.isdigit():
        return int(text) if int(text) < len(known) else NO_LABEL
    return known.get(text, NO_LABEL)
