"""Who may write into a gallery's folder: one process at a time, whichever room it comes from. Torch-free."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "lock"
POLL_SECONDS = 0.2


class GalleryBusy(RuntimeError):
    """Another process writes into the folder, and nobody wanted to wait any longer."""


@contextmanager
def held(folder: Path, *, goes_on: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Hold a folder (made where it is missing) inside the block, once whoever has it lets go; a process that dies lets
    go too.

    goes_on: asked every 0.2 s while another process has it. Raises GalleryBusy when it says no.
    """
    handle = _taken(folder, goes_on)
    try:
        yield
    finally:
        os.close(handle)  # closing lets go


def _taken(folder: Path, goes_on: Callable[[], bool]) -> int:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:  # deleted between the two lines
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have deleted the folder, and this file with it.
            if os.path.samestat(os.fstat(handle), os.stat(folder / LOCK)):
                return handle
        except BlockingIOError:
            if not goes_on():
                os.close(handle)
                raise GalleryBusy(f"The gallery {folder.name} is being written by another process.") from None
            time.sleep(POLL_SECONDS)
        except FileNotFoundError:
            pass
        os.close(handle)
