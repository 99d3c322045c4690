"""Maps out of their shards: an .npz with the array “maps” (n, h, w), read without torch and kept for a while."""

from __future__ import annotations

import os
import threading
import zipfile
from collections import OrderedDict

import numpy as np
from django.core.files.storage import default_storage
from numpy.typing import NDArray

from mlcore.models import Explanation

# All processes of the web hold a cache of their own; Grad-CAM's shards of 512 maps take 0.1 MB each.
BUDGET = 32 * 1024 * 1024
Key = tuple[str, int, int, int]  # file, time of its last change, size, and which map; −1: all of them


class MapUnavailable(Exception):
    """There is no map, or its file is missing or damaged; the text is a sentence."""


class _Cache:
    """Arrays by file and change time, the least recently used forgotten first, at most `budget` bytes."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.held: OrderedDict[Key, NDArray[np.float32]] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, key: Key) -> NDArray[np.float32] | None:
        with self.lock:
            found = self.held.get(key)
            if found is not None:
                self.held.move_to_end(key)
            return found

    def put(self, key: Key, array: NDArray[np.float32]) -> None:
        with self.lock:
            self.held[key] = array
            while sum(one.nbytes for one in self.held.values()) > self.budget:
                self.held.popitem(last=False)


_cache = _Cache(BUDGET)


def load_map(explanation: Explanation) -> NDArray[np.float32]:
    """The map as the method made it: (height, width) float32. Raises MapUnavailable."""
    if explanation.payload != Explanation.Payload.MAP:
        raise MapUnavailable(f"This explanation shows {explanation.get_payload_display()}; it holds no map.")
    name, index = explanation.shard, explanation.index
    try:
        path = default_storage.path(name)
        stat = os.stat(path)
        key = (path, stat.st_mtime_ns, stat.st_size, -1)
        maps = _cache.get(key)
        if maps is None:
            alone = (*key[:3], index)
            kept = _cache.get(alone)
            if kept is not None:
                return kept.copy()
            with zipfile.ZipFile(path) as archive:
                if archive.getinfo("maps.npy").file_size > BUDGET:
                    # Everything before it had to be unpacked: the next layer of the same map asks again in a second.
                    one = _one(archive, index)
                    _cache.put(alone, one)
                    return one.copy()
            with np.load(path, allow_pickle=False) as arrays:
                maps = arrays["maps"].astype(np.float32, copy=False)
            _cache.put(key, maps)
        if maps.ndim != 3 or index >= len(maps):
            raise MapUnavailable(f"The map {index} is not in its file {os.path.basename(name)}.")
        return maps[index].copy()
    except FileNotFoundError as error:
        raise MapUnavailable(f"The maps' file {os.path.basename(name)} is missing.") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise MapUnavailable(f"The maps' file {os.path.basename(name)} is damaged ({error}).") from error


def _one(archive: zipfile.ZipFile, index: int) -> NDArray[np.float32]:
    """A single map of a shard that is too large to hold: everything before it is passed over."""
    with archive.open("maps.npy") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_column, dtype = read(stream)
        if len(shape) != 3 or by_column or dtype.hasobject:
            raise ValueError("not an array of maps")
        if index >= shape[0]:
            raise MapUnavailable(f"The map {index} is not in its file.")
        size = shape[1] * shape[2] * dtype.itemsize
        stream.seek(stream.tell() + index * size)
        values = np.frombuffer(stream.read(size), dtype=dtype)
        return values.reshape(shape[1:]).astype(np.float32)
