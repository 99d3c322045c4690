"""Maps on their way to the disk: collected by method, written as whole files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mlcore.attribution.files import written_whole
from mlcore.attribution.maps import status
from mlcore.training.errors import JobError
from mlcore.training.events import Reporter

SHARD_BYTES = 16 << 20  # maps of every pixel fill a shard before it has 512, which pages read whole
SHARD_MAPS = 512
SHARD_NAME = re.compile(r"explanations-(\d+)\.npz")


class Numbers:
    """The numbers of a folder's shards: they go on after those that lie there already."""

    def __init__(self, folder: Path) -> None:
        found = [SHARD_NAME.fullmatch(path.name) for path in folder.iterdir()]
        self._next = max((int(match[1]) for match in found if match), default=-1) + 1

    def take(self) -> int:
        """The next free one."""
        self._next += 1
        return self._next - 1


class Shards:
    """Collects maps of one method and writes them, at most 512 of one size a file."""

    def __init__(self, folder: Path, reporter: Reporter, numbers: Numbers, method: str) -> None:
        self.folder, self.reporter, self.numbers, self.method = folder, reporter, numbers, method
        self._maps: list[NDArray[np.float32]] = []
        self._rows: list[dict[str, Any]] = []
        self.count = 0
        self.statuses: dict[str, int] = {}

    def add(self, ids: list[str], targets: list[int], maps: Tensor) -> None:
        """Maps (B, h, w) of images for target classes; full shards are written at once."""
        for name, target, heat, word in zip(ids, targets, maps.numpy(), status(maps), strict=True):
            if self._maps and self._maps[0].shape != heat.shape:
                self.flush()
            self._rows.append(
                {
                    "image": name,
                    "index": len(self._maps),
                    "target": target,
                    "height": heat.shape[0],
                    "width": heat.shape[1],
                    "maximum": float(heat.max()),
                    "status": word,
                }
            )
            self._maps.append(heat)
            self.count += 1
            self.statuses[word] = self.statuses.get(word, 0) + 1
            if len(self._maps) == SHARD_MAPS or len(self._maps) * heat.nbytes >= SHARD_BYTES:
                self.flush()

    def flush(self) -> None:
        """Write what waits as one shard, whole or not at all, and report it. Raises JobError on a full
        disk.
        """
        if not self._maps:
            return
        path = self.folder / f"explanations-{self.numbers.take():05d}.npz"
        try:
            with written_whole(path) as temporary, temporary.open("wb") as stream:
                np.savez_compressed(stream, maps=np.stack(self._maps))
        except OSError as error:
            raise JobError(f"The maps could not be written ({error.strerror or error}).") from error
        self.reporter.send("shard", method=self.method, path=path.name, rows=self._rows)
        self._maps, self._rows = [], []
