"""Collages of a batch's own images: one image in a quadrant, images of other classes in the rest (definitions §3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor

_LARGEST = 2**63 - 1
# SplitMix64's constants as signed 64-bit numbers: integers wrap alike on every device.
_STEP, _FIRST, _SECOND = -7046029254386353131, -4658895280553007687, -7723592293110705685


@dataclass(frozen=True)
class Collages:
    """rows (n,): the images that have a collage, as positions in the batch. quadrants (n,): where each lies,
    0 to 3, row q // 2, column q % 2. sources (n, 4): which image of the batch fills each quadrant.
    """

    rows: Tensor
    quadrants: Tensor
    sources: Tensor


def plan_collages(
    labels: Tensor, ids: Sequence[str], *, seed: int, step: int, targets: Tensor | None = None
) -> Collages:
    """Who lies where, on the labels' device: labels (B,), ids B names; targets (B, K) where images have several labels.

    The distractors of an image are images of other classes (with targets: that do not have the class of its label),
    three different ones where the batch has three. An image is left out where the batch has none. Chance follows from
    (seed, step, name) alone: where an image lies does not depend on the others, and the same images in another order
    give the same collages.
    Raises ValueError where names and labels differ in number.
    """
    if len(ids) != len(labels):
        raise ValueError(f"{len(labels)} images need as many names, not {len(ids)}.")
    bits = [
        int.from_bytes(blake2b(f"{seed}/{step}/{name}".encode(), digest_size=8).digest(), "little", signed=True)
        for name in ids
    ]
    keys = torch.tensor(bits, dtype=torch.int64).to(labels.device)
    other = labels[:, None] != labels[None, :] if targets is None else targets.T[labels] == 0
    count = other.sum(dim=1)
    rows = (count > 0).nonzero()[:, 0]
    if not len(rows):
        return Collages(rows, rows, rows[:, None].expand(0, 4))
    # Each image sorts the others by a number of its own for each pair.
    order = _mixed(_mixed(keys)[:, None] + keys[None, :])[rows]
    order = order.masked_fill(~other[rows], _LARGEST)
    nearest = order.topk(min(3, len(labels)), dim=1, largest=False).indices
    turns = torch.arange(3, device=labels.device)[None, :] % count[rows, None].clamp(max=3)
    chosen = nearest.gather(1, turns)
    quadrants = keys[rows] & 3
    return Collages(rows, quadrants, _arranged(rows, quadrants, chosen))


def alone(row: int, device: torch.device) -> Collages:
    """One image in all four quadrants: a stand-in where a process has no collage but must make a pass."""
    rows = torch.tensor([row], device=device)
    return Collages(rows, torch.zeros_like(rows), rows[:, None].expand(1, 4))


def tile(images: Tensor, sources: Tensor) -> Tensor:
    """images (B, C, H, W), sources (n, 4) → (n, C, 2H, 2W), pixels as they are, in the images' memory layout."""
    height, width = images.shape[2:]
    layout = torch.contiguous_format
    if images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous():
        layout = torch.channels_last
    result = torch.empty(
        (len(sources), images.shape[1], 2 * height, 2 * width),
        dtype=images.dtype, device=images.device, memory_format=layout,
    )  # fmt: skip
    for quadrant in range(4):
        top, left = quadrant // 2 * height, quadrant % 2 * width
        result[:, :, top : top + height, left : left + width] = images[sources[:, quadrant]]
    return result


def place(maps: Tensor, quadrants: Tensor) -> Tensor:
    """maps (n, h, w) each in its quadrant of (n, 2h, 2w), zero elsewhere. Differentiable."""
    here = torch.arange(4, device=maps.device)[None, :] == quadrants[:, None]
    # (n, rows, h, columns, w); chosen by `where`, so that a map that is not finite stays in its own quadrant.
    spread = torch.where(here.view(-1, 2, 1, 2, 1), maps[:, None, :, None, :], maps.new_zeros(()))
    return spread.reshape(len(maps), 2 * maps.shape[1], 2 * maps.shape[2])


def _arranged(rows: Tensor, quadrants: Tensor, chosen: Tensor) -> Tensor:
    """(n, 4): the image in its quadrant, the three others in the rest, from the top left."""
    places = torch.arange(4, device=rows.device)[None, :]
    turn = (places - (places > quadrants[:, None]).long()).clamp(max=2)
    return torch.where(places == quadrants[:, None], rows[:, None], chosen.gather(1, turn))


def _mixed(bits: Tensor) -> Tensor:
    """Well mixed 64 bits of 64 bits (SplitMix64; Steele, Lea & Flood 2014): int64 → int64."""
    bits = bits + _STEP
    bits = (bits ^ _shifted(bits, 30)) * _FIRST
    bits = (bits ^ _shifted(bits, 27)) * _SECOND
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, places: int) -> Tensor:
    """To the right with zeros from the left; torch's own shift repeats the sign."""
    return (bits >> places) & ((1 << (64 - places)) - 1)
