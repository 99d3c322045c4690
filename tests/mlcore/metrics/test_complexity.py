"""Complexity, entropy and sparseness by hand."""

import math

import pytest
import torch

from mlcore.metrics import score


def value(name: str, *rows: list[float]) -> dict[str, float]:
    return score(name, torch.tensor(rows)[:, None])["per_image"]


def test_complexity_counts_what_is_above_a_fixed_value_on_either_side() -> None:
    found = value("complexity", [1.0, -1.0, 1e-5, 0.0], [1e-6, 1e-6, 2e-5, 0.0])
    assert found == {"0": 0.5, "1": 0.25}


def test_entropy() -> None:
    found = value("entropy", [1.0, -1.0, 0.0, 0.0], [5.0, 0.0, 0.0, 0.0], [2.0, 1.0, 1.0, 0.0], [1e-30, 1e-30, 0, 0])
    assert found["0"] == pytest.approx(math.log(2))
    assert found["1"] == 0.0
    assert found["2"] == pytest.approx(1.5 * math.log(2))
    assert found["3"] == pytest.approx(math.log(2))


def test_sparseness_is_the_gini_index() -> None:
    found = value("sparseness", [3.0, 3.0, -3.0, 3.0], [0.0, 7.0, 0.0, 0.0], [1.0, 2.0, 3.0, -4.0], [3e38] * 3 + [0.0])
    assert found["0"] == 0.0
    assert found["1"] == pytest.approx(0.75)
    assert found["2"] == pytest.approx((-3 * 1 - 1 * 2 + 1 * 3 + 3 * 4) / (4 * 10))  # mean difference ÷ twice the mean
    assert found["3"] == pytest.approx(0.25)


@pytest.mark.parametrize("name", ["complexity", "entropy", "sparseness"])
def test_maps_without_anything_are_left_out(name: str) -> None:
    found = score(name, torch.tensor([[[0.0, 0.0]], [[math.nan, 1.0]], [[math.inf, 1.0]], [[0.5, 0.25]]]))
    assert found["left_out"] == {"zero map": 1, "non-finite map": 2}
    assert list(found["per_image"]) == ["3"]
