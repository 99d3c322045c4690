"""A step whose batch is computed part after part: what the loss of a part has to know of the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """One part of the batch that this process has in a step.

    share: its images ÷ the images that this process has in the step; the part's gradient counts so much.
    counts: by name, what is counted in the whole step (the mean over processes); only what was known before it.
    images: of the whole step, in all processes.
    """

    share: float
    counts: Mapping[str, Tensor]
    images: int


_CURRENT: list[Share] = []


@contextmanager
def part_of_step(share: Share) -> Iterator[None]:
    """Losses inside the block are those of one part of a step."""
    _CURRENT.append(share)
    try:
        yield
    finally:
        _CURRENT.pop()


def known_count(name: str) -> Tensor | None:
    """The denominator by which the parts' sums add up to the mean over the whole step; None where it is not known."""
    if not _CURRENT or name not in _CURRENT[-1].counts:
        return None
    return _CURRENT[-1].counts[name] * _CURRENT[-1].share


def images_of_step(count: int, like: Tensor) -> Tensor:
    """How many images the whole step has: `count` here, with those of other parts and processes, on `like`'s device.

    Every process must call it.
    """
    if _CURRENT:
        return like.new_tensor(float(_CURRENT[-1].images))
    total = like.new_tensor(float(count))
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(total)
    return total
