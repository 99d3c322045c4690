"""A file inside a tar, read by its place and length without going through the tar."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path

# More than a window of shards has; a process may have some hundred files open.
OPEN = 32


class TarMember(str):
    """A path that leads into a tar: "folder/shard.tar/key", and where its bytes lie."""

    tar: str
    offset: int
    size: int

    __slots__ = ("offset", "size", "tar")

    def __new__(cls, tar: str | Path, key: str, offset: int, size: int) -> TarMember:
        made = super().__new__(cls, f"{tar}/{key}")
        made.tar, made.offset, made.size = str(tar), offset, size
        return made

    def __reduce__(self) -> tuple[type[TarMember], tuple[str, str, int, int]]:
        return TarMember, (self.tar, self.key, self.offset, self.size)

    @property
    def key(self) -> str:
        """The name of its sample."""
        return self[len(self.tar) + 1 :]

    def read(self) -> bytes:
        """Its bytes. Raises OSError where the tar is gone or ends before."""
        content = _files.read(self.tar, self.offset, self.size)
        if len(content) != self.size:
            raise OSError(f"{Path(self.tar).name} ends within it")
        return content


class _Files:
    """Open tars, the least recently used closed first. Reading says where: threads and forked processes share them."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: str, offset: int, size: int) -> bytes:
        with self._lock:  # so that no other thread closes it
            descriptor = self._open.get(path)
            if descriptor is None:
                descriptor = self._open[path] = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
                if len(self._open) > OPEN:
                    os.close(self._open.popitem(last=False)[1])
            self._open.move_to_end(path)
            return os.pread(descriptor, size, offset)


_files = _Files()
