"""Batches: order, chance, and pictures that move together with their maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mlcore.training.data import Augmentation, BatchLoader, Frames, batches_of, to_input
from mlcore.training.job import Item
from mlcore.training.pictures import Geometry


@pytest.fixture
def marked(tmp_path: Path) -> list[Item]:
    """24 dark pictures of 40×36 with one bright 3×3 mark each, and masks that mark the same place."""
    rng = np.random.default_rng(0)
    items = []
    for index in range(24):
        top, left = rng.integers(6, 28, 2)
        picture = np.zeros((36, 40, 3), dtype=np.uint8)
        picture[top : top + 3, left : left + 3] = 255
        Image.fromarray(picture).save(tmp_path / f"{index}.png")
        Image.fromarray(picture[..., 0]).save(tmp_path / f"{index}-mask.png")
        mask = str(tmp_path / f"{index}-mask.png")
        items.append(Item(f"m{index}", str(tmp_path / f"{index}.png"), 0, map=mask, truth=mask, w_a=1.0))
    return items


def all_of(loader: BatchLoader, epoch: int, start: int = 0) -> dict[str, tuple[torch.Tensor, ...]]:
    found = {}
    for raw in loader.epoch(epoch, start):
        assert raw.maps is not None
        assert raw.truths is not None
        for row, name in enumerate(raw.ids):
            found[name] = (raw.images[row], raw.maps[row], raw.truths[row])
    return found


@pytest.mark.parametrize("resize", ["none", "squash", "crop"])
def test_the_mark_is_in_the_same_place_in_picture_map_and_truth(marked: list[Item], resize: str) -> None:
    frames = Frames(marked, Geometry(32, resize, margin=True), supervision="maps", reference=True)
    loader = BatchLoader(frames, 8, seed=1, augmentation=Augmentation(flip=True, random_crop=True), shuffle=True)
    places = set()
    for epoch in range(3):
        for image, drawn, truth in all_of(loader, epoch).values():
            bright = (image[..., 0] >= 128).nonzero().float()
            if not len(bright):
                continue  # the cut left the mark out
            assert torch.equal(drawn == 1, truth)
            assert (bright.mean(0) - truth.nonzero().float().mean(0)).abs().max() <= 0.75
            places.add(tuple(bright.mean(0).tolist()))
    assert len(places) > 30  # chance did move them


def test_the_released_flip_moves_the_picture_only(marked: list[Item]) -> None:
    frames = Frames(marked, Geometry(36, "none"), supervision="maps", reference=True)
    plain = all_of(BatchLoader(frames, 8), 0)
    together = all_of(BatchLoader(frames, 8, seed=3, augmentation=Augmentation(flip=True)), 0)
    released = all_of(BatchLoader(frames, 8, seed=3, augmentation=Augmentation(flip=True, flip_moves_maps=False)), 0)
    flipped = 0
    for name, (image, drawn, _) in plain.items():
        assert torch.equal(released[name][0], together[name][0])
        assert torch.equal(released[name][1], drawn)
        if torch.equal(together[name][0], image.flip(1)) and not torch.equal(image, image.flip(1)):
            assert torch.equal(together[name][1], drawn.flip(1))
            flipped += 1
    assert 4 <= flipped <= 20


def test_chance_depends_on_seed_epoch_and_image_alone(marked: list[Item]) -> None:
    geometry = Geometry(32, "none")
    chance = Augmentation(flip=True, random_crop=True)

    def seen(items: list[Item], *, seed: int, epoch: int, batch: int, workers: int = 0) -> dict[str, bytes]:
        frames = Frames(items, geometry, supervision="maps", reference=True)
        loader = BatchLoader(frames, batch, seed=seed, augmentation=chance, shuffle=True, workers=workers)
        return {name: parts[0].numpy().tobytes() for name, parts in all_of(loader, epoch).items()}

    base = seen(marked, seed=1, epoch=2, batch=8)
    assert seen(marked, seed=1, epoch=2, batch=5) == base
    assert seen(marked, seed=1, epoch=2, batch=8, workers=2) == base
    fewer = seen(marked[3:], seed=1, epoch=2, batch=8)
    assert all(fewer[name] == base[name] for name in fewer)
    assert seen(marked, seed=2, epoch=2, batch=8) != base
    assert seen(marked, seed=1, epoch=3, batch=8) != base


def test_an_epoch_can_be_taken_up_in_the_middle(marked: list[Item]) -> None:
    frames = Frames(marked, Geometry(32, "none"))
    loader = BatchLoader(frames, 7, seed=1, shuffle=True)
    whole = [raw.ids for raw in loader.epoch(4)]
    assert [raw.ids for raw in loader.epoch(4, start=2)] == whole[2:]
    assert sorted(name for ids in whole for name in ids) == sorted(item.id for item in marked)
    assert whole != [raw.ids for raw in loader.epoch(5)]


def test_processes_share_each_batch(marked: list[Item]) -> None:
    frames = Frames(marked, Geometry(32, "none"))
    whole = BatchLoader(frames, 8, seed=1, shuffle=True).order(0)
    shares = [BatchLoader(frames, 8, seed=1, shuffle=True, rank=rank, processes=2).order(0) for rank in (0, 1)]
    for batch, first, second in zip(whole, *shares, strict=True):
        assert sorted(first + second) == sorted(batch)


def test_no_batch_of_a_single_image_is_left_over() -> None:
    assert [len(batch) for batch in batches_of(17, 8)] == [8, 9]
    assert [len(batch) for batch in batches_of(18, 8)] == [8, 8, 2]
    assert [len(batch) for batch in batches_of(1, 8)] == [1]


def test_weight_without_a_map_does_nothing(marked: list[Item], tmp_path: Path) -> None:
    bare = Item("bare", marked[0].path, 0, w_p=0.4, w_a=1.6)
    (raw,) = BatchLoader(Frames([bare, marked[1]], Geometry(32, "none"), supervision="maps"), 2).epoch()
    assert raw.w_a.tolist() == [0.0, 1.0]
    assert raw.has_map.tolist() == [False, True]
    assert raw.w_p.tolist() == pytest.approx([0.4, 1.0])


def test_frames_stay_in_memory_up_to_the_limit(marked: list[Item]) -> None:
    one = 40 * 36 * 3
    frames = Frames(marked, Geometry(32, "none"), cache_bytes=5 * one)
    assert frames.keep() == 5
    Path(marked[0].path).unlink()
    assert frames[0].image.shape == (36, 40, 3)
    assert Frames(marked[1:], Geometry(32, "none"), cache=False).keep() == 0


def test_normalisation_is_that_of_imagenet() -> None:
    images = torch.tensor([0, 128, 255], dtype=torch.uint8).expand(2, 4, 4, 3)
    values = to_input(images, "imagenet")
    expected = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert values[0, :, 0, 0].tolist() == pytest.approx(expected, abs=1e-6)
    assert to_input(images, "none")[0, :, 0, 0].tolist() == pytest.approx([0, 128 / 255, 1])
    assert to_input(images, "none", channels_last=True).is_contiguous(memory_format=torch.channels_last)


def test_chance_follows_the_file_not_the_id(tmp_path: Path) -> None:
    """The same pictures imported twice, under other ids, come in the same order with the same flips."""
    first, second = [], []
    for index in range(12):
        path = tmp_path / f"{index}.png"
        Image.fromarray(np.full((8, 8, 3), index * 20, np.uint8)).save(path)
        first.append(Item(f"a{index}", str(path), 0, key=f"hash{index}"))
        second.append(Item(f"z{11 - index}", str(path), 0, key=f"hash{index}"))
    geometry = Geometry(8, "none")
    orders = [BatchLoader(Frames(items, geometry), 4, seed=3, shuffle=True).order(epoch=1) for items in (first, second)]
    assert orders[0] == orders[1]
    plain = BatchLoader(Frames([Item(i.id, i.path, 0) for i in first], geometry), 4, seed=3, shuffle=True).order(1)
    assert plain != orders[0]
