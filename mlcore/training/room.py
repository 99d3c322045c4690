"""How much memory a run may have: the device's, the container's, and what `HARMONY_MEMORY_LIMIT` allows."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch

from mlcore.training.errors import JobError

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
LIMIT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?")
MEMINFO, CGROUPS = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def room(device: torch.device, held: int, environment: Mapping[str, str] = os.environ) -> int | None:
    """Bytes that a run may use on its device, the `held` ones that it has there already among them; None: unknown.

    Processes of one machine share a CPU's memory in equal parts. Raises JobError where the limit is none.
    """
    found: int | None = None
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What the allocator keeps and nobody uses is ours as well.
        found = free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device) + held
    elif device.type == "cpu":
        free_here = free_memory()
        here = max(int(environment.get("LOCAL_WORLD_SIZE", "1")), 1)
        found = None if free_here is None else free_here // here + held
    limit = parsed(environment.get("HARMONY_MEMORY_LIMIT", ""))
    return min((size for size in (found, limit) if size is not None), default=None)


def parsed(text: str) -> int | None:
    """Bytes of "24GB", "500 MB" or "1000000"; None where nothing is said. Raises JobError."""
    if not text.strip():
        return None
    match = LIMIT.fullmatch(text.strip().upper())
    if match is None:
        raise JobError(f"HARMONY_MEMORY_LIMIT=“{text}” is no size: write 24GB, 500MB or a number of bytes.")
    return int(float(match[1]) * UNITS[match[2]])


def free_memory(meminfo: Path = MEMINFO, cgroups: Path = CGROUPS) -> int | None:
    """Bytes that this process could still take on the CPU: the machine's, and its container's if that has less."""
    sizes = [size for size in (_available(meminfo), *_left(cgroups)) if size is not None]
    return min(sizes, default=None)


def _available(meminfo: Path) -> int | None:
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _left(cgroups: Path) -> list[int | None]:
    """Of control groups, version 2 and version 1: limit less use, files that can be dropped from memory not counted."""
    return [
        _less(cgroups, "memory.max", "memory.current", "inactive_file"),
        _less(cgroups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ]


def _less(folder: Path, most: str, used: str, droppable: str) -> int | None:
    try:
        limit = (folder / most).read_text().strip()
        if limit == "max":
            return None
        rows = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(int(limit) - int((folder / used).read_text()) + int(rows.get(droppable, 0)), 0)
    except (OSError, ValueError):
        return None
