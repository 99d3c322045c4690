"""The correspondence network: features of two pictures in, scores of all pairs of cells out (definitions §6)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.layers import canonical
from mlcore.attribution.weight_files import fill, read_module, save_module
from mlcore.correspondence.chm.hough import Hough4d, Hough6d
from mlcore.correspondence.chm.stage import SIDE, SIZE, default_stage, probe

FORMAT = "harmony correspondence 1"
RELATIVE = (0.5, 1.0, 2.0)  # areas of the scales
WIDTH = 256
TINY = 1e-30
NEIGHBOURS = 0.1  # of the usual size of a convolution's first weights


def sides(side: int) -> tuple[int, ...]:
    """Cells along an edge at each scale: 11, 15 and 21 of 15."""
    return tuple(round(side * math.sqrt(area)) for area in RELATIVE)


class CHMNetwork(nn.Module):
    """Convolutional Hough matching over one stage of a classifier, which is no part of it.

    layer: the stage. channels: of its features. width: channels after each scale's own 3 × 3 convolution; published:
    256. side: cells along an edge of the middle scale; features of another size are resized to it. size: pixels along
    an edge of the pictures that it is trained on.
    """

    def __init__(self, layer: str, channels: int, *, width: int = WIDTH, side: int = SIDE, size: int = SIZE) -> None:
        super().__init__()
        self.layer, self.channels, self.width = canonical(layer), int(channels), int(width)
        self.side, self.size = int(side), int(size)
        if min(self.channels, self.width) < 1 or self.side < 3:
            raise ValueError("A correspondence network needs channels, and 3 cells or more along an edge.")
        self.sides = sides(self.side)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(self.channels, self.width, 3, padding=1, bias=False) for _ in self.sides
        )
        for convolution in self.convolutions:
            _begin(convolution)  # type: ignore[arg-type]
        self.hough6d = Hough6d()
        self.hough4d = Hough4d()

    @classmethod
    def for_model(
        cls, model: nn.Module, layer: str | None = None, *, width: int = WIDTH, side: int = SIDE, size: int = SIZE
    ) -> CHMNetwork:
        """An untrained network for a stage of this classifier; None or empty: `default_stage`. Raises ValueError."""
        layer = layer or default_stage(model, size)
        return cls(layer, probe(model, layer, size)[0], width=width, side=side, size=size)

    @property
    def settings(self) -> dict[str, Any]:
        """What the network is, beside its layer."""
        return {"channels": self.channels, "width": self.width, "side": self.side, "size": self.size}

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Features (B, C, h, w) of both: scores (B, 4·side², 4·side²) of source and target cells, by rows."""
        return self.match(self.embed(source), self.embed(target))

    def embed(self, features: Tensor) -> Tensor:
        """(B, C, h, w) → (B, 3, side², width): at each scale convolved, of length 1, resized to the middle scale.

        A cosine is linear in either cell once both are of length 1, so that resizing the cells is resizing the
        correlations. Raises ValueError where the features are another stage's.
        """
        if features.dim() != 4 or features.shape[1] != self.channels:
            raise ValueError(
                f"This correspondence network reads {self.channels} channels of layer “{self.layer}”, not features of "
                f"shape {tuple(features.shape)}: it belongs to another classifier."
            )
        found = []
        for side, convolution in zip(self.sides, self.convolutions, strict=True):
            cells = F.normalize(convolution(resized(features, side)), dim=1)
            found.append(resized(cells, self.side).flatten(2).transpose(1, 2))
        return torch.stack(found, dim=1)

    def match(self, source: Tensor, target: Tensor) -> Tensor:
        """Of `embed`'s (B, 3, side², width) the scores (B, 4·side², 4·side²)."""
        n = self.side
        cosines = (source.flatten(1, 2) @ target.flatten(1, 2).transpose(1, 2)).clamp(min=0)
        votes = cosines.view(-1, 3, n * n, 3, n * n).transpose(2, 3).reshape(-1, 3, 3, n, n, n, n)
        best = self.hough6d(votes).flatten(1, 2).amax(dim=1).sigmoid()  # the sigmoid keeps the order
        finer = self.hough4d(resized_pairs(best, 2 * n))
        return mutual(F.softplus(finer).view(-1, 4 * n * n, 4 * n * n))

    def save(self, path: str | Path) -> Path:
        """Write weights and what they fit as one safetensors file, whole or not at all. Raises OSError."""
        said = {"format": FORMAT, "layer": self.layer, "settings": json.dumps(self.settings, sort_keys=True)}
        return save_module(self, path, said, what="the correspondence network")

    @classmethod
    def load(cls, path: str | Path) -> CHMNetwork:
        """A network as `save` wrote it, on the CPU, in eval mode. Raises ValueError with one sentence."""
        path = Path(path)
        said, state = read_module(path, format=FORMAT, what="correspondence network")
        try:
            settings = {name: int(value) for name, value in json.loads(said["settings"]).items()}
            made = cls(said["layer"], settings.pop("channels"), **settings)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path.name}: what the file says of itself cannot be read ({error}).") from error
        fill(made, state, path)
        return made.eval()


def _begin(convolution: nn.Conv2d) -> None:
    """The features themselves, turned, and a little of their neighbours: cosines begin as those of the stage."""
    with torch.no_grad():
        turned = nn.init.orthogonal_(torch.empty(convolution.weight.shape[:2]))
        convolution.weight *= NEIGHBOURS
        convolution.weight[:, :, 1, 1] += turned


def resized(features: Tensor, side: int) -> Tensor:
    """(B, C, h, w) → (B, C, side, side), bilinear, corners on corners."""
    if features.shape[2:] == (side, side):
        return features
    return F.interpolate(features, (side, side), mode="bilinear", align_corners=True)


def resized_pairs(pairs: Tensor, side: int) -> Tensor:
    """(B, n, n, n, n) → (B, side, side, side, side), bilinear in both images, corners on corners."""
    n = pairs.shape[1]
    targets = resized(pairs.reshape(-1, n * n, n, n), side)
    sources = resized(targets.view(-1, n * n, side * side).transpose(1, 2).reshape(-1, side * side, n, n), side)
    return sources.view(-1, side * side, side * side).transpose(1, 2).reshape(-1, side, side, side, side)


def mutual(scores: Tensor) -> Tensor:
    """scores (B, S, T), none below 0: each × its share of the source cell's best × its share of the target cell's."""
    by_source = scores / scores.amax(dim=2, keepdim=True).clamp(min=TINY)
    by_target = scores / scores.amax(dim=1, keepdim=True).clamp(min=TINY)
    return scores * by_source * by_target
