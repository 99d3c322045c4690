"""What lies within reach of a mask: scipy's distance transform says the same of every pixel."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from mlcore.metrics import METRICS
from mlcore.metrics.dilation import half_widths, within

# Not whole, roots of whole numbers, as wide as a word of 64 pixels, wider than any picture here.
TOLERANCES = st.one_of(
    st.floats(0, 20), st.integers(0, 6000).map(math.sqrt), st.sampled_from([0, 15, 64, 65, 1e9, math.inf])
)


def masks_of(seed: int, count: int, height: int, width: int) -> np.ndarray:
    """Masks from one pixel to nearly full, some of them empty."""
    drawn = np.random.default_rng(seed)
    return drawn.random((count, height, width)) < drawn.choice([0, 0.003, 0.05, 0.9], (count, 1, 1))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), TOLERANCES, st.integers(1, 30), st.integers(1, 140))
def test_equals_the_distance_transform(seed: int, tolerance: float, height: int, width: int) -> None:
    masks = masks_of(seed, 3, height, width)
    for found, mask in zip(within(masks, tolerance), masks, strict=True):
        near = distance_transform_edt(~mask) < tolerance if mask.any() else mask
        assert np.array_equal(found, near | mask)


def test_rows_of_the_disc_by_hand() -> None:
    assert half_widths(3, 9, 9) == [2, 2, 2]  # √5, √8 < 3
    assert half_widths(5, 9, 9) == [4, 4, 4, 3, 2]  # (5, 0), (4, 3) and (3, 4) are not nearer than 5
    assert half_widths(math.sqrt(2), 9, 9) == [1, 0]  # the diagonal neighbour is as far as that
    assert half_widths(0, 9, 9) == []
    assert half_widths(math.inf, 2, 3) == [2, 2]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), TOLERANCES)
def test_both_pointing_games_look_at_the_same_pixels(seed: int, tolerance: float) -> None:
    """Shares of the map and hits of its maximum against distances; empty masks are left out by name."""
    masks, names = masks_of(seed, 4, 11, 13), list("abcd")
    maps = torch.rand(4, 11, 13, generator=torch.Generator().manual_seed(seed % 2**31))
    games = [METRICS[name](tolerance=tolerance) for name in ("stochastic_pointing", "pointing")]
    for game in games:
        game.update(maps, torch.from_numpy(masks), names)
    for name, heat, mask in zip(names, maps.double().numpy(), masks, strict=True):
        near = (distance_transform_edt(~mask) < tolerance) | mask
        expected = ((heat * near).sum() / heat.sum(), float(near.flat[heat.argmax()]))
        for game, value in zip(games, expected, strict=True):
            assert (name in game.left_out.get("empty mask", [])) == (not mask.any())
            assert game.per_image.get(name) == (pytest.approx(value, rel=1e-6) if mask.any() else None)
