"""Maps as layers and files: places in the colour tables by hand, white for zero, numbers that come back."""

import io

import numpy as np
import pytest
from PIL import Image as Pictures

from mlcore.exchange import layers, render
from mlcore.exchange.colormaps import COLORMAPS, DIVERGING
from mlcore.models import ExplanationSet
from tests.annotation.factories import explain, images

pytestmark = pytest.mark.django_db


def one(values, method: str = "grad_cam"):
    """An explanation of a 12 × 8 picture with this map."""
    made = explain(images(1), maps=np.asarray([values], dtype=np.float32))
    ExplanationSet.objects.filter(pk=made.pk).update(method=method)
    return made.explanations.select_related("image", "set", "set__classifier").get()


def pixels(picture: Pictures.Image, mode: str = "RGB") -> np.ndarray:
    return np.asarray(picture.convert(mode))


def test_zero_is_white_and_the_sides_are_red_and_blue():
    assert DIVERGING[128].tolist() == [255, 255, 255]
    assert DIVERGING[255].tolist() == [103, 0, 31]  # for the class
    assert DIVERGING[1].tolist() == DIVERGING[0].tolist() == [5, 48, 97]  # against it
    seen = pixels(layers.layer(one([[-2.0, 0.0, 1.0]], "input_x_gradient"), "map", "cividis", (3, 1)))
    # −2 is the largest absolute value: it takes the end, 1 takes half of the way to the other.
    assert seen[0].tolist() == [DIVERGING[1].tolist(), [255, 255, 255], DIVERGING[192].tolist()]


def test_a_map_without_a_sign_is_clamped_and_takes_the_chosen_colours():
    row = one([[-2.0, 0.0, 1.0]])  # a CAM's negative values say nothing
    seen = pixels(layers.layer(row, "overlay", "magma", (3, 1)))
    assert seen[0].tolist() == [COLORMAPS["magma"][place].tolist() for place in (0, 0, 255)]
    chosen = pixels(layers.layer(row, "overlay", "rdbu", (3, 1)))
    assert chosen[0].tolist() == [[255, 255, 255], [255, 255, 255], [103, 0, 31]]


def test_options_that_clamp_a_map_take_its_sign_away():
    row = one([[-1.0, 1.0]], "input_x_gradient")
    assert layers.is_signed(row)
    row.set.options = {"channels": "abs_sum"}
    assert not layers.is_signed(row)
    row.set.options, row.set.preset = {}, "harmony"
    assert not layers.is_signed(row)


def test_a_common_scale_is_the_given_value():
    row = one([[0.0, 1.0]])
    half = pixels(layers.layer(row, "map", "cividis", (2, 1), 2.0))
    assert half[0, 1].tolist() == COLORMAPS["cividis"][128].tolist()
    over = pixels(layers.layer(row, "map", "cividis", (2, 1), 0.5))
    assert over[0, 1].tolist() == COLORMAPS["cividis"][255].tolist()
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="positive"):
            layers.layer(row, "map", "cividis", (2, 1), bad)
    assert layers.extent(row, np.array([-3.0, 2.0])) == 2.0
    assert layers.extent(one([[0.0]], "lrp"), np.array([-3.0, 2.0])) == 3.0


def test_a_spotlight_is_dark_where_the_map_is_not():
    seen = pixels(layers.layer(one([[0.0, 0.5, 1.0]]), "spotlight", "cividis", (3, 1)), "RGBA")
    assert seen[0].tolist() == [[0, 0, 0, 255], [0, 0, 0, 127], [0, 0, 0, 0]]


def test_contours_leave_the_rest_clear():
    ramp = np.tile(np.linspace(-1, 1, 64, dtype=np.float32), (64, 1))
    plain = pixels(layers.layer(one(ramp), "contour", "cividis", (64, 64)), "RGBA")
    assert (plain[:, :30, 3] == 0).all()
    assert plain[:, 32:, 3].any()
    signed = pixels(layers.layer(one(ramp, "input_x_gradient"), "contour", "cividis", (64, 64)), "RGBA")
    left, right = signed[5, :32], signed[5, 32:]
    assert any(blue > red for red, _, blue, alpha in left.tolist() if alpha == 255)
    assert any(red > blue for red, _, blue, alpha in right.tolist() if alpha == 255)


def test_what_is_not_finite_or_empty_is_drawn_as_nothing():
    for values in ([[np.nan, np.inf]], [[0.0, 0.0]]):
        seen = pixels(layers.layer(one(values), "map", "cividis", (2, 1)))
        assert seen[0].tolist() == [COLORMAPS["cividis"][0].tolist()] * 2


def test_files_give_the_numbers_back():
    values = np.array([[0.25, -1.0, 3.0], [np.nan, 0.5, 2.0]], dtype=np.float32)
    row = one(values)
    np.testing.assert_array_equal(np.load(io.BytesIO(layers.raw_npy(row)), allow_pickle=False), values)
    grey = Pictures.open(io.BytesIO(layers.grey_png(row)))
    low, high = float(grey.text["minimum"]), float(grey.text["maximum"])
    back = low + np.asarray(grey).astype(float) / 65_535 * (high - low)
    np.testing.assert_allclose(back, np.nan_to_num(values), atol=4 / 65_535)
    coloured = Pictures.open(io.BytesIO(layers.rendered_png(row, "cividis")))
    assert coloured.size == (row.image.width, row.image.height)


def test_an_overlay_of_a_map_with_a_sign_shows_both_sides():
    row = one([[-1.0, 0.0, 1.0]], "lrp")
    seen = pixels(layers.over_its_image(row, "overlay", 96)).astype(float)
    bare = pixels(render.enlarged(row.image, 96)).astype(float)
    for column, place in ((0, 1), (-1, 255)):  # blue against, red for: six tenths of it
        np.testing.assert_allclose(seen[:, column], 0.4 * bare[:, column] + 0.6 * DIVERGING[place], atol=1.5)
    with pytest.raises(ValueError, match="style"):
        layers.layer(row, "neon", "cividis", (2, 1))
    with pytest.raises(ValueError, match="colour map"):
        layers.layer(row, "map", "jet", (2, 1))
