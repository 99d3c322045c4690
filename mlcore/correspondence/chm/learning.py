"""How a correspondence network learns from pairs of pictures with key points, whatever made the pairs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mlcore.correspondence.chm.network import CHMNetwork
from mlcore.correspondence.chm.pck import ALPHA, pck
from mlcore.correspondence.chm.transfer import transfer

LEARNING_RATE = 1e-3
# The Hough layers' weights begin some thousand times as large as the convolutions', and Adam's steps are all of a size.
HOUGH_RATE = 10.0


@dataclass(frozen=True)
class PairBatch:
    """B pairs as a network learns from them.

    source, target: features (B, C, h, w). points, true: key points (B, P, 2) of either picture, in −1…1. there (B, P)
    bool: which exist. extent (B,): the longer side of the target, or of the object in it, in the unit of the points.
    """

    source: Tensor
    target: Tensor
    points: Tensor
    true: Tensor
    there: Tensor
    extent: Tensor

    @classmethod
    def whole(cls, source: Tensor, target: Tensor, points: Tensor, true: Tensor) -> PairBatch:
        """Pairs all of whose points exist, measured by the picture's side."""
        there = torch.ones(points.shape[:2], dtype=torch.bool, device=points.device)
        return cls(source, target, points, true, there, torch.full((len(points),), 2.0, device=points.device))

    def __len__(self) -> int:
        return len(self.points)


def moved_and_distance(network: CHMNetwork, pairs: PairBatch) -> tuple[Tensor, Tensor]:
    """Where the network moves the points (B, P, 2), and the squared distance from where they belong, each pair's mean
    (B,)."""
    moved = transfer(network(pairs.source, pairs.target), pairs.points)
    apart = (moved - pairs.true).square().sum(dim=2) * pairs.there
    return moved, apart.sum(dim=1) / pairs.there.sum(dim=1).clamp(min=1)


def parameter_groups(network: CHMNetwork) -> list[dict[str, Any]]:
    """What an optimiser is given: parameters and the factor of the learning rate ("rate")."""
    return [
        {"params": list(network.convolutions.parameters()), "rate": 1.0},
        {"params": [*network.hough6d.parameters(), *network.hough4d.parameters()], "rate": HOUGH_RATE},
    ]


@torch.no_grad()
def measured(network: CHMNetwork, batches: Iterable[PairBatch], alpha: float = ALPHA) -> Tensor:
    """PCK of each pair of the batches, (pairs,) float64."""
    return torch.cat(
        [
            pck(moved_and_distance(network, one)[0], one.true, one.there, alpha=alpha, extent=one.extent)
            for one in batches
        ]
    )


def train_network(
    network: CHMNetwork,
    epoch: Callable[[int], Iterable[PairBatch]],
    validation: Sequence[PairBatch],
    *,
    epochs: int,
    learning_rate: float = LEARNING_RATE,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda number, figures: None,
) -> list[dict[str, float]]:
    """Train by Adam on the batches of `epoch(0)`, `epoch(1)`, … and keep the weights of the best validation PCK@0.1.

    Each epoch's "loss" (mean over its steps) and "pck" are returned, and told to `on_epoch` as they come (epochs from
    1). Afterwards the network is in eval mode. Raises ValueError where there is nothing to learn from or to choose by,
    and where the loss is not a number any more.
    """
    if not validation:
        raise ValueError("The best weights are chosen by validation pairs, and there is none.")
    groups = [{"params": one["params"], "lr": learning_rate * one["rate"]} for one in parameter_groups(network)]
    optimizer = torch.optim.Adam(groups, lr=learning_rate)
    told: list[dict[str, float]] = []
    best, kept = -1.0, copy.deepcopy(network.state_dict())
    for number in range(epochs):
        network.train()
        losses = []
        for pairs in epoch(number):
            loss = moved_and_distance(network, pairs)[1].mean()
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                raise ValueError(
                    f"The loss was not a number any more in epoch {number + 1}; a smaller learning rate often helps."
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        if not losses:
            raise ValueError("A correspondence network needs at least one pair to learn from.")
        network.eval()
        found = measured(network, validation)
        told.append({"loss": math.fsum(losses) / len(losses), "pck": float(found[~found.isnan()].mean())})
        if told[-1]["pck"] > best:
            best, kept = told[-1]["pck"], copy.deepcopy(network.state_dict())
        on_epoch(number + 1, told[-1])
    network.load_state_dict(kept)
    network.eval()
    return told
