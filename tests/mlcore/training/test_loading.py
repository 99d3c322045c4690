"""Loader processes: what they read is what would be read without them, epoch after epoch; how long a step waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mlcore.training.data import Augmentation, BatchLoader, Frames, RawBatch, batches_of
from mlcore.training.job import Item
from mlcore.training.pictures import Geometry
from mlcore.training.waiting import Waiting
from tests.mlcore.training.worlds import make_items

FIELDS = ("images", "labels", "maps", "has_map", "w_p", "w_a")


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    made = make_items(tmp_path, 14, size=40)
    return [Item(one["id"], one["path"], one["label"], map=one["map"], w_a=1.0) for one in made]


def loader_of(items: list[Item], workers: int) -> BatchLoader:
    frames = Frames(items, Geometry(32, "squash", margin=True), supervision="maps", cache=False)
    augmentation = Augmentation(flip=True, random_crop=True)
    return BatchLoader(frames, 4, seed=3, augmentation=augmentation, shuffle=True, workers=workers)


def assert_equal(first: list[RawBatch], second: list[RawBatch]) -> None:
    assert [raw.ids for raw in first] == [raw.ids for raw in second]
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


def test_the_number_of_loader_processes_changes_nothing(items: list[Item]) -> None:
    here, there = loader_of(items, 0), loader_of(items, 2)
    for epoch, start in ((0, 0), (1, 0), (1, 2), (0, 0)):
        assert_equal(list(here.epoch(epoch, start)), list(there.epoch(epoch, start)))
    begun = there.epoch(5)
    next(begun)  # an epoch that is broken off leaves nothing behind for the next
    assert_equal(list(here.epoch(6)), list(there.epoch(6)))
    there.close()
    assert_equal(list(here.epoch(7)), list(there.epoch(7)))


def test_loader_processes_stay_from_epoch_to_epoch(items: list[Item]) -> None:
    loader = loader_of(items, 2)
    seen = []
    for epoch in range(3):
        list(loader.epoch(epoch))
        assert loader._loader is not None
        seen.append([worker.pid for worker in loader._loader._iterator._workers])
    assert len(seen[0]) == 2
    assert seen[0] == seen[1] == seen[2]
    workers = loader._loader._iterator._workers
    loader.close()
    assert not any(worker.is_alive() for worker in workers)


def test_what_is_left_over_gives_each_process_an_image() -> None:
    assert [len(batch) for batch in batches_of(19, 8, 4)] == [8, 11]
    assert [len(batch) for batch in batches_of(20, 8, 4)] == [8, 8, 4]


def test_the_share_of_waiting_by_hand() -> None:
    now = [0.0]

    def slow() -> Iterator[int]:
        for number in range(4):
            now[0] += 1.0
            yield number

    waiting = Waiting(clock=lambda: now[0])
    assert waiting.sentence(1) == ""  # nothing was seen
    for _ in waiting.of(slow()):
        now[0] += 3.0
    assert waiting.share == pytest.approx(0.25)
    assert waiting.sentence(1) == "Epoch 1: waiting for pictures: 25 % of the time."
    said = [bool(waiting.sentence(epoch)) for epoch in range(2, 14)]
    assert said == [True] * 8 + [False] * 4  # later it is news only where it has changed
    for _ in waiting.of(slow()):
        now[0] += 9.0
    assert waiting.sentence(14) == "Epoch 14: waiting for pictures: 10 % of the time."
