"""What maps are compared with: where the object is, and what people drew, both cut to what the classifier saw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from mlcore.training.errors import JobError
from mlcore.training.job import Item
from mlcore.training.pictures import Geometry, read_map, reference_at_input, reference_in_window, size_of


class References:
    """Masks of one batch, each read when it is first asked for."""

    def __init__(self, items: list[Item], geometry: Geometry) -> None:
        self.items, self.geometry = items, geometry
        self._read: dict[tuple[str, bool], Tensor | None] = {}

    def mask(self, item: Item, *, at_input: bool) -> Tensor | None:
        """The object's mask (H, W) bool: at the picture's own scale, or at the classifier's input size."""
        key = (item.id, at_input)
        if key not in self._read:
            read = reference_at_input if at_input else reference_in_window
            found = read(item, self.geometry)
            self._read[key] = None if found is None else torch.from_numpy(np.ascontiguousarray(found))
        return self._read[key]


def person_of(path: str, item: Item, geometry: Geometry) -> Tensor:
    """One person's map of an image, what the classifier saw of it: (H, W) float32, 1 important, 0 not, NaN unknown."""
    size = size_of(item.path)
    drawn = read_map(path)
    if drawn.shape != (size[1], size[0]):
        raise JobError(
            f"A person's map of {item.id} is {drawn.shape[1]}×{drawn.shape[0]}, its picture {size[0]}×{size[1]}."
        )
    left, top, right, bottom = geometry.window(size)
    seen = drawn[top:bottom, left:right]
    return torch.from_numpy(np.where(seen == 0, np.nan, seen == 1).astype(np.float32))


class PeopleMaps(Mapping[str, list[Tensor]]):
    """Image → its people's maps, read when they are asked for: a thousand drawings do not lie in memory at once."""

    def __init__(self, items: list[Item], people: Mapping[str, list[str]], geometry: Geometry) -> None:
        self._items = {item.id: item for item in items if people.get(item.id)}
        self._people, self._geometry = people, geometry

    def __getitem__(self, image: str) -> list[Tensor]:
        item = self._items[image]
        return [person_of(path, item, self._geometry) for path in self._people[image]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)
