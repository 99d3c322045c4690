"""Decoy scenes: what is written, that the mark misleads where it should, and that a seed decides everything."""

import csv
import hashlib

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mlcore.exchange.decoy import (
    CLASSES,
    MARK_COLOURS,
    PARTS,
    decoy_scene,
    decoy_scenes,
    render_decoy,
)

SMALL = {"train": 8, "annotation_pool": 4, "validation": 4, "test": 4}


def _digest(arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def test_an_image_set_is_written_with_its_masks_and_labels(tmp_path):
    seen = []
    labels = render_decoy(
        tmp_path, seed=3, per_part=SMALL, size=64, progress=lambda done, total: seen.append((done, total))
    )

    rows = list(csv.DictReader(labels.open(encoding="utf-8")))
    assert list(rows[0]) == ["file", "label", "class", "split"]
    assert {part: sum(row["split"] == part for row in rows) for part in PARTS} == SMALL
    assert all(CLASSES[int(row["label"])] == row["class"] for row in rows)
    assert seen == [(n, 20) for n in range(1, 21)]
    names = {row["file"] for row in rows}
    assert names == {path.name for path in (tmp_path / "images").iterdir()}
    assert names == {path.name for path in (tmp_path / "masks").iterdir()}
    for row in rows:
        image, mask = Image.open(tmp_path / "images" / row["file"]), Image.open(tmp_path / "masks" / row["file"])
        assert (image.mode, image.size) == ("RGB", (64, 64))
        assert (mask.mode, mask.size) == ("1", (64, 64))
        assert 0.03 < np.asarray(mask).mean() < 0.4


def test_files_hold_what_the_scenes_are(tmp_path):
    render_decoy(tmp_path, seed=5, per_part={"train": 3}, size=48)
    for scene in decoy_scenes(5, per_part={"train": 3}, size=48):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "images" / scene.name)), scene.image)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "masks" / scene.name)), scene.mask)


def test_the_same_seed_gives_the_same_pictures_and_another_seed_others():
    def world(seed):
        scenes = list(decoy_scenes(seed, per_part=SMALL, size=48))
        return _digest([array for scene in scenes for array in (scene.image, scene.mask)])

    assert world(1) == world(1)
    assert world(1) != world(2)


def test_a_scene_does_not_depend_on_how_many_others_there_are():
    alone = decoy_scene(9, "test", 5)
    among = next(s for s in decoy_scenes(9, per_part={"train": 3, "test": 6}) if s.name == alone.name)
    assert np.array_equal(alone.image, among.image)
    assert alone.mark == among.mark


def test_parts_share_no_picture():
    images = [_digest([scene.image]) for scene in decoy_scenes(0, per_part=dict.fromkeys(PARTS, 12), size=48)]
    assert len(set(images)) == 48


def _mark_tells_the_class(part, count=600, **options):
    scenes = [decoy_scene(11, part, index, size=32, **options) for index in range(count)]
    return np.mean([scene.mark == scene.label for scene in scenes])


@pytest.mark.parametrize("part", ["train", "annotation_pool", "validation"])
def test_the_mark_tells_the_class_with_the_stated_share_where_a_classifier_learns(part):
    # 600 draws: three standard deviations are 0.049 at 0.8.
    assert _mark_tells_the_class(part, mark_share=0.8) == pytest.approx(0.8, abs=0.05)


def test_in_the_test_part_the_mark_tells_nothing():
    scenes = [decoy_scene(11, "test", index, size=32, mark_share=1.0) for index in range(800)]
    joint = np.zeros((4, 4))
    for scene in scenes:
        joint[scene.label, scene.mark] += 1
    assert joint.sum(axis=1).tolist() == [200] * 4
    # Each cell expects 50; four standard deviations of a binomial(200, 1/4) are 24.
    assert np.abs(joint - 50).max() < 25


def test_a_share_of_one_always_tells_and_a_share_of_zero_never():
    assert _mark_tells_the_class("train", 60, mark_share=1.0) == 1
    assert _mark_tells_the_class("train", 60, mark_share=0.0) == 0


def _stuck(scene):
    """Where the sticker's inside shows, bool (S,S)."""
    return (scene.image == np.array(MARK_COLOURS[scene.mark])).all(axis=2)


def test_the_sticker_shows_the_colour_of_the_class_it_names_and_never_touches_the_object():
    for index in range(60):
        scene = decoy_scene(2, "train", index)
        stuck = _stuck(scene)
        # Its inside is about 0.11 × 96 ≈ 10 px wide.
        assert 50 <= stuck.sum() <= 200
        near = np.asarray(Image.fromarray(scene.mask).convert("L").filter(ImageFilter.MaxFilter(3))) > 0
        assert not (stuck & near).any()


def test_the_sticker_may_be_anywhere():
    """Its place alone must not tell it from the object: middle and border, left and right, top and bottom."""
    centres = np.array([np.argwhere(_stuck(decoy_scene(3, "train", n, size=64))).mean(axis=0) for n in range(200)])
    assert np.abs(centres.mean(axis=0) - 31.5).max() < 5
    assert centres.min() < 10
    assert centres.max() > 53
    in_the_middle = (np.abs(centres - 31.5) < 12).all(axis=1).mean()
    assert 0.03 < in_the_middle < 0.3


def test_a_world_without_the_mark_holds_the_same_pictures_without_their_stickers():
    for index in range(12):
        with_mark, without = (decoy_scene(4, "train", index, mark=mark) for mark in (True, False))
        assert without.mark is None
        changed = (with_mark.image != without.image).any(axis=2)
        ys, xs = np.nonzero(changed)
        assert np.ptp(ys) <= 16
        assert np.ptp(xs) <= 16
        assert changed.sum() > 50
        assert np.array_equal(with_mark.mask[~changed], without.mask[~changed])


def test_the_mask_is_the_object():
    """Inside the mask the colour is the object's (nearly one hue), and it differs from the ground around."""
    for index in range(16):
        scene = decoy_scene(6, "test", index, mark=False)
        inside = scene.image[scene.mask].astype(float)
        outside = scene.image[~scene.mask].astype(float)
        assert np.linalg.norm(np.median(inside, axis=0) - np.median(outside, axis=0)) > 30


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"part": "holdout"}, "Unknown part 'holdout'"),
        ({"size": 8}, "32 to 1024"),
        ({"classes": 5}, "2 to 4 classes"),
        ({"mark_share": 1.5}, "between 0 and 1"),
    ],
)
def test_a_wrong_option_is_named(options, said):
    with pytest.raises(ValueError, match=said):
        decoy_scene(**{"seed": 0, "part": "train", "index": 0, **options})


def test_a_wrong_option_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="holdout"):
        render_decoy(tmp_path / "new", seed=0, per_part={"train": 2, "holdout": 2})
    assert not (tmp_path / "new").exists()
