"""Average drop, increase in confidence and ADCC, worked out by hand (definitions §4, §7)."""

import math

import pytest
import torch
from torch import Tensor

from mlcore.metrics import make
from mlcore.metrics.adcc import ADCC, coherencies
from mlcore.metrics.average_drop import AverageDrop, AverageDrop50, IncreaseInConfidence
from tests.mlcore.metrics.asking import Brightness


def sigma(score: float) -> float:
    return 1 / (1 + math.exp(-score))


HEAT = torch.tensor([[[0.0, 2.0], [1.0, 4.0]]])  # min–max: 0, ½, ¼, 1
IMAGE = torch.ones(1, 3, 2, 2)
SUM = torch.full((3, 2, 2), 1 / 3)  # the score is the sum of the pixels


def test_average_drop_by_hand() -> None:
    model = Brightness(SUM)  # 4 → 0 + ½ + ¼ + 1 = 1.75
    metric = AverageDrop(model, normalisation="none")
    metric.update(HEAT, IMAGE, torch.tensor([0]), ["a"])
    assert metric.per_image["a"] == pytest.approx(100 * (sigma(4) - sigma(1.75)) / sigma(4), rel=1e-5)
    half = AverageDrop50(model, normalisation="none")
    half.update(HEAT, IMAGE, torch.tensor([0]), ["a"])  # the two lowest pixels go: ½ + 1
    assert half.per_image["a"] == pytest.approx(100 * (sigma(4) - sigma(1.5)) / sigma(4), rel=1e-5)
    assert (metric.name, half.name) == ("average_drop", "average_drop_50")
    other = AverageDrop(model, normalisation="none")
    other.update(HEAT, IMAGE, torch.tensor([1]), ["a"])  # class 1 gains: no drop
    assert other.per_image == {"a": 0.0}


def test_increase_in_confidence_counts_gains_only() -> None:
    model = Brightness(-SUM)
    metric = IncreaseInConfidence(model, normalisation="none")
    metric.update(HEAT.expand(2, -1, -1), IMAGE.expand(2, -1, -1, -1), torch.tensor([0, 1]), ["gain", "loss"])
    assert metric.per_image == {"gain": 100.0, "loss": 0.0}
    assert metric.compute()["value"] == 50.0
    whole = torch.tensor([[[1e-9, 1.0], [1.0, 1.0]]])
    metric.update(whole, IMAGE * 0, torch.tensor([0]), ["the same"])
    assert metric.per_image["the same"] == 0.0


def test_the_share_that_is_kept_is_checked() -> None:
    with pytest.raises(ValueError, match="Between 0 and 100"):
        AverageDrop(Brightness(IMAGE[0]), keep=0)
    assert AverageDrop(Brightness(IMAGE[0]), keep=30).name == "average_drop_30"
    with pytest.raises(ValueError, match="classifier"):
        make("average_drop")


def test_a_class_without_probability_is_left_out() -> None:
    metric = AverageDrop(Brightness(100 * SUM), normalisation="none")
    metric.update(HEAT, IMAGE, torch.tensor([1]), ["a"])
    assert metric.left_out == {"class has probability 0": ["a"]}


def test_adcc_by_hand() -> None:
    model = Brightness(SUM)
    asked: list[Tensor] = []

    def explain(images: Tensor, targets: Tensor) -> Tensor:
        asked.append(images)
        return torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])

    metric = ADCC(model, explain, normalisation="none")
    metric.update(HEAT, IMAGE, torch.tensor([0]), ["a"])
    assert torch.allclose(asked[0], torch.tensor([[0.0, 0.5], [0.25, 1.0]]).expand(1, 3, 2, 2))
    # ρ of (0, ½, ¼, 1) and (0, 1, 0, 1), about their means 7/16 and ½.
    a, b = [-7 / 16, 1 / 16, -3 / 16, 9 / 16], [-0.5, 0.5, -0.5, 0.5]
    rho = sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    kept = 1 - (sigma(4) - sigma(1.75)) / sigma(4)
    expected = 3 / (1 / ((rho + 1) / 2) + 1 / (1 - 1.75 / 4) + 1 / kept)
    assert metric.per_image["a"] == pytest.approx(100 * expected, rel=1e-4)


def test_adcc_of_a_method_that_gives_nothing_the_second_time_is_zero() -> None:
    metric = ADCC(Brightness(SUM), lambda images, _: torch.zeros(len(images), 2, 2))
    metric.update(HEAT, IMAGE, torch.tensor([0]), ["a"])
    assert metric.per_image == {"a": 0.0}


def test_coherency_is_scipys_correlation() -> None:
    from scipy.stats import pearsonr

    first, second = torch.rand(2, 5, 7, 6, generator=torch.Generator().manual_seed(0))
    expected = [(pearsonr(a.flatten(), b.flatten()).statistic + 1) / 2 for a, b in zip(first, second, strict=True)]
    assert coherencies(first, second).tolist() == pytest.approx(expected, abs=1e-6)
