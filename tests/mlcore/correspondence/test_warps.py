"""Synthetic warps and the points that are known of them; PCK, and the plain cosine matcher's points."""

import pytest
import torch
import torch.nn.functional as F

from mlcore.correspondence.chm.pck import by_cosine, by_soft_cosine, correct, pck
from mlcore.correspondence.chm.warps import INSIDE, KNOTS, Warps

CHANCES = [3, 14, 159, 2653, 58979, 2**63 + 5]


def blob(points, size=120):
    """Pictures (B, 1, size, size) with a round spot at each point (B, 2)."""
    line = (torch.arange(size) * 2 + 1) / size - 1
    across, down = line[None, None, :] - points[:, :1, None], line[None, :, None] - points[:, 1:, None]
    return torch.exp(-(across.square() + down.square()) / (2 * 0.04**2))[:, None]


def brightest(pictures):
    size = pictures.shape[-1]
    flat = pictures.flatten(1).argmax(dim=1)
    return torch.stack([flat % size, flat // size], dim=1) * 2 / size + 1 / size - 1


def test_a_spot_of_the_picture_is_found_where_the_warp_says():
    warps = Warps.drawn(CHANCES)
    before, after = warps.key_points(CHANCES, 4)
    for number in range(4):
        moved = warps.apply(blob(before[:, number]))
        assert (brightest(moved) - after[:, number]).abs().max() < 0.05
        assert (before[:, number] - after[:, number]).abs().max() > 0.05


def test_points_lie_in_both_pictures_and_obey_the_warp():
    warps = Warps.drawn(CHANCES)
    before, after = warps.key_points(CHANCES, 50)
    assert before.shape == after.shape == (6, 50, 2)
    assert float(before.abs().max()) <= INSIDE
    assert float(after.abs().max()) <= INSIDE
    assert torch.allclose(warps.places(after), before, atol=1e-5)


def test_equal_numbers_give_equal_warps_and_others_others():
    one, two = Warps.drawn(CHANCES), Warps.drawn(CHANCES)
    assert torch.equal(one.matrices, two.matrices)
    assert torch.equal(one.weights, two.weights)
    alone = Warps.drawn(CHANCES[2:3])
    assert torch.equal(alone.matrices[0], one.matrices[2])
    assert torch.equal(alone.key_points(CHANCES[2:3], 5)[1][0], one.key_points(CHANCES, 5)[1][2])
    assert len({tuple(row.flatten().tolist()) for row in one.matrices}) == 6


def test_splines_and_tilts_are_both_drawn_but_never_together():
    warps = Warps.drawn(range(40))
    tilted = warps.matrices[:, 2, :2].abs().sum(dim=1) > 0
    bent = warps.weights.abs().flatten(1).sum(dim=1) > 1e-6
    assert 8 < int(tilted.sum()) < 32
    assert torch.equal(bent, ~tilted)
    # Through its knots a spline goes as it was drawn: what is left after it at a knot is the knot's own displacement.
    assert warps.weights.shape == (40, KNOTS**2 + 3, 2)


def test_no_strength_leaves_the_picture_as_it_is():
    warps = Warps.drawn(CHANCES, 0.0)
    pictures = torch.rand(6, 3, 20, 20)
    assert torch.allclose(warps.apply(pictures), pictures, atol=1e-5)
    before, after = warps.key_points(CHANCES, 7)
    assert torch.allclose(before, after, atol=1e-6)


def test_pck_counts_points_within_a_tenth_of_the_side():
    true = torch.zeros(2, 3, 2)
    moved = torch.tensor([[[0.19, 0.0], [0.0, 0.21], [0.15, 0.15]], [[0.0, 0.0], [0.05, 0.0], [1.0, 1.0]]])
    assert correct(moved, true).tolist() == [[True, False, False], [True, True, False]]
    assert pck(moved, true).tolist() == pytest.approx([1 / 3, 2 / 3])
    there = torch.tensor([[True, True, False], [False, False, False]])
    assert pck(moved, true, there)[0] == 0.5
    assert pck(moved, true, there)[1].isnan()
    assert pck(moved, true, extent=torch.tensor([2.0, 0.4])).tolist() == pytest.approx([1 / 3, 1 / 3])


def test_the_cosine_matcher_finds_a_shifted_picture():
    torch.manual_seed(0)
    source = torch.randn(1, 16, 15, 15)
    target = torch.roll(source, (2, 3), (2, 3))
    cells = torch.tensor([[[4, 5], [7, 9], [0, 11]]])  # column, row
    points = (cells * 2 + 1) / 15 - 1
    moved = (cells + torch.tensor([3, 2])) * 2 / 15 + 1 / 15 - 1
    assert torch.allclose(by_cosine(source, target, points), moved, atol=1e-6)
    corners = cells * 2 / 14 - 1
    assert torch.allclose(
        by_cosine(source, target, corners, corners=True), (cells + torch.tensor([3, 2])) * 2 / 14 - 1, atol=1e-6
    )


def test_the_soft_reading_goes_to_the_same_place():
    torch.manual_seed(0)
    smooth = F.avg_pool2d(torch.randn(1, 32, 17, 17), 3, 1)
    points = torch.tensor([[[-0.2, 0.1], [0.4, 0.3]]])
    moved = by_soft_cosine(smooth, smooth, points, sharpness=200.0)
    assert (moved - points).abs().max() < 0.05
