"""What decides the features of a gallery, and the name that follows from it (architecture.md: weights, transform, set).

Torch-free: pages and commands find a gallery by it, and the process that computes writes it into the files.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

TRANSFORM = ("image_size", "resize", "normalise")


def gallery_key(
    *, weights: str, architecture: str, padding: str, layer: str, transform: Mapping[str, Any], image_set: str
) -> dict[str, Any]:
    """weights: their SHA-256. transform: `TRANSFORM` of it counts. image_set: its UUID."""
    return {
        "weights": weights,
        "architecture": architecture,
        "padding": padding,
        "layer": layer,
        "transform": {name: transform[name] for name in TRANSFORM},
        "image_set": image_set,
    }


def hash_of(key: Mapping[str, Any]) -> str:
    """The SHA-256 of a key, whatever its order: 64 letters."""
    return hashlib.sha256(json.dumps(key, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
