"""Checkpoints: everything a run needs to go on as if nothing had happened, in one file that is whole or
absent.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from mlcore.training.errors import JobError

NAME = "checkpoint.pt"
VERSION = 1


def save(state: dict[str, Any], folder: Path) -> Path:
    """Write `state` as the folder's checkpoint; the one before it stays until the new one is safe on the
    disk.

    Raises OSError where the disk refuses (full, read-only); the older checkpoint is then untouched and
    nothing of the new one is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    handle, temporary = tempfile.mkstemp(prefix=f".{NAME}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as stream:
            _write({"checkpoint_version": VERSION, **state}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        _sync_folder(folder)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


def _write(state: dict[str, Any], stream: Any) -> None:
    try:
        torch.save(state, stream)
    except RuntimeError as error:
        # torch's writer hides the operating system's reason (a full disk) behind its own.
        cause = error.__context__
        raise (cause if isinstance(cause, OSError) else OSError(f"the checkpoint was cut short ({error})")) from None


def _sync_folder(folder: Path) -> None:
    # Without it a power cut may forget the rename. Not every file system allows it; the file itself is safe.
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def load(where: Path) -> dict[str, Any]:
    """Read a checkpoint, given the file or its folder. Raises JobError where it is absent, damaged or
    foreign.
    """
    path = where / NAME if where.is_dir() else where
    if not path.is_file():
        raise JobError(f"There is no checkpoint at {path}.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails its reader in any way it likes
        raise JobError(f"The checkpoint {path.name} is damaged and cannot be read.") from error
    if not isinstance(state, dict) or state.get("checkpoint_version") != VERSION:
        raise JobError(f"{path.name} is not a checkpoint that this version can read.")
    return state
