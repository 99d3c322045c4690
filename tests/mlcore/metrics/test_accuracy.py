"""Accuracy by image."""

import pytest
import torch

from mlcore.metrics.accuracy import Accuracy


def test_accuracy_by_hand() -> None:
    metric = Accuracy()
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0], [1.0, 1.0, 0.0], [float("nan"), 0.0, 0.0]])
    metric.update(logits, torch.tensor([1, 2, 0, 0]), list("abcd"))
    assert metric.per_image == {"a": 1.0, "b": 0.0, "c": 1.0}
    assert metric.compute() == {
        "metric": "accuracy",
        "value": pytest.approx(2 / 3),
        "low": pytest.approx(2 / 3 - 1.4342175),  # t(0.975, 2) · √(1/3) / √3
        "high": pytest.approx(2 / 3 + 1.4342175),
        "n": 3,
        "left_out": {"non-finite class scores": 1},
    }
    metric.update(torch.tensor([2, 2]), torch.tensor([2, 1]), ["b", "e"])
    assert metric.per_image == {"a": 1.0, "b": 1.0, "c": 1.0, "e": 0.0}
    with pytest.raises(ValueError, match="2 labels"):
        metric.update(logits, torch.tensor([1, 2]), list("abcd"))
