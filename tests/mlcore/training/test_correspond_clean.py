"""Pictures that are left out, and where cells lie on a picture."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from mlcore.training.correspond_clean import (
    GREY,
    SAME_FILE,
    SAME_LOOK,
    SMALL,
    Cleaner,
    difference_hash,
    is_grey,
)
from mlcore.training.correspond_rows import Places
from mlcore.training.correspond_search import Found
from mlcore.training.events import Reporter
from mlcore.training.job import Item
from mlcore.training.pictures import Geometry


def scene(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """Coloured shapes that no other seed has."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def item(folder: Path, name: str, picture: Image.Image, key: str = "", **options) -> Item:
    path = folder / name
    picture.save(path, **options)
    return Item(id=name, path=str(path), key=key or name)


def cleaner(**recipe) -> Cleaner:
    return Cleaner(recipe, Reporter(lambda event: None), lambda: False)


def test_grey_is_what_has_no_colour_also_after_jpeg(tmp_path: Path) -> None:
    coloured = scene(1)
    grey = coloured.convert("L").convert("RGB")
    item(tmp_path, "grey.jpg", grey, quality=30)
    assert is_grey(grey)
    assert is_grey(Image.open(tmp_path / "grey.jpg"))
    assert not is_grey(coloured)
    assert not is_grey(ImageEnhance.Color(coloured).enhance(0.4))  # pale, and still in colour
    sepia = Image.merge("RGB", [grey.getchannel(0).point(lambda v, f=f: int(v * f)) for f in (1.0, 0.85, 0.6)])
    assert not is_grey(sepia)


def test_a_picture_looks_the_same_when_scaled_recompressed_or_a_little_brighter(tmp_path: Path) -> None:
    one = scene(2)
    one.save(tmp_path / "one.jpg", quality=40)
    same = [one.resize((60, 45)), Image.open(tmp_path / "one.jpg"), ImageEnhance.Brightness(one).enhance(1.1)]
    assert all((difference_hash(one) != difference_hash(other)).sum() <= 10 for other in same)
    others = [scene(seed) for seed in range(3, 40)]
    assert min((difference_hash(one) != difference_hash(other)).sum() for other in others) > 20


def test_each_image_counts_under_the_first_reason(tmp_path: Path) -> None:
    small_grey = item(tmp_path, "a.png", scene(4, (40, 200)).convert("L"))
    grey, kept = item(tmp_path, "b.png", scene(5).convert("L")), item(tmp_path, "c.png", scene(6))
    clean = cleaner(drop_small=64, drop_grey=True)
    assert clean.alone([small_grey, grey, kept]) == [kept]
    assert clean.left_out == {SMALL: 1, GREY: 1}
    assert cleaner().alone([small_grey, grey]) == [small_grey, grey]


def test_duplicates_are_found_by_file_and_by_look_among_the_nearest(tmp_path: Path) -> None:
    picture = scene(7)
    gallery = [item(tmp_path, "g0.png", picture, "same"), item(tmp_path, "g1.png", scene(8))]
    file = item(tmp_path, "q0.png", picture, "same")
    look = item(tmp_path, "q1.png", picture.resize((80, 60)), "other")
    far = item(tmp_path, "q2.png", picture.resize((80, 60)), "far")
    new = item(tmp_path, "q3.png", scene(9))
    # Of the one that is far its look is not asked: its features say that it is another picture.
    found = Found(torch.tensor([[0, 1]] * 4), torch.tensor([[0.99, 0.5], [0.97, 0.5], [0.4, 0.3], [0.95, 0.92]]))
    clean = cleaner(drop_duplicates=True)
    kept, left = clean.beside_gallery([file, look, far, new], found, gallery)
    assert kept == [far, new]
    assert left.scores.tolist() == found.scores[2:].tolist()
    assert clean.left_out == {SAME_FILE: 1, SAME_LOOK: 1}
    # An image of the gallery itself is no duplicate of itself.
    own = cleaner(drop_duplicates=True)
    kept, _ = own.beside_gallery([gallery[0]], Found(torch.tensor([[1]]), torch.tensor([[0.5]])), gallery)
    assert kept == [gallery[0]]


@pytest.mark.parametrize(
    ("resize", "cell", "expected"),
    [
        ("squash", 0, [0.0, 0.0, 0.25, 0.5]),
        ("squash", 7, [0.75, 0.5, 1.0, 1.0]),
        # 200 × 100: the classifier sees the middle half, whose cells are half as wide.
        ("crop", 0, [0.25, 0.0, 0.375, 0.5]),
        ("crop", 7, [0.625, 0.5, 0.75, 1.0]),
    ],
)
def test_cells_lie_on_the_whole_picture(tmp_path: Path, resize: str, cell: int, expected: list[float]) -> None:
    wide = item(tmp_path, "wide.png", scene(1, (200, 100)))
    assert Places(Geometry(32, resize), (2, 4)).corners(wide, cell) == pytest.approx(expected, abs=0.01)
