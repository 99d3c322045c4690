"""Chance that depends on names, not on history.

Every shuffle and augmentation is drawn from (seed, epoch, image id). So a resumed run, a run on several
processes and a run with other loader workers see the same pictures in the same order, and leaving one image
out changes nothing for the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b


def draw(seed: int, epoch: int, name: str, purpose: str = "") -> int:
    """64 uniform bits for this (seed, epoch, name, purpose)."""
    digest = blake2b(f"{seed}/{epoch}/{purpose}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def below(bits: int, count: int) -> int:
    """A number in 0 … count − 1 from 64 uniform bits (bias below count / 2^64)."""
    return (bits * count) >> 64


def shuffled(names: Sequence[str], seed: int, epoch: int) -> list[int]:
    """Positions of `names` in the order of this epoch."""
    return sorted(range(len(names)), key=lambda index: (draw(seed, epoch, names[index], "order"), names[index]))
