"""Average precision beside scikit-learn, with and without equal scores."""

import pytest
import torch
from sklearn.metrics import average_precision_score

from mlcore.metrics.average_precision import MeanAveragePrecision


@pytest.mark.parametrize("decimals", [8, 1, 0])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_scikit_learns(seed: int, decimals: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(300, 7, generator=generator).round(decimals=decimals)
    targets = (torch.rand(300, 7, generator=generator) < torch.linspace(0.01, 0.9, 7)).float()
    targets[0] = 1.0
    metric = MeanAveragePrecision()
    metric.update(logits, targets, [f"image {number}" for number in range(300)])
    single = average_precision_score(targets.numpy(), logits.numpy(), average=None)
    assert list(metric.per_class.values()) == pytest.approx(single.tolist(), abs=1e-12)
    whole = average_precision_score(targets.numpy(), logits.numpy(), average="macro")
    assert metric.compute()["value"] == pytest.approx(whole, abs=1e-12)
