"""Key-point pairs as a correspondence network learns from them: pictures read, seen by the classifier once, points in
−1…1 of what it sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mlcore.correspondence.chm.learning import PairBatch
from mlcore.correspondence.chm.pairs import KeyPointPair
from mlcore.correspondence.features import describe
from mlcore.training.data import to_input
from mlcore.training.job import Item
from mlcore.training.keyed import shuffled
from mlcore.training.pictures import Geometry, load_frame, size_of

READ_AT_ONCE = 16


class KeyPoints:
    """Pairs with the features of their pictures by a stage of a classifier, which are kept (half precision).

    size: pixels along an edge; a picture is squashed to a square, so that every key point is seen. Raises JobError for
    a picture that cannot be read, ValueError for a key point outside of its picture.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        pairs: Sequence[KeyPointPair],
        *,
        size: int = 240,
        normalise: str = "imagenet",
        seed: int = 0,
    ) -> None:
        self.pairs, self.seed = list(pairs), seed
        files = list(dict.fromkeys(file for pair in pairs for file in (pair.source, pair.target)))
        self._sizes = {file: size_of(file) for file in files}
        self._points = [self._in_unit(pair) for pair in self.pairs]
        self._features: dict[Path, Tensor] = {}
        geometry = Geometry(size, "squash")
        device = next(model.parameters(), torch.zeros(())).device
        for start in range(0, len(files), READ_AT_ONCE):
            some = files[start : start + READ_AT_ONCE]
            frames = [load_frame(Item(id=str(file), path=str(file)), geometry, supervision="none") for file in some]
            images = to_input(torch.stack([torch.tensor(frame.image) for frame in frames]).to(device), normalise)
            self._features |= dict(zip(some, describe(model, layer, images).half(), strict=True))

    def __len__(self) -> int:
        return len(self.pairs)

    def epoch(self, number: int, batch_size: int = 20) -> Iterator[PairBatch]:
        """All pairs in the order of this epoch, which follows from the seed."""
        names = [f"{pair.source}/{pair.target}/{place}" for place, pair in enumerate(self.pairs)]
        return self._batches(shuffled(names, self.seed, number), batch_size)

    def in_order(self, batch_size: int = 20) -> list[PairBatch]:
        """All pairs as they stand, to measure with."""
        return list(self._batches(list(range(len(self.pairs))), batch_size))

    def _batches(self, order: Sequence[int], batch_size: int) -> Iterator[PairBatch]:
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            most = max(len(self.pairs[place].points) for place in places)
            points, true = torch.zeros(len(places), most, 2), torch.zeros(len(places), most, 2)
            there = torch.zeros(len(places), most, dtype=torch.bool)
            extent = torch.empty(len(places))
            for row, place in enumerate(places):
                ours, theirs, extent[row] = self._points[place]
                points[row, : len(ours)], true[row, : len(ours)], there[row, : len(ours)] = ours, theirs, True
            source = torch.stack([self._features[self.pairs[place].source] for place in places]).float()
            target = torch.stack([self._features[self.pairs[place].target] for place in places]).float()
            yield PairBatch(source, target, *(one.to(source.device) for one in (points, true, there, extent)))

    def _in_unit(self, pair: KeyPointPair) -> tuple[Tensor, Tensor, float]:
        """Points of both pictures in −1…1, and the longer side of the object (or picture) in that unit."""
        found = []
        for file, points in ((pair.source, pair.points), (pair.target, pair.true)):
            side = torch.tensor(self._sizes[file], dtype=torch.float32)
            placed = torch.tensor(points, dtype=torch.float32) / side * 2 - 1
            if bool((placed.abs() > 1).any()):
                raise ValueError(
                    f"A key point lies outside of {file.name}, which has {int(side[0])} × {int(side[1])} pixels."
                )
            found.append(placed)
        extent = 2.0
        if pair.box is not None:
            width, height = self._sizes[pair.target]
            extent = max((pair.box[2] - pair.box[0]) / width, (pair.box[3] - pair.box[1]) / height) * 2
        return found[0], found[1], extent
