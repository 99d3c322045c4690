"""Pictures, masks and boxes as they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlcore.training.errors import JobError
from mlcore.training.job import Item
from mlcore.training.pictures import (
    Geometry,
    draw_boxes,
    load_frame,
    read_map,
    read_picture,
    reference_in_window,
    reference_of,
    size_of,
)


def test_a_palette_codes_unknown_important_unimportant(tmp_path: Path) -> None:
    drawn = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), mode="P")
    drawn.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255] + [0] * 759)
    drawn.save(tmp_path / "palette.png")
    assert read_map(tmp_path / "palette.png").tolist() == [[0, 1, -1]]


def test_a_plain_mask_is_important_where_light(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 127, 128, 255]], dtype=np.uint8)).save(tmp_path / "grey.png")
    assert read_map(tmp_path / "grey.png").tolist() == [[-1, -1, 1, 1]]
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bits.png")
    assert read_map(tmp_path / "bits.png").tolist() == [[1, -1]]
    colours = np.array([[[255, 255, 255], [0, 0, 0]]], dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "rgb.png")
    assert read_map(tmp_path / "rgb.png").tolist() == [[1, -1]]


def test_boxes_take_pixels_by_their_centre_and_unite() -> None:
    drawn = draw_boxes([(0.6, 0, 2.5, 1), (3, 1, 9, 9)], (4, 3))
    assert drawn.tolist() == [[-1, 1, -1, -1], [-1, -1, -1, 1], [-1, -1, -1, 1]]


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "picture.png")
    Image.new("L", (6, 8), 255).save(tmp_path / "mask.png")
    item = Item("a", str(tmp_path / "picture.png"), map=str(tmp_path / "mask.png"))
    with pytest.raises(JobError, match=r"mask\.png is 6×8, its picture 8×6"):
        load_frame(item, Geometry(8, "squash"))


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "fake.jpg").write_bytes(b"not a picture")
    with pytest.raises(JobError, match=r"fake\.jpg cannot be read"):
        read_picture(tmp_path / "fake.jpg")
    whole = tmp_path / "whole.png"
    Image.effect_noise((64, 64), 80).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:900])
    with pytest.raises(JobError, match=r"cut\.png cannot be read"):
        read_picture(tmp_path / "cut.png")


def test_a_picture_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = np.zeros((4, 8, 3), dtype=np.uint8)
    picture[:, :4] = 255
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    assert read_picture(tmp_path / "turned.png").size == (4, 8)
    assert size_of(tmp_path / "turned.png") == (4, 8)
    assert np.asarray(read_picture(tmp_path / "turned.png"))[:4].min() == 255


def test_transparent_places_are_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert np.asarray(read_picture(tmp_path / "clear.png")).min() == 255


@pytest.mark.parametrize(
    ("resize", "margin", "size", "scaled", "window"),
    [
        ("squash", False, (100, 50), (56, 56), (0, 0, 100, 50)),
        ("squash", True, (100, 50), (64, 64), (6, 3, 94, 47)),
        ("crop", False, (112, 56), (112, 56), (28, 0, 84, 56)),
        ("crop", False, (224, 112), (112, 56), (56, 0, 168, 112)),
        ("none", False, (60, 58), (60, 58), (2, 1, 58, 57)),
    ],
)
def test_geometry(
    resize: str, margin: bool, size: tuple[int, int], scaled: tuple[int, int], window: tuple[int, ...]
) -> None:
    geometry = Geometry(56, resize, margin)
    assert geometry.scaled(size) == scaled
    assert geometry.window(size) == window


def test_a_picture_smaller_than_the_input_is_refused_without_scaling(tmp_path: Path) -> None:
    Image.new("RGB", (20, 40)).save(tmp_path / "small.png")
    with pytest.raises(JobError, match=r"small\.png is 20×40, smaller"):
        load_frame(Item("a", str(tmp_path / "small.png")), Geometry(32, "none"))


def test_the_reference_is_truth_then_boxes_then_map(tmp_path: Path) -> None:
    Image.new("RGB", (4, 2)).save(tmp_path / "picture.png")
    Image.fromarray(np.array([[255, 0, 0, 0]] * 2, dtype=np.uint8)).save(tmp_path / "truth.png")
    Image.fromarray(np.array([[0, 0, 0, 255]] * 2, dtype=np.uint8)).save(tmp_path / "map.png")
    paths = {"path": str(tmp_path / "picture.png"), "map": str(tmp_path / "map.png")}
    boxes = ((1.0, 0.0, 2.0, 2.0),)
    both = reference_of(Item("a", **paths, boxes=boxes, truth=str(tmp_path / "truth.png")), (4, 2))
    boxed = reference_of(Item("a", **paths, boxes=boxes), (4, 2))
    drawn = reference_of(Item("a", **paths), (4, 2))
    assert [reference[0].tolist().index(True) for reference in (both, boxed, drawn)] == [0, 1, 3]
    assert reference_of(Item("a", paths["path"]), (4, 2)) is None


def test_the_reference_in_the_window_keeps_the_pictures_own_scale(tmp_path: Path) -> None:
    Image.new("RGB", (227, 227)).save(tmp_path / "picture.png")
    item = Item("a", str(tmp_path / "picture.png"), boxes=((0.0, 0.0, 5.0, 227.0),))
    mask = reference_in_window(item, Geometry(224, "none"))
    assert mask is not None
    assert mask.shape == (224, 224)
    assert mask.sum() == 4 * 224  # one column was cut off on the left
