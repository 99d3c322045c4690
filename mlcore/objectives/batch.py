"""What an objective is given for one step."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass
class Batch:
    """One step's images with what people said about them.

    images (B, 3, H, W) normalised; labels (B,) int64.
    targets (B, K) float, 1 for every label of an image and 0 elsewhere, where images have several; `labels` then holds
    the class of one annotation of each.
    maps (B, H, W) int8: 1 important, 0 unknown, −1 unimportant; None where no image of the batch has one.
    has_map (B,) bool. w_p, w_a (B,): weights of the prediction and of the attention term (definitions §2).
    ids: names of the images, for messages and counts. chances: a number for each image, that an objective's own chance
    about it begins with; it follows from seed, epoch and picture. Empty where nobody drew any.
    """

    images: Tensor
    labels: Tensor
    maps: Tensor | None
    has_map: Tensor
    w_p: Tensor
    w_a: Tensor
    ids: list[str] = field(default_factory=list)
    targets: Tensor | None = None
    chances: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """The same batch with every tensor on `device`."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=non_blocking)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)

    def hits(self, logits: Tensor) -> Tensor:
        """How many images have their highest class score (B, K) at their label, or at one of their labels."""
        highest = logits.argmax(dim=1)
        if self.targets is None:
            return (highest == self.labels).sum()
        return (self.targets.gather(1, highest[:, None]) > 0).sum()

    @classmethod
    def plain(
        cls, images: Tensor, labels: Tensor, ids: list[str] | None = None, targets: Tensor | None = None
    ) -> Batch:
        """A batch without supervision: w_p = 1, w_a = 0."""
        size = len(images)
        return cls(
            images=images,
            labels=labels,
            maps=None,
            has_map=torch.zeros(size, dtype=torch.bool, device=images.device),
            w_p=torch.ones(size, device=images.device),
            w_a=torch.zeros(size, device=images.device),
            ids=ids if ids is not None else [str(index) for index in range(size)],
            targets=targets,
        )
