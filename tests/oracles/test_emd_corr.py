"""EMD-Corr beside POT: its exact solver as ε → 0, and its Sinkhorn at ε = 0.05, on random cells and photographs."""

import math
from typing import Any

import numpy as np
import ot
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlcore.correspondence.base import Described
from mlcore.correspondence.emd_corr import EMDCorr
from mlcore.correspondence.marginals import cross_marginals, uniform_marginals
from mlcore.correspondence.sinkhorn import sinkhorn

Array = NDArray[np.float64]
# What single precision leaves of a score between 0 and 1, and marginals that sum to 1 − 1e-5 where POT's sum to 1.
SINGLE = 3e-5
# What the default's 100 iterations and tolerance of 1e-4 may leave.
DEFAULT = 1e-3


def random_cells(below_zero: bool) -> Tensor:
    """(6, 16, 4, 4), alike in part."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.rand(16, 1, 1, generator=generator) + 0.7 * torch.randn(6, 16, 4, 4, generator=generator)
    return cells if below_zero else cells.relu()


def problem(query: Tensor, candidate: Tensor, kind: str) -> tuple[Array, Array, Array]:
    """Cosines (R, R) and marginals of one pair, (C, h, w) each, straight from the definition and summing to 1."""
    a, b = query.flatten(1).T.double(), candidate.flatten(1).T.double()
    cosine = nn.functional.normalize(a, dim=1) @ nn.functional.normalize(b, dim=1).T
    if kind == "uniform":
        u, v = torch.ones(len(a)).double(), torch.ones(len(b)).double()
    else:
        u, v = (a @ b.sum(0)).clamp(min=0), (b @ a.sum(0)).clamp(min=0)
    return cosine.numpy(), (u / u.sum()).numpy(), (v / v.sum()).numpy()


def scores(cells: Tensor, **options: Any) -> Tensor:
    """(n − 1,): the first picture against the others."""
    return EMDCorr(**options).compare(Described(cells[:1]), Described(cells[None, 1:])).scores[0]


@pytest.mark.parametrize("below_zero", [False, True])
@pytest.mark.parametrize("kind", ["cross", "uniform"])
def test_the_plan_is_pots_sinkhorn(kind: Any, below_zero: bool) -> None:
    cells = random_cells(below_zero)
    whole = scores(cells, marginals=kind, num_patch=0, iterations=20_000, tolerance=1e-6)
    best = scores(cells, marginals=kind, num_patch=5, iterations=20_000, tolerance=1e-6)
    published = scores(cells, marginals=kind, num_patch=5)
    for number, candidate in enumerate(cells[1:]):
        cosine, u, v = problem(cells[0], candidate, kind)
        plan = ot.sinkhorn(u, v, 1 - cosine, 0.05, stopThr=1e-12, numItermax=100_000)
        assert float(whole[number]) == pytest.approx((plan * cosine).sum(), abs=SINGLE)
        largest = np.argsort(plan, axis=None)[-5:]
        expected = (plan * cosine).flatten()[largest].sum()
        assert float(best[number]) == pytest.approx(expected, abs=SINGLE)
        assert float(published[number]) == pytest.approx(expected, abs=DEFAULT)


@pytest.mark.parametrize("kind", ["cross", "uniform"])
def test_it_tends_to_pots_exact_distance(kind: Any) -> None:
    cells = random_cells(below_zero=False)
    exact = []
    for candidate in cells[1:]:
        cosine, u, v = problem(cells[0], candidate, kind)
        exact.append(ot.emd2(u, v, 1 - cosine))
    worst = []
    for epsilon in (0.05, 0.02, 0.005, 0.001):
        found = scores(
            cells, marginals=kind, num_patch=0, epsilon=epsilon, iterations=int(500 / epsilon), tolerance=1e-4
        )
        astray = 1 - found.double() - torch.tensor(exact)
        # The plan with the least cost − ε · entropy costs at most ε · (the largest entropy, ln R²) too much.
        assert float(astray.max()) <= epsilon * math.log(16 * 16) + 3e-4
        assert float(astray.min()) >= -3e-4
        worst.append(float(astray.abs().max()))
    assert worst == sorted(worst, reverse=True)
    assert worst[-1] <= 5e-4


def test_photographs_are_compared_as_pot_does(mobilenet: nn.Module, photographs: tuple[Tensor, Tensor]) -> None:
    """7×7 cells of a trained classifier, and of the mirrored and the brightened photographs."""
    images = photographs[0]
    with torch.no_grad():
        cells = mobilenet.get_submodule("features")(torch.cat([images, images.flip(3), images + 0.5]))
    a, b = cells[:1].flatten(2).expand(5, -1, -1), cells[1:].flatten(2)
    dots = a.transpose(1, 2) @ b
    lengths = a.sum(2).norm(dim=1) * b.sum(2).norm(dim=1)
    cosine = dots / a.norm(dim=1)[:, :, None] / b.norm(dim=1)[:, None]
    for u, v in (cross_marginals(dots, lengths), uniform_marginals(dots)):
        moved = sinkhorn((1 - cosine).clamp(min=0), u, v, iterations=20_000, tolerance=1e-5)
        default = sinkhorn((1 - cosine).clamp(min=0), u, v, tolerance=1e-4)
        for number in range(5):
            rows, columns = (each[number].double().numpy() / each[number].double().sum().item() for each in (u, v))
            cost = (1 - cosine[number]).clamp(min=0).double().numpy()
            plan = ot.sinkhorn(rows, columns, cost, 0.05, stopThr=1e-12, numItermax=100_000)
            assert np.abs(moved.plan[number].numpy() - plan).sum() <= 1e-3
            assert (moved.plan[number].numpy() * (1 - cost)).sum() == pytest.approx(
                (plan * (1 - cost)).sum(), abs=SINGLE
            )
            found = (default.plan[number].numpy() * (1 - cost)).sum()
            off = abs(found - (plan * (1 - cost)).sum())
            assert off <= (DEFAULT if default.converged[number] else 2 * DEFAULT)
        assert default.converged.sum() >= 4  # a mirrored photograph may take more than 100 iterations
