"""Mean average precision: by hand, from its definition, and what is left out."""

import itertools
import math
import pickle

import pytest
import torch
from torch import Tensor

from mlcore.metrics.average_precision import MeanAveragePrecision, average_precision


def by_definition(scores: list[float], there: list[bool]) -> float:
    """Threshold by threshold: what is at or above it, and how much recall it adds."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = [has for score, has in zip(scores, there, strict=True) if score >= threshold]
        recall = sum(chosen) / sum(there)
        total += (recall - before) * sum(chosen) / len(chosen)
        before = recall
    return total


def column(values: list[float]) -> Tensor:
    return torch.tensor(values)


@pytest.mark.parametrize(
    ("scores", "there", "expected"),
    [
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], (1 + 2 / 3) / 2),
        ([4.0, 3.0, 2.0, 1.0], [0, 0, 0, 1], 1 / 4),
        ([4.0, 3.0, 2.0, 1.0], [1, 1, 0, 0], 1.0),
        ([1.0, 1.0, 1.0, 1.0], [0, 1, 0, 1], 1 / 2),  # one threshold for all
        ([2.0, 1.0, 1.0, 0.0], [1, 1, 0, 1], (1 + 2 / 3 + 3 / 4) / 3),
        ([-3.0], [1], 1.0),
    ],
)
def test_average_precision_by_hand(scores: list[float], there: list[int], expected: float) -> None:
    assert average_precision(column(scores), column(there) > 0) == pytest.approx(expected)


def test_every_order_of_four_is_the_definition() -> None:
    for scores in itertools.product([0.0, 1.0, 2.0], repeat=4):
        for there in itertools.product([False, True], repeat=4):
            if any(there):
                found = average_precision(column(list(scores)), torch.tensor(there))
                assert found == pytest.approx(by_definition(list(scores), list(there)))


def test_the_mean_is_over_classes_that_an_image_has() -> None:
    metric = MeanAveragePrecision()
    logits = torch.tensor([[2.0, 0.0, 5.0], [1.0, 3.0, 4.0], [0.0, 2.0, 1.0]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    metric.update(logits, targets, list("abc"))
    assert metric.per_class == {0: pytest.approx((1 + 2 / 3) / 2), 1: pytest.approx(1 / 2)}
    assert metric.compute() == {
        "metric": "mean_average_precision", "value": pytest.approx((5 / 6 + 1 / 2) / 2), "low": None, "high": None,
        "n": 3, "left_out": {},
    }  # fmt: skip


def test_batches_are_one_and_an_image_given_again_counts_once() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(20, 4, generator=generator).round(decimals=1)
    targets = (torch.rand(20, 4, generator=generator) < 0.3).float()
    names = [f"image {number}" for number in range(20)]
    whole, parts = MeanAveragePrecision(), MeanAveragePrecision()
    whole.update(logits, targets, names)
    parts.update(-logits[5:], targets[5:], names[5:])  # replaced by what follows
    for start in (0, 7, 14):
        parts.update(logits[start : start + 7], targets[start : start + 7], names[start : start + 7])
    assert parts.compute() == whole.compute()
    assert pickle.loads(pickle.dumps(parts)).compute() == whole.compute()
    parts.reset()
    assert (parts.compute()["value"], parts.compute()["n"]) == (None, 0)


def test_what_is_no_number_is_left_out_by_name() -> None:
    metric = MeanAveragePrecision()
    logits = torch.tensor([[1.0, math.nan], [1.0, 2.0]])
    metric.update(logits, torch.ones(2, 2), ["a", "b"])
    assert metric.left_out == {"non-finite class scores": ["a"]}
    assert (metric.compute()["value"], metric.compute()["n"]) == (1.0, 1)
    metric.update(logits[1:], torch.ones(1, 2), ["a"])
    assert (metric.left_out, metric.compute()["n"]) == ({}, 2)
    with pytest.raises(ValueError, match="Scores and targets differ"):
        metric.update(logits, torch.ones(2, 3), ["a", "b"])
    with pytest.raises(ValueError, match="1 names"):
        metric.update(logits, torch.ones(2, 2), ["a"])
