"""What a classifier says of images, as the rows of a "predictions" event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor


def prediction_rows(names: Sequence[str], logits: Tensor, *, several: bool = False) -> list[dict[str, Any]]:
    """One row an image: the highest class and its probability, from class scores (B, K).

    several: images have several labels, so that each class has a probability of its own, σ of its score; otherwise
    they are the softmax.
    """
    confidences, classes = (logits.sigmoid() if several else logits.softmax(dim=1)).max(dim=1)
    if several:  # σ of very high scores is 1 for all of them
        classes = logits.argmax(dim=1)
    return [
        {"image": name, "label": label, "confidence": confidence}
        for name, label, confidence in zip(names, classes.tolist(), confidences.tolist(), strict=True)
    ]
