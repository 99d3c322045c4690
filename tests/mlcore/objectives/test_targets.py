"""T: a person's map at the size of the classifier's own (definitions §2)."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcore.objectives.targets import area_reduce, attention_target, gaussian3, nearest


def test_area_by_hand_with_whole_and_broken_cells() -> None:
    mask = torch.tensor([[[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]])
    assert torch.equal(area_reduce(mask, (1, 2)), torch.tensor([[[0.75, 0.0]]]))
    row = torch.tensor([[[1.0, 0.0, 4.0]]])  # cells of 1.5 pixels: (1 + 0/2)/1.5 and (0/2 + 4)/1.5
    assert torch.allclose(area_reduce(row, (1, 2)), torch.tensor([[[2 / 3, 8 / 3]]]))
    assert torch.allclose(area_reduce(row.transpose(1, 2), (2, 1)), torch.tensor([[[2 / 3], [8 / 3]]]))


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 9), st.integers(1, 9))
def test_area_keeps_the_mean(rows: int, columns: int, height: int, width: int) -> None:
    mask = torch.rand(2, rows, columns, dtype=torch.float64)
    reduced = area_reduce(mask, (min(height, rows), min(width, columns)))
    assert torch.allclose(reduced.mean(dim=(1, 2)), mask.mean(dim=(1, 2)))


def test_gaussian_reflects_without_repeating_the_edge() -> None:
    corner = torch.zeros(1, 3, 3)
    corner[0, 0, 0] = 1
    # along a line: (1·v₁ + 2·v₀ + 1·v₁)/4 = 0.5, (v₀ + 2v₁ + v₂)/4 = 0.25, 0
    line = torch.tensor([0.5, 0.25, 0.0])
    assert torch.equal(gaussian3(corner)[0], torch.outer(line, line))
    assert torch.equal(gaussian3(torch.full((1, 1, 1), 3.0)), torch.full((1, 1, 1), 3.0))
    assert torch.equal(gaussian3(torch.tensor([[[4.0, 0.0]]])), torch.tensor([[[2.0, 2.0]]]))


def test_target_by_hand() -> None:
    mask = torch.zeros(2, 6, 6)
    mask[0, :2, :2] = 1  # exactly the first of 3×3 cells
    line = torch.tensor([1.0, 0.5, 0.0])
    target = attention_target(mask, (3, 3))
    assert torch.equal(target[0], torch.outer(line, line))
    assert torch.equal(target[1], torch.zeros(3, 3)), "an empty mask stays zero"


def test_preset_rounds_to_eight_bits_after_each_step() -> None:
    mask = torch.zeros(1, 6, 6)
    mask[0, 0, 0] = 1  # a quarter of the first cell: 63.75 → 64; blurred 16, 8, 4; /16
    line = torch.tensor([1.0, 0.5, 0.0])
    assert torch.equal(attention_target(mask, (3, 3), rounded=True)[0], torch.outer(line, line))
    mask = torch.zeros(1, 30, 30)
    mask[0, 0, 0] = 1  # a hundredth: 2.55 → 3; blurred 0.75 → 1, 0.375 → 0, 0.1875 → 0
    expected = torch.zeros(3, 3)
    expected[0, 0] = 1
    assert torch.equal(attention_target(mask, (3, 3), rounded=True)[0], expected)
    mask[0, 0, 0], mask[0, 10:20, 10:20] = 1, 0
    assert torch.equal(attention_target(mask, (3, 3))[0], torch.outer(line, line)), "unrounded keeps it"


def test_flip_of_the_mask_is_flip_of_the_target() -> None:
    mask = (torch.rand(3, 50, 37, generator=torch.Generator().manual_seed(0)) > 0.7).float()
    for rounded in (False, True):
        target = attention_target(mask, (7, 7), rounded=rounded)
        assert torch.allclose(attention_target(mask.flip(2), (7, 7), rounded=rounded), target.flip(2), atol=1e-6)
        assert target.amax(dim=(1, 2)).tolist() == [1, 1, 1]


def test_nearest_takes_the_value_at_the_centre() -> None:
    drawn = torch.arange(6, dtype=torch.int8)[None, None].expand(1, 4, 6)
    assert nearest(drawn, (2, 3)).tolist() == [[[1, 3, 5], [1, 3, 5]]]
    assert nearest(drawn, (1, 2)).tolist() == [[[1, 4]]]
    assert nearest(drawn, (8, 12))[0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
