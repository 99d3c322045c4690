"""People's maps as metrics read them: what is known, at which size, and how maps are made smaller by area."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LONGEST = 224
HALF_KNOWN = 0.5

People = Tensor | Sequence[Tensor | Sequence[Tensor] | None]


@dataclass(frozen=True)
class Person:
    """A person's map: values (h, w) float32 in [0, 1], 0 where unknown; known (h, w) bool; whether it is a mask."""

    values: Tensor
    known: Tensor
    is_mask: bool


def read_person(given: Tensor, device: torch.device | None = None) -> Person:
    """A person's map (H, W) at most `LONGEST` pixels on its longer side, reduced by area.

    given: numbers in [0, 1], NaN where nobody said; or a mask of any other type, important where > 0. A reduced cell
    is known where at least half of its area is, and has the mean of that part.
    Raises ValueError where a number lies outside [0, 1].
    """
    if given.dim() != 2 or not given.numel():
        raise ValueError(f"A person's map comes as (H, W), not as {tuple(given.shape)}.")
    given = given.detach().to(device)
    if given.is_floating_point():
        known = ~given.isnan()
        values = given.nan_to_num(0.0).float()
        if bool(((values < 0) | (values > 1) | given.isinf()).any()):
            raise ValueError("A person's map has values from 0 to 1, and NaN where nothing is known.")
    else:
        known, values = torch.ones_like(given, dtype=torch.bool), (given > 0).float()
    is_mask = bool(((values == 0) | (values == 1)).all())
    height, width = given.shape
    if max(height, width) > LONGEST:
        shrink = LONGEST / max(height, width)
        size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
        means = reduce_by_area(values.double()[None], size)[0]
        if bool(known.all()):
            known = torch.ones_like(means, dtype=torch.bool)
        else:
            share = reduce_by_area(known.double()[None], size)[0]
            means, known = means / share.clamp(min=1e-12), share >= HALF_KNOWN
        values = (means.clamp(0, 1) * known).float()
    return Person(values, known, is_mask)


def people_of(people: Tensor | Sequence[Tensor] | None, device: torch.device | None = None) -> list[Person]:
    """The people of one image: one map (H, W), several (P, H, W) or a sequence of maps; None: nobody."""
    if people is None:
        return []
    if isinstance(people, Tensor) and people.dim() == 2:
        return [read_person(people, device)]
    return [read_person(one, device) for one in people]


def reduce_by_area(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Mean over the area of each new cell: (B, H, W) → (B, *size). Exact where sizes do not divide; any size.

    Pixels are taken as constant squares, so that the mean of the whole map stays.
    """
    rows = _shares(maps.shape[1], size[0], maps)
    columns = _shares(maps.shape[2], size[1], maps)
    return rows @ maps @ columns.T


def same_size(people: Sequence[Person], at_once: int) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """People's maps stacked where they share a size, `at_once` pixels at most: (which, values, known)."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for number, person in enumerate(people):
        sizes.setdefault(tuple(person.values.shape), []).append(number)
    for (height, width), same in sizes.items():
        step = max(1, at_once // (height * width))
        for start in range(0, len(same), step):
            part = same[start : start + step]
            yield (
                part,
                torch.stack([people[number].values for number in part]),
                torch.stack([people[number].known for number in part]),
            )


def _shares(before: int, after: int, like: Tensor) -> Tensor:
    """(after, before): what share of each new cell every old one covers; rows sum to 1."""
    edges = torch.arange(before + 1, dtype=torch.float64) / before
    cells = torch.arange(after + 1, dtype=torch.float64) / after
    low = torch.maximum(edges[None, :-1], cells[:-1, None])
    high = torch.minimum(edges[None, 1:], cells[1:, None])
    return ((high - low).clamp(min=0) * after).to(dtype=like.dtype, device=like.device)
