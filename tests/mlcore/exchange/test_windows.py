"""A map lies where the classifier looked: over the whole picture, or over the cut that it saw."""

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from PIL import Image

from mlcore.exchange import windows
from mlcore.exchange.shards import MapUnavailable
from mlcore.exchange.windows import PlacedMap

CORNER = np.array([[1.0, 0.0], [0.0, 0.0]], dtype=np.float32)
MIDDLE = PlacedMap(CORNER, signed=False, picture=(80, 40), window=(20, 0, 60, 40))
WHOLE = PlacedMap(CORNER, signed=False, picture=(80, 40), window=(0, 0, 80, 40))


def test_outside_the_cut_nothing_is_said() -> None:
    drawn = np.asarray(windows.layer(MIDDLE, "overlay", "cividis", 80).convert("RGBA"))
    assert drawn.shape == (40, 80, 4)
    assert (drawn[:, :20, 3] == 0).all()
    assert (drawn[:, 60:, 3] == 0).all()
    assert (drawn[:, 20:60, 3] == 255).all()
    assert drawn[0, 20].tolist() != drawn[39, 59].tolist()  # the corner of the cut, not of the picture


def test_a_spotlight_leaves_the_unseen_dark() -> None:
    drawn = np.asarray(windows.layer(MIDDLE, "spotlight", "cividis", 80).convert("RGBA"))
    assert (drawn[:, :20] == [0, 0, 0, 255]).all()
    assert drawn[0, 20, 3] == 0


def test_the_whole_picture_is_one_layer_of_any_size() -> None:
    assert windows.layer(WHOLE, "map", "magma", 160).size == (160, 80)
    assert windows.layer(WHOLE, "map", "magma", None).size == (80, 40)


def test_over_its_picture_at_full_strength_is_the_layer_and_at_none_the_picture() -> None:
    picture = Image.new("RGB", (80, 40), (200, 10, 10))
    full = windows.over(MIDDLE, picture, opacity=1.0)
    layer = windows.layer(MIDDLE, "overlay", "cividis", None).convert("RGBA")
    assert np.array_equal(np.asarray(full)[:, 20:60], np.asarray(layer)[:, 20:60, :3])
    assert (np.asarray(full)[:, :20] == (200, 10, 10)).all()
    assert np.array_equal(np.asarray(windows.over(MIDDLE, picture, opacity=0.0)), np.asarray(picture))


def test_the_strongest_value() -> None:
    values = np.array([[-3.0, 2.0]], dtype=np.float32)
    assert PlacedMap(values, True, (2, 1), (0, 0, 2, 1)).reach == 3.0
    assert PlacedMap(values, False, (2, 1), (0, 0, 2, 1)).reach == 2.0


def test_numbers_there_and_back_and_what_is_no_map() -> None:
    name = default_storage.save("inquiries/a-map.npy", ContentFile(windows.npy(CORNER)))
    assert np.array_equal(windows.read_map(name), CORNER)
    for content in (b"", b"text", windows.npy(np.zeros(3, dtype=np.float32))):
        bad = default_storage.save("inquiries/b-map.npy", ContentFile(content))
        with pytest.raises(MapUnavailable):
            windows.read_map(bad)
    with pytest.raises(MapUnavailable):
        windows.read_map("inquiries/nowhere.npy")
