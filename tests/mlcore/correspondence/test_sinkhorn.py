"""Sinkhorn on many problems: closed forms of 2×2 problems, both domains, and each problem's own convergence."""

import math

import pytest
import torch

from mlcore.correspondence.sinkhorn import CHECK_EVERY, sinkhorn


def problems(count: int, size: int = 9, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    cost = torch.rand(count, size, size, generator=generator)
    rows, columns = torch.rand(2, count, size, generator=generator)
    return cost, rows / rows.sum(1, keepdim=True), columns / columns.sum(1, keepdim=True)


def two_by_two(cost: torch.Tensor, row: float, column: float, epsilon: float) -> float:
    """The plan's first entry: of all with these marginals the one whose cross ratio is the kernel's."""
    ratio = math.exp(-float(cost[0, 0] + cost[1, 1] - cost[0, 1] - cost[1, 0]) / epsilon)
    # x (1 − row − column + x) = ratio (row − x)(column − x)
    a, b, c = 1 - ratio, 1 - row - column + ratio * (row + column), -ratio * row * column
    return (-b + math.sqrt(b * b - 4 * a * c)) / (2 * a)


def test_a_symmetric_two_by_two_by_hand() -> None:
    cost = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    half = torch.full((1, 2), 0.5)
    moved = sinkhorn(cost, half, half, epsilon=0.5, tolerance=1e-6)
    on = 0.5 / (1 + math.exp(-2))
    assert moved.plan[0].tolist() == [pytest.approx([on, 0.5 - on]), pytest.approx([0.5 - on, on])]
    assert moved.converged.tolist() == [True]
    assert moved.iterations.tolist() == [CHECK_EVERY]


@pytest.mark.parametrize("epsilon", [0.5, 0.1, 0.05, 0.02])
def test_an_uneven_two_by_two_by_hand(epsilon: float) -> None:
    cost = torch.tensor([[0.1, 0.3], [0.25, 0.2]])
    moved = sinkhorn(
        cost[None], torch.tensor([[0.3, 0.7]]), torch.tensor([[0.6, 0.4]]),
        epsilon=epsilon, iterations=2000, tolerance=1e-6,
    )  # fmt: skip
    x = two_by_two(cost, 0.3, 0.6, epsilon)
    expected = [pytest.approx([x, 0.3 - x], abs=1e-6), pytest.approx([0.6 - x, 0.1 + x], abs=1e-6)]
    assert moved.plan[0].tolist() == expected


def test_rows_are_exact_and_columns_within_the_tolerance() -> None:
    cost, rows, columns = problems(30)
    moved = sinkhorn(cost, rows, columns, tolerance=1e-3, iterations=1000)
    assert moved.converged.all()
    assert torch.allclose(moved.plan.sum(2), rows, atol=1e-6)
    assert float((moved.plan.sum(1) - columns).abs().sum(1).max()) <= 1e-3 + 1e-5
    assert len(moved.iterations.unique()) > 3  # or the next test would show nothing


@pytest.mark.parametrize("epsilon", [0.05, 0.02])
def test_a_batch_gives_what_its_problems_give_alone(epsilon: float) -> None:
    cost, rows, columns = problems(40)
    together = sinkhorn(cost, rows, columns, epsilon=epsilon, tolerance=1e-3)
    for each in range(40):
        alone = sinkhorn(cost[each, None], rows[each, None], columns[each, None], epsilon=epsilon, tolerance=1e-3)
        assert torch.allclose(together.plan[each], alone.plan[0], atol=1e-6)
        assert together.converged[each] == alone.converged[0]
        assert together.iterations[each] == alone.iterations[0]


def test_both_domains_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    cost, rows, columns = problems(10)
    kernel = sinkhorn(cost, rows, columns, tolerance=1e-5, iterations=5000)
    monkeypatch.setattr("mlcore.correspondence.sinkhorn.SMALLEST_KERNEL_EPSILON", 1.0)
    logarithms = sinkhorn(cost, rows, columns, tolerance=1e-5, iterations=5000)
    assert torch.allclose(kernel.plan, logarithms.plan, atol=2e-6)
    assert logarithms.plan.dtype == torch.float32


def test_the_dearest_cost_stays_finite_at_the_smallest_epsilon_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = 2 * (1 - torch.eye(3))[None]
    rows, columns = torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([[0.2, 0.3, 0.5]])
    moved = sinkhorn(cost, rows, columns, tolerance=1e-4)
    assert moved.converged.all()
    monkeypatch.setattr("mlcore.correspondence.sinkhorn.SMALLEST_KERNEL_EPSILON", 1.0)
    assert torch.allclose(moved.plan, sinkhorn(cost, rows, columns, tolerance=1e-4).plan, atol=1e-6)
    assert float((moved.plan * cost).sum()) == pytest.approx(0.6, abs=1e-3)  # 0.3 of the mass has to move, at 2


def test_a_small_epsilon_is_computed_without_underflow() -> None:
    cost, rows, columns = problems(5, size=4)
    moved = sinkhorn(2 * cost, rows, columns, epsilon=0.001, iterations=20_000, tolerance=1e-4)
    assert moved.converged.all()
    assert moved.plan.isfinite().all()
    assert torch.allclose(moved.plan.sum(1), columns, atol=1e-4)


def test_what_has_not_converged_is_said() -> None:
    cost, rows, columns = problems(30)
    cost[:15] *= 0.1
    moved = sinkhorn(cost, rows, columns, tolerance=1e-4, iterations=10)
    assert moved.converged.any()
    assert not moved.converged.all()
    assert (moved.iterations[~moved.converged] == 10).all()
    astray = (moved.plan.sum(1) - columns).abs().sum(1)
    assert float(astray[moved.converged].max()) <= 1e-4 + 1e-6
    assert float(astray[~moved.converged].max()) > 1e-4


def test_cells_without_weight_are_left_alone() -> None:
    cost, rows, columns = problems(6)
    rows[:, 2] = 0
    columns[:, 5] = 0
    for epsilon in (0.05, 0.02):
        moved = sinkhorn(cost, rows, columns, epsilon=epsilon, iterations=3000, tolerance=1e-3)
        assert moved.plan.isfinite().all()
        assert moved.converged.all()
        assert not moved.plan[:, 2].any()
        assert not moved.plan[:, :, 5].any()


@pytest.mark.parametrize("epsilon", [0.05, 0.02])
def test_a_problem_without_mass_has_an_empty_plan_and_disturbs_no_other(epsilon: float) -> None:
    cost, rows, columns = problems(3)
    alone = sinkhorn(cost[2:], rows[2:], columns[2:], epsilon=epsilon, tolerance=1e-3)
    rows[0] = 0
    columns[1] = 0
    moved = sinkhorn(cost, rows, columns, epsilon=epsilon, tolerance=1e-3)
    assert not moved.plan[:2].any()
    assert moved.converged[:2].all()
    assert moved.iterations[:2].tolist() == [0, 0]
    assert torch.allclose(moved.plan[2], alone.plan[0], atol=1e-6)
    nothing = sinkhorn(cost, torch.zeros_like(rows), columns, epsilon=epsilon, tolerance=1e-3)
    assert not nothing.plan.any()


def test_a_plan_has_the_mass_of_the_rows() -> None:
    cost, rows, columns = problems(4)
    whole = sinkhorn(cost, rows, columns, tolerance=1e-3)
    part = sinkhorn(cost, 0.3 * rows, 0.9 * columns, tolerance=1e-3)
    assert torch.allclose(part.plan, 0.3 * whole.plan, atol=1e-6)
    assert part.converged.tolist() == whole.converged.tolist()
