"""A file that is written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes `path` when the block ends well; after an error nothing of it is left.

    The file lies beside its place, is flushed to the disk and renamed, so that a reader never sees half of it and an
    older file survives a full disk. Folders are made. Raises OSError where the disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def order_header(path: Path) -> None:
    """Sort what a safetensors file says of itself: the library writes it in an order of chance, and equal contents
    shall be equal files. Raises OSError."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > length:
            raise OSError(f"{path.name}: the header cannot be put in order.")
        file.seek(8)
        file.write(text.ljust(length))
