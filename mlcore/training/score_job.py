"""What a score job judges: sets of maps as they arrive, and their maps as they are read from shards."""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlcore.training.errors import JobError
from mlcore.training.job import ClassifierSpec, Job, classifier_spec

SHARDS_KEPT = 2  # of each set: images come in the order in which they were explained, nearly always

# How pictures become the classifier's input, and which classifier: sets that agree share decoding and model.
Group = tuple[tuple[tuple[str, Any], ...], ClassifierSpec | None]


@dataclass
class MapSet:
    """One set of maps. `maps`: image id → (number of its shard, index in it, class that is explained).

    comparable: the classifier counts classes as the images' labels do. class_specific: the map is of one class.
    """

    id: str
    name: str
    classifier: ClassifierSpec | None
    comparable: bool
    class_specific: bool
    transform: dict[str, Any]
    method: str
    options: dict[str, Any]
    shards: tuple[str, ...]
    maps: dict[str, tuple[int, int, int]]
    _open: OrderedDict[int, NDArray[np.float32]] = field(default_factory=OrderedDict, repr=False)

    @property
    def group(self) -> Group:
        """Equal for sets whose pictures reach the same classifier in the same way."""
        return tuple(sorted(self.transform.items())), self.classifier

    def target(self, image: str) -> int:
        """The class that the image's map explains."""
        return self.maps[image][2]

    def read(self, images: Sequence[str]) -> list[Tensor]:
        """Maps (h, w) float32 of images that have one. Raises JobError naming a shard that cannot be read."""
        return [torch.from_numpy(np.array(self._map(*self.maps[image][:2]))) for image in images]

    def _map(self, shard: int, index: int) -> NDArray[np.float32]:
        if shard not in self._open:
            self._open[shard] = _load(self.shards[shard])
            if len(self._open) > SHARDS_KEPT:
                self._open.popitem(last=False)
        self._open.move_to_end(shard)
        maps = self._open[shard]
        if index >= len(maps):
            raise JobError(f"The map {index} is not in its file {Path(self.shards[shard]).name}.")
        return maps[index]


def _load(path: str) -> NDArray[np.float32]:
    name = Path(path).name
    try:
        with np.load(path, allow_pickle=False) as arrays:
            maps = arrays["maps"]
    except FileNotFoundError as error:
        raise JobError(f"The maps' file {name} does not exist any more.") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise JobError(f"The maps' file {name} is damaged ({error}).") from error
    if maps.ndim != 3:
        raise JobError(f"The maps' file {name} is damaged (its array has {maps.ndim} dimensions, not 3).")
    return maps.astype(np.float32, copy=False)


def sets_of(job: Job) -> list[MapSet]:
    """The job's sets of maps. Raises JobError where something is missing."""
    return [_set(raw) for raw in job.sets]


def _set(raw: Mapping[str, Any]) -> MapSet:
    try:
        return MapSet(
            id=str(raw["id"]),
            name=str(raw.get("name") or raw["id"]),
            classifier=classifier_spec(raw["classifier"]) if raw.get("classifier") else None,
            comparable=bool(raw.get("comparable", True)),
            class_specific=bool(raw.get("class_specific", True)),
            transform=dict(raw.get("transform") or {}),
            method=str(raw["method"]),
            options=dict(raw.get("options") or {}),
            shards=tuple(str(path) for path in raw["shards"]),
            maps={str(image): (int(shard), int(at), int(to)) for image, (shard, at, to) in raw["maps"].items()},
        )
    except KeyError as error:
        raise JobError(f"A set of maps of the job lacks “{error.args[0]}”.") from error
    except (TypeError, ValueError) as error:
        raise JobError(f"A set of maps of the job is malformed: {error}.") from error


def grouped(sets: Sequence[MapSet]) -> list[list[MapSet]]:
    """Sets that share classifier and transform stand together, in the order of their first."""
    groups: dict[Group, list[MapSet]] = {}
    for one in sets:
        groups.setdefault(one.group, []).append(one)
    return list(groups.values())
