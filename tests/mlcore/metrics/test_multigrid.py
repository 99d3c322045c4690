"""Multigrid's parts beside the same things written out as matrices (definitions §5)."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mlcore.metrics.four_colours import Picture
from mlcore.metrics.multigrid import HALF, Level, around, coarsened, nodes_of

CPU = torch.device("cpu")


def matrix(coefficients: Tensor) -> Tensor:
    """The symmetric matrix (n, n) of five coefficients a pixel (5, height, width)."""
    _, height, width = coefficients.shape
    found = torch.zeros(height * width, height * width, dtype=torch.float64)
    for (down, right), values in zip(HALF, coefficients, strict=True):
        for row, column in values.nonzero().tolist():
            here, there = row * width + column, (row + down) * width + column + right
            found[here, there] = found[there, here] = values[row, column].double()
    return found


def removed_pixels(coefficients_of: Tensor) -> Tensor:
    """Five coefficients (1, 5, height, width) of removed pixels (height, width) with a ring of known ones."""
    found = torch.zeros(1, 5, *coefficients_of.shape)
    for at, (down, right) in enumerate(HALF):
        other = torch.roll(coefficients_of, (-down, -right), (0, 1))
        weight = 1.0 if not at else -1 / 6 if 0 in (down, right) else -1 / 12
        found[0, at] = weight * coefficients_of * other
    return found


def scattered(height: int, width: int, share: float, seed: int = 0) -> Tensor:
    gone = torch.zeros(height, width)
    gone[1:-1, 1:-1] = (
        torch.rand(height - 2, width - 2, generator=torch.Generator().manual_seed(seed)) < share
    ).float()
    return gone


def interpolation(shape: tuple[int, int]) -> Tensor:
    """P (fine n, coarse n): bilinear from every second pixel of every second row."""
    wide = around(nodes_of(shape))
    found = torch.zeros(*shape, *wide, dtype=torch.float64)
    for node_row in range(1, 1 + nodes_of(shape)[0]):
        for node_column in range(1, 1 + nodes_of(shape)[1]):
            row, column = 2 * node_row - 1, 2 * node_column - 1
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    weight = (1 - abs(down) / 2) * (1 - abs(right) / 2)
                    found[row + down, column + right, node_row, node_column] = weight
    return found.view(shape[0] * shape[1], wide[0] * wide[1])


@pytest.mark.parametrize("shape", [(9, 11), (13, 7), (5, 5)])
@pytest.mark.parametrize("share", [0.4, 1.0])
def test_the_coarser_operator_is_the_finer_one_between_interpolations(shape: tuple[int, int], share: float) -> None:
    finer = removed_pixels(scattered(*shape, share))
    between = interpolation(shape)
    assert torch.allclose(matrix(coarsened(finer)[0]), between.T @ matrix(finer[0]) @ between, atol=1e-6)


def test_a_level_is_a_symmetric_positive_inverse_and_two_steps_are_nearer() -> None:
    shape = (23, 23)
    finer = removed_pixels(scattered(*shape, 0.9))
    level = Level(1, 1, shape, CPU)
    level.set(finer)
    free = level.free.flatten().nonzero()[:, 0]
    operator = matrix(finer[0])[free][:, free]
    columns = []
    for place in free.tolist():
        level.right.zero_()
        level.right[0, 0, place] = 1
        level.cycle()
        columns.append(level.solution[0, 0, free].double())
    inverse = torch.stack(columns, 1)
    assert torch.allclose(inverse, inverse.T, atol=1e-5)
    left = torch.linalg.eigvals(torch.eye(len(free)) - inverse @ operator).abs().max()
    assert float(left) < 0.5  # what a cycle leaves of an error, at most
    right = torch.zeros_like(level.right)
    right[..., free] = torch.randn(len(free), generator=torch.Generator().manual_seed(0))
    exact = torch.linalg.solve(operator, right[0, 0, free].double())
    errors = []
    for ask in (level.cycle, level.solve):
        level.right.copy_(right)
        ask()
        error = level.solution[0, 0, free].double() - exact
        errors.append(float(error @ operator @ error / (exact @ operator @ exact)) ** 0.5)
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("size", [(6, 9), (7, 4), (1, 5)])
def test_a_sweep_solves_four_colours_one_after_another(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    gone = torch.rand(1, *size, generator=generator) < 0.6
    known = torch.randn(1, 2, *size, generator=generator).masked_fill(gone[:, None], 0)
    picture = Picture(1, 2, size, CPU)
    picture.load(known, gone)
    picture.sweep()
    kernel = torch.tensor([[1.0, 2, 1], [2, 0, 2], [1, 2, 1]]).div(12)[None, None]
    weights = F.conv2d(torch.ones(1, 1, *size), kernel, padding=1)
    right = known.clone()
    for row, column in ((0, 0), (1, 0), (0, 1), (1, 1)):
        means = F.conv2d(right.transpose(0, 1), kernel, padding=1).transpose(0, 1) / weights
        colour = torch.zeros_like(gone)
        colour[:, row::2, column::2] = True
        right = torch.where((colour & gone)[:, None], means, right)
    assert torch.allclose(picture.result(), right, atol=1e-6)
    before = picture.result()
    change = picture.change()
    assert float(change) == pytest.approx(float((picture.result() - before).abs().max()), rel=1e-4)
