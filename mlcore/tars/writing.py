"""Samples into tars of a given number, with an index beside each, as WebDataset reads them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mlcore.tars.index import beside, read, save


@dataclass(frozen=True)
class Written:
    """What was written: shards and samples."""

    shards: tuple[Path, ...]
    samples: int


def write(
    samples: Iterable[tuple[str, dict[str, bytes]]], folder: Path, *, name: str = "shard", size: int = 10_000
) -> Written:
    """Samples (key, kind → content) in their order into folder/name-000000.tar, …, `size` in each.

    Equal samples give equal bytes: no time, owner or mode of a file comes in. A tar appears under its name when it is
    whole. Raises FileExistsError where one is there already, OSError where the disk refuses, ValueError for a key that
    cannot be one.
    """
    if size < 1:
        raise ValueError(f"A shard holds one sample or more, not {size}.")
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[Path] = []
    count = 0
    tar: tarfile.TarFile | None = None
    try:
        for key, files in samples:
            if not key or "." in key.rpartition("/")[2] or key.startswith(("/", ".")):
                raise ValueError(f"“{key}” cannot be the key of a sample: it must not be empty or hold a dot.")
            if tar is None:
                target = folder / f"{name}-{len(shards):06d}.tar"
                if target.exists():
                    raise FileExistsError(f"{target.name} is there already.")
                tar = tarfile.open(_draft(target), "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115  (closed by _finish)
                shards.append(target)
            for kind, content in files.items():
                member = tarfile.TarInfo(f"{key}.{kind}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            count += 1
            if count % size == 0:
                _finish(tar, shards[-1])
                tar = None
        if tar is not None:
            _finish(tar, shards[-1])
    except BaseException:
        if tar is not None:
            tar.close()
        if shards:
            _draft(shards[-1]).unlink(missing_ok=True)
        raise
    return Written(tuple(shards), count)


def _draft(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def _finish(tar: tarfile.TarFile, target: Path) -> None:
    tar.close()
    _draft(target).replace(target)
    save(read(target), beside(target))
