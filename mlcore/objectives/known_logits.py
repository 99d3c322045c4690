"""What a frozen classifier says of images that come again and again: asked once an image, then remembered."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import torch
from torch import Tensor, nn

from mlcore.attribution.base import class_scores

BUDGET = 64 * 1024 * 1024  # bytes


class KnownLogits:
    """Class scores of a classifier that never changes, by the content of each image.

    On a CPU a forward pass costs far more than a digest of the pixels, so that each image is asked once, by itself:
    what is remembered does then not depend on the images beside it, and a run that is resumed, which remembers nothing,
    goes on with the same numbers. On other devices a batch is asked at once and nothing is kept.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        """budget: bytes of scores that are kept, the least recently used forgotten first."""
        self.budget = budget
        self._kept: OrderedDict[tuple[bytes, torch.dtype], Tensor] = OrderedDict()
        self._bytes = 0

    def __call__(self, model: nn.Module, images: Tensor) -> Tensor:
        """Class scores (B, K) of images (B, C, H, W), without a graph. `model` is in eval mode."""
        with torch.no_grad():
            if images.device.type != "cpu" or not len(images):
                return class_scores(model(images)).detach()
            return torch.stack([self._of(model, image) for image in images.detach()])

    def _of(self, model: nn.Module, image: Tensor) -> Tensor:
        pixels = image.contiguous()
        digest = hashlib.blake2b(pixels.view(torch.uint8).numpy().data, digest_size=16).digest()
        # Under autocast the same picture has other scores.
        key = (digest, torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else image.dtype)
        found = self._kept.get(key)
        if found is None:
            found = class_scores(model(pixels[None]))[0].clone()
            self._kept[key] = found
            self._bytes += found.nbytes
            while self._bytes > self.budget and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        else:
            self._kept.move_to_end(key)
        return found
