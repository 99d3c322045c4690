"""Weights of cells: against hand computation and the definition cell by cell."""

import pytest
import torch

from mlcore.correspondence.marginals import STABILITY, cross_marginals, uniform_marginals


def products(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Dots and lengths of one pair; a and b: (cells, C)."""
    return (a @ b.T)[None], (a.sum(0).norm() * b.sum(0).norm())[None]


def test_two_by_two_by_hand() -> None:
    # Σ b = (3, 1): the query's cells (1, 0) and (0, 2) have 3 and 2 in common with it; Σ a = (1, 2): 1 and 4.
    a, b = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [2.0, 1.0]])
    u, v = cross_marginals(*products(a, b))
    cosine_of_pooled = 5 / (5**0.5 * 10**0.5)
    share = cosine_of_pooled / (cosine_of_pooled + 1e-5)
    assert u[0].tolist() == pytest.approx([3 / 5 * share, 2 / 5 * share], abs=1e-6)
    assert v[0].tolist() == pytest.approx([1 / 5 * share, 4 / 5 * share], abs=1e-6)


def test_weights_below_zero_are_clamped_unless_asked_not_to_be() -> None:
    # Σ b = (4, 1): the query's cells have 4 and −2 in common with it; Σ a = (1, −2): the candidate's 3 and −1.
    a, b = torch.tensor([[1.0, 0.0], [0.0, -2.0]]), torch.tensor([[3.0, 0.0], [1.0, 1.0]])
    u, _ = cross_marginals(*products(a, b))
    assert u[0].tolist() == pytest.approx([1.0, 0.0], abs=1e-3)
    u, v = cross_marginals(*products(a, b), clamp=False)
    assert u[0].tolist() == pytest.approx([4 / 2, -2 / 2], abs=1e-3)
    assert v[0].tolist() == pytest.approx([3 / 2, -1 / 2], abs=1e-3)


def test_unequal_weights_divide_the_query_by_the_candidates_sum() -> None:
    a, b = torch.tensor([[1.0, 0.0], [0.0, -2.0]]), torch.tensor([[3.0, 0.0], [1.0, 1.0]])
    dots, lengths = products(a, b)
    u, v = cross_marginals(dots, lengths, unequal=True)
    mine, theirs = (a @ b.sum(0)).clamp(min=0) / lengths, (b @ a.sum(0)).clamp(min=0) / lengths
    assert float(mine.sum()) != pytest.approx(float(theirs.sum()))
    assert torch.allclose(u[0], mine / (theirs.sum() + STABILITY))
    assert torch.allclose(v[0], theirs / (theirs.sum() + STABILITY))


def test_without_clamping_unequal_weights_change_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(6, 8, generator=generator) + 0.3, torch.randn(6, 8, generator=generator) + 0.3
    equal = cross_marginals(*products(a, b), clamp=False)
    unequal = cross_marginals(*products(a, b), clamp=False, unequal=True)
    assert torch.allclose(equal[0], unequal[0], atol=1e-5)


def test_a_picture_without_features_has_no_weights() -> None:
    u, v = cross_marginals(*products(torch.zeros(4, 3), torch.rand(4, 3)))
    assert not u.any()
    assert not v.any()


def test_uniform_weights_are_shares() -> None:
    u, v = uniform_marginals(torch.zeros(2, 4, 5))
    assert u.tolist() == [[0.25] * 4] * 2
    assert v[0].tolist() == pytest.approx([0.2] * 5)
