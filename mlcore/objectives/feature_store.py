"""Features of batches that come again: what a frozen classifier says of a fixed view never changes."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor, nn

LIMIT = 1 << 30


class FeatureStore:
    """Logits (B, K) and features of several layers of batches, by the names of their images, up to a limit.

    Names must say which view of an image is meant: another cut of it is another name. What does not fit is not kept,
    and nothing that is kept goes. half: features are kept as bfloat16, half the bytes at about three digits; without
    it what comes out is what went in, bit by bit.
    """

    def __init__(self, limit: int = LIMIT, *, half: bool = False) -> None:
        self.limit, self.half = limit, half
        self.nbytes = 0
        self.reads = 0  # batches whose features were there
        self._kept: dict[tuple[str, ...], tuple[Tensor, list[Tensor]]] = {}
        self._model: weakref.ref[nn.Module] | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, model: nn.Module, names: list[str]) -> tuple[Tensor, list[Tensor]] | None:
        """Logits and features of a batch; None where they are not there. Raises ValueError for another classifier."""
        if self._model is not None and self._model() is not model:
            raise ValueError("These features are another classifier's: make a store for each.")
        found = self._kept.get(tuple(names))
        if found is None:
            return None
        self.reads += 1
        logits, features = found
        return logits, [feature.to(logits.dtype) for feature in features] if self.half else features

    def keep(self, model: nn.Module, names: list[str], logits: Tensor, features: list[Tensor]) -> None:
        """Keep what was found of a batch where it fits. Raises ValueError where images have no names."""
        if len(names) != len(logits) or len(set(names)) != len(names):
            raise ValueError("Features are kept by the names of images: each image of a batch needs one of its own.")
        self._model = self._model or weakref.ref(model)
        if self.half:
            features = [feature.to(torch.bfloat16) for feature in features]
        size = sum(part.numel() * part.element_size() for part in (logits, *features))
        if self.nbytes + size <= self.limit:
            self._kept[tuple(names)] = (logits, features)
            self.nbytes += size
