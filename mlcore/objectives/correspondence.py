"""Training a correspondence network as the objective of a run: pairs are pictures and their synthetic warps
(definitions §6).

Min & Cho, "Convolutional Hough Matching Networks", CVPR 2021.
"""

from __future__ import annotations

import zlib
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mlcore.correspondence.chm.learning import PairBatch, moved_and_distance, parameter_groups
from mlcore.correspondence.chm.network import WIDTH, CHMNetwork
from mlcore.correspondence.chm.pck import by_cosine, pck
from mlcore.correspondence.chm.warps import Warps
from mlcore.correspondence.features import describe
from mlcore.objectives.base import Loss, Objective, mean_over
from mlcore.objectives.batch import Batch

POINTS = 20


class CorrespondenceTraining(Objective):
    """The mean squared distance of transferred key points from where a warp has put them.

    Each picture of a batch is paired with a warp of itself, drawn from the batch's `chances`: the same seed, epoch and
    picture, the same warp; the looks at validation see the same ones each time. The classifier is asked for the stage
    alone, in eval mode, and stays as it is; the network beside it is trained, saved and kept.

    layer: the stage; empty: `default_stage`. width: channels of the network's convolutions. warp_strength: factor of
    all that a warp does. key_points: of each pair. network: one to go on training, which knows its layer and width.
    Raises ValueError with a sentence where layer or numbers do not fit.
    """

    mode: ClassVar[str] = "eval"
    score: ClassVar[str] = "pck"
    guarded: ClassVar[bool] = False

    def __init__(
        self,
        *,
        layer: str | None = None,
        width: int = WIDTH,
        warp_strength: float = 1.0,
        key_points: int = POINTS,
        image_size: int = 240,
        network: CHMNetwork | None = None,
    ) -> None:
        super().__init__()
        if warp_strength < 0 or key_points < 1:
            raise ValueError("Warps have a strength of 0 or more, and pairs 1 key point or more.")
        self.layer, self.width, self.size = layer, int(width), int(image_size)
        self.warp_strength, self.key_points = float(warp_strength), int(key_points)
        self.network = network

    def prepare(self, model: nn.Module) -> None:
        """Make the network for this classifier, on its device, unless there is one: weights by torch's generator."""
        if self.network is None:
            self.network = CHMNetwork.for_model(model, self.layer, width=self.width, size=self.size)
        parameter = next(model.parameters(), torch.zeros(()))
        self.network.to(parameter.device)

    def trained(self, model: nn.Module) -> nn.Module:
        """The network."""
        return self._made()

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """See `parameter_groups`."""
        return parameter_groups(self._made())

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The loss of one batch. Terms: distance, in pixels of the input, and pck, the share of key points within 0.1
        of the picture's side. There are no logits: nothing is classified."""
        network = self._made()
        pairs = self.pairs(model, batch)
        moved, squared = moved_and_distance(network, pairs)
        images = torch.tensor(float(len(batch)), device=squared.device)
        with torch.no_grad():
            pixels = (moved - pairs.true).square().sum(dim=2).sqrt().mean() * self.size / 2
            terms = {"distance": pixels, "pck": pck(moved, pairs.true).mean().to(pixels)}
        return Loss(mean_over(squared, images, "images"), terms, squared.new_zeros(len(batch), 1))

    def measure(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """PCK@0.1 of each picture and its warp, and the plain cosine matcher's of the same features: (B,) float64."""
        with torch.no_grad():
            pairs = self.pairs(model, batch)
            moved, _ = moved_and_distance(self._made(), pairs)
            plain = by_cosine(pairs.source, pairs.target, pairs.points)
            return {"pck": pck(moved, pairs.true), "pck_cosine": pck(plain, pairs.true)}

    def pairs(self, model: nn.Module, batch: Batch) -> PairBatch:
        """A batch's pictures as sources and their warps as targets."""
        chances = batch.chances or [zlib.crc32(name.encode()) for name in batch.ids]
        warps = Warps.drawn(chances, self.warp_strength, batch.images.device)
        points, true = warps.key_points(chances, self.key_points)
        images = torch.cat([batch.images, warps.apply(batch.images)])
        features = describe(model, self._made().layer, images)
        source, target = features.chunk(2)
        return PairBatch.whole(source, target, points, true)

    def _made(self) -> CHMNetwork:
        if self.network is None:
            raise ValueError("The correspondence network is made by `prepare`.")
        return self.network
