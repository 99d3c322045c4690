"""What terms share that show the classifier altered pictures: which images count, and chance."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcore.attribution.maps import status


def with_value(maps: Tensor) -> Tensor:
    """Which maps (B, H, W) a score is defined for, (B,) bool: finite, and not the same everywhere (so not zero)."""
    return torch.tensor([state == "ok" for state in status(maps)], dtype=torch.bool, device=maps.device)


def laid_out(images: Tensor) -> Tensor:
    """The same images (B, C, H, W), channels last in memory where a CPU convolves faster so (SqueezeNet: twice)."""
    if images.device.type == "cpu" and images.dtype == torch.float32:
        return images.contiguous(memory_format=torch.channels_last)
    return images


def uniform(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """U(0, 1) of this shape and of the type and device of `like`, drawn where the generator is."""
    return torch.rand(shape, generator=generator, device=_place(like, generator)).to(like)


def normal(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """N(0, 1), in the same way."""
    return torch.randn(shape, generator=generator, device=_place(like, generator)).to(like)


def _place(like: Tensor, generator: torch.Generator | None) -> torch.device:
    return like.device if generator is None else generator.device
