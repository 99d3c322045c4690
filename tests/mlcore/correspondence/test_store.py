"""Galleries on the disk: what is kept, what is computed again, and for whom."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mlcore.catalogue.gallery_key import hash_of
from mlcore.catalogue.gallery_size import size_of
from mlcore.correspondence import store
from mlcore.correspondence.gallery import Gallery, GalleryMissing
from mlcore.correspondence.store import GalleryCancelled, update
from tests.mlcore.correspondence.pictures_of_numbers import KEY, SHAPE, Counting, cells_of, items_of


def made(folder: Path, numbers: list[int], **options) -> tuple[Gallery, Counting]:
    describe = Counting(numbers)
    return update(folder, KEY, items_of(numbers), describe, **options), describe


def assert_holds(gallery: Gallery, numbers: list[int]) -> None:
    """Exactly these images, in this order, with their own features in half precision."""
    cells = cells_of(numbers)
    assert gallery.ids == [name for name, _ in items_of(numbers)]
    assert gallery.row_of == {name: row for row, name in enumerate(gallery.ids)}
    assert torch.equal(gallery.spatial(range(len(numbers))), cells.half().float())
    assert torch.equal(gallery.pooled(), cells.double().mean(dim=(2, 3)).half().float())


def test_features_come_back_in_half_precision_and_are_mapped_from_the_file(tmp_path):
    numbers = list(range(20))
    gallery, describe = made(tmp_path, numbers, batch=8)
    assert describe.batches == [numbers[:8], numbers[8:16], numbers[16:]]
    opened = Gallery.open(tmp_path)
    for one in (gallery, opened):
        assert_holds(one, numbers)
    assert opened.shape == SHAPE
    assert opened.key == KEY
    assert len(opened) == 20
    assert isinstance(opened._blocks[0].cells, np.memmap)
    assert opened._blocks[0].cells.dtype == np.float16
    assert torch.equal(opened.spatial([7, 3, 7]), cells_of([7, 3, 7]).half().float())
    assert torch.equal(opened.pooled(torch.tensor([2])), opened.pooled()[2:3])
    assert torch.equal(opened.pooled_rows[4:9].float(), opened.pooled()[4:9])
    with pytest.raises(IndexError, match="rows 0 to 19"):
        opened.spatial([20])


def test_the_size_is_known_before(tmp_path):
    numbers = list(range(300))
    gallery, _ = made(tmp_path, numbers)
    on_disk = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert gallery.nbytes == on_disk
    said = size_of(300, *SHAPE)
    assert said - 300 * 2 * (6 * 6 + 6) > 0  # what is said of the images counts too
    # A file's head and its rounding to pages come on top, whatever the number of images.
    assert abs(on_disk - said) < 3 * 4096 + 2048


def test_only_new_pictures_are_computed_and_removed_ones_leave(tmp_path):
    made(tmp_path, [1, 2, 3, 4])
    gallery, describe = made(tmp_path, [5, 4, 2, 6])
    assert describe.asked == [5, 6]
    assert_holds(gallery, [5, 4, 2, 6])
    gallery, describe = made(tmp_path, [6, 2])
    assert describe.asked == []
    assert_holds(gallery, [6, 2])
    assert_holds(Gallery.open(tmp_path), [6, 2])


def test_a_picture_is_known_by_its_hash_not_by_its_name(tmp_path):
    made(tmp_path, [1, 2])
    describe = Counting([9, 2, 2])
    items = [("image 1", items_of([9])[0][1]), ("other name", items_of([2])[0][1]), ("copy", items_of([2])[0][1])]
    gallery = update(tmp_path, KEY, items, describe)
    assert describe.asked == [9]  # the same name with another picture
    assert torch.equal(gallery.spatial([0, 1, 2]), cells_of([9, 2, 2]).half().float())
    fresh = Counting([7, 7, 7])
    update(tmp_path / "copies", KEY, [(name, items_of([7])[0][1]) for name in "abc"], fresh)
    assert fresh.asked == [7]


def test_a_part_of_the_set_leaves_the_others_there(tmp_path):
    made(tmp_path, [1, 2, 3])
    gallery, describe = made(tmp_path, [3, 4], whole=False)
    assert describe.asked == [4]
    assert_holds(gallery, [3, 4, 1, 2])
    gallery, describe = made(tmp_path, [1, 2, 3, 4])
    assert describe.asked == []
    assert_holds(gallery, [1, 2, 3, 4])


def test_a_cancelled_update_goes_on_where_it_stopped(tmp_path):
    numbers = list(range(10))
    asked = iter([False, False, True])
    describe = Counting(numbers)
    with pytest.raises(GalleryCancelled):
        update(tmp_path, KEY, items_of(numbers), describe, batch=3, cancelled=lambda: next(asked))
    assert describe.asked == numbers[:6]
    with pytest.raises(GalleryMissing):  # what is not finished is no gallery
        Gallery.open(tmp_path)
    seen: list[tuple[int, int]] = []
    gallery, describe = made(tmp_path, numbers, batch=3, progress=lambda *done: seen.append(done))
    assert describe.asked == numbers[6:]
    assert seen == [(3, 4), (4, 4)]
    assert_holds(gallery, numbers)


def test_what_was_computed_before_a_picture_failed_stays(tmp_path):
    describe = Counting([1, 2, 3, 4])

    def fails(positions):
        if 2 in positions:
            raise RuntimeError("The picture cannot be read.")
        return describe(positions)

    with pytest.raises(RuntimeError, match="cannot be read"):
        update(tmp_path, KEY, items_of([1, 2, 3, 4]), fails, batch=1)
    gallery, describe = made(tmp_path, [1, 2, 3, 4])
    assert describe.asked == [3, 4]
    assert_holds(gallery, [1, 2, 3, 4])


def test_many_small_blocks_become_few(tmp_path):
    for last in range(1, store.WORN + 1):
        gallery, _ = made(tmp_path, list(range(last)))
        files = len(list(tmp_path.glob("*.block")))
        assert files == (last if last < store.WORN else 1)
    assert_holds(gallery, list(range(store.WORN)))
    assert_holds(Gallery.open(tmp_path), list(range(store.WORN)))


def test_blocks_that_nobody_needs_are_deleted(tmp_path):
    made(tmp_path, [1, 2, 3])
    before = set(tmp_path.glob("*.block"))
    gallery, _ = made(tmp_path, [4, 5])
    assert not before & set(tmp_path.glob("*.block"))
    assert_holds(gallery, [4, 5])


def test_a_reader_keeps_what_it_opened_while_the_gallery_changes(tmp_path):
    made(tmp_path, [1, 2, 3])
    reader = Gallery.open(tmp_path)
    made(tmp_path, [4, 5])
    assert_holds(reader, [1, 2, 3])


def test_blocks_are_filled_up_to_their_size(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "BLOCK_BYTES", 4 * 2 * 36)  # four images
    numbers = list(range(11))
    gallery, _ = made(tmp_path, numbers, batch=2)
    assert [len(block.hashes) for block in gallery._blocks] == [4, 4, 3]
    assert_holds(gallery, numbers)
    assert torch.equal(gallery.pooled_rows[2:9].float(), gallery.pooled()[2:9])  # across three files


@pytest.mark.parametrize(
    ("items", "sentence"),
    [([], "at least one image"), ([("a", "1"), ("a", "2")], "a name of its own")],
)
def test_items_that_make_no_gallery_are_refused(tmp_path, items, sentence):
    with pytest.raises(ValueError, match=sentence):
        update(tmp_path, KEY, items, Counting([1, 2]))


def test_features_of_another_key_are_not_mixed_in(tmp_path):
    made(tmp_path, [1])
    with pytest.raises(ValueError, match="another layer, weights or transform"):
        update(tmp_path, KEY | {"layer": "other"}, items_of([1]), Counting([1]))
    assert_holds(Gallery.open(tmp_path), [1])


def test_a_key_is_known_whatever_its_order():
    assert hash_of(dict(reversed(KEY.items()))) == hash_of(KEY)
    assert hash_of(KEY | {"layer": "other"}) != hash_of(KEY)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 7e4])
def test_features_beyond_half_precision_name_their_image(tmp_path, bad):
    def describe(positions):
        cells = cells_of([1, 2, 3])
        cells[1, 0, 0, 0] = bad
        return cells[list(positions)]

    with pytest.raises(ValueError, match="image 2 are not finite"):
        update(tmp_path, KEY, items_of([1, 2, 3]), describe)


def test_cells_of_another_shape_are_refused(tmp_path):
    made(tmp_path, [1])
    with pytest.raises(ValueError, match=r"\(6, 2, 4\) here and \(6, 2, 3\)"):
        update(tmp_path, KEY, items_of([1, 2]), Counting([1, 2], (6, 2, 4)))
    with pytest.raises(ValueError, match=r"need cells \(1, C, h, w\)"):
        update(tmp_path / "flat", KEY, items_of([1]), lambda positions: torch.zeros(1, 6))
