"""Copies of a picture in which more and more pixels are another's, in one buffer for every batch.

A copy differs from the one a batch before it in few pixels. On a CPU only these are written, so that a series costs
about as much as `batch` pictures, however long it is; elsewhere one kernel writes the whole batch. On a CPU colours
stand together in memory (channels last), as convolutions and poolings like them there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Span = tuple[int, int, int]  # (series, first copy, end)


@dataclass(frozen=True)
class Exchange:
    """One picture's series of copies.

    before (C, H, W): the picture. after: the other one, of the same type, or what expands to it. order (H·W,) int64:
    the pixels' places in reading order, the first to be exchanged first. numbers: how many are, in each copy.
    """

    before: Tensor
    after: Tensor
    order: Tensor
    numbers: Sequence[int]


class Renewed:
    """Copies in a buffer of `size`, in which only pixels are written that change.

    What `write` gives holds until the next call. The classifier may write on it: everything is made anew then.
    """

    def __init__(self, series: Sequence[Exchange], size: int) -> None:
        """series: one or more, of pictures that share shape, type and device."""
        self.series = series
        before = series[0].before
        # Asked for by shape: of one colour, a picture that is made otherwise does not say how it lies.
        self.buffer = torch.empty((size, *before.shape), dtype=before.dtype, memory_format=torch.channels_last)
        self.rows = self.buffer.permute(0, 2, 3, 1).view(size, -1).unbind()
        self.colours = len(before)
        self.held = [(-1, 0)] * size  # which series' copy, and how many of its pixels are exchanged
        self.version = self.buffer._version
        self.begun = -1

    def write(self, spans: Sequence[Span]) -> Tensor:
        """The copies of spans, at most `size`: (n, C, H, W)."""
        if self.buffer._version != self.version:
            self.held = [(-1, 0)] * len(self.held)
        slot = 0
        for index, first, end in spans:
            if index != self.begun:
                self._begin(index)
            for number in self.series[index].numbers[first:end]:
                self._put(slot, index, number)
                slot += 1
        self.version = self.buffer._version
        return self.buffer[:slot]

    def _begin(self, index: int) -> None:
        """The picture, and the other one's values in the order in which they come with their places in a row."""
        one = self.series[index]
        colours = len(one.before)
        self.picture = _row(one.before)
        self.places = (one.order[:, None] * colours + torch.arange(colours)).flatten()
        if one.after.shape[1:] == (1, 1):
            self.coming = one.after.flatten().repeat(len(one.order))
        else:
            self.coming = _row(one.after.expand_as(one.before)).gather(0, self.places)
        self.begun = index

    def _put(self, slot: int, index: int, number: int) -> None:
        row, (held, already) = self.rows[slot], self.held[slot]
        if held != index or already > number:
            row.copy_(self.picture)
            already = 0
        if already < number:
            part = slice(already * self.colours, number * self.colours)
            row.scatter_(0, self.places[part], self.coming[part])
        self.held[slot] = (index, number)


def _row(picture: Tensor) -> Tensor:
    """(C, H, W) → (H·W·C,), a pixel's colours beside each other."""
    return picture.flatten(1).t().flatten()


class Whole:
    """As Renewed, every copy written whole: what an accelerator does at once."""

    def __init__(self, series: Sequence[Exchange], size: int) -> None:
        """series: one or more, of pictures that share shape, type and device."""
        self.series = series
        self.buffer = series[0].before.new_empty((size, *series[0].before.shape))
        self.begun = -1

    def write(self, spans: Sequence[Span]) -> Tensor:
        """The copies of spans, at most `size`: (n, C, H, W)."""
        slot = 0
        for index, first, end in spans:
            one = self.series[index]
            if index != self.begun:
                self._begin(index)
            exchanged = self.places < self.numbers[first:end]
            torch.where(exchanged, one.after, one.before, out=self.buffer[slot : slot + end - first])
            slot += end - first
        return self.buffer[:slot]

    def _begin(self, index: int) -> None:
        one = self.series[index]
        places = torch.empty_like(one.order)
        places[one.order] = torch.arange(len(places), device=places.device)
        self.places = places.view(one.before.shape[1:])
        self.numbers = torch.tensor(one.numbers, device=places.device)[:, None, None, None]
        self.begun = index


def writer(series: Sequence[Exchange], size: int) -> Renewed | Whole:
    """What suits the pictures' device."""
    return Renewed(series, size) if series[0].before.device.type == "cpu" else Whole(series, size)
