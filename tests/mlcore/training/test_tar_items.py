"""Training from tar shards: as from files in the same order, resumed exactly, in memory that does not grow."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlcore.tars.index import read
from mlcore.tars.writing import write
from mlcore.training import tar_items as module
from mlcore.training.data import Augmentation, BatchLoader, Frames
from mlcore.training.errors import JobError
from mlcore.training.jobs import CANCELLED, FAILED
from mlcore.training.keyed import shuffled
from mlcore.training.pictures import Geometry, read_picture, size_of
from mlcore.training.tar_items import WINDOW, TarItems, tar_items
from tests.mlcore.tars.samples import png
from tests.mlcore.training.test_loop import assert_equal, run, weights_of
from tests.mlcore.training.worlds import make_items, make_job

CLASSES = [f"class {number}" for number in range(3)]


@pytest.fixture
def files(tmp_path: Path) -> list[dict[str, Any]]:
    """Pictures as files."""
    return make_items(tmp_path / "files", 22, mask=False)


@pytest.fixture
def shards(tmp_path: Path, files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same pictures in tars of 4; every other tar has names of classes instead of numbers."""
    samples = (
        (item["id"], {"png": Path(item["path"]).read_bytes(), "cls": _label(number, item["label"])})
        for number, item in enumerate(files)
    )
    return told(write(samples, tmp_path / "shards", name="t", size=4).shards, tmp_path)


def _label(number: int, label: int) -> bytes:
    return (CLASSES[label] if number // 4 % 2 else str(label)).encode()


def told(paths: tuple[Path, ...], folder: Path) -> list[dict[str, Any]]:
    return [{"tar": str(path), "indexes": str(folder / "indexes"), "sha256": read(path).digest()} for path in paths]


def sharded(workdir: Path, shards: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    return make_job(workdir, {}, **options) | {"shards": shards}


def test_items_are_the_samples_in_their_order(files, shards) -> None:
    items = tar_items(shards, CLASSES)
    assert len(items) == 22
    assert [item.label for item in items] == [item["label"] for item in files]
    assert [item.id for item in items[3:5]] == ["t-000000/i003", "t-000001/i004"]
    assert items[-1].id == "t-000005/i021"
    for item, file in zip(items, files, strict=True):
        assert np.array_equal(read_picture(item.path), read_picture(file["path"]))
        assert size_of(item.path) == (32, 32)
    with pytest.raises(IndexError):
        items[22]
    assert tar_items(shards, [], labelled=False)[0].label is None


def test_the_order_is_a_permutation_keyed_by_seed_and_epoch_and_goes_by_windows(tmp_path) -> None:
    samples = ((f"{number:04d}", {"png": b"p"}) for number in range(120))
    items = tar_items(told(write(samples, tmp_path, size=5).shards, tmp_path), [], labelled=False)
    order = items.order(3, 0)
    assert sorted(order) == list(range(120))
    assert order.tolist() == items.order(3, 0).tolist()
    assert order.tolist() != items.order(3, 1).tolist()
    assert order.tolist() != items.order(4, 0).tolist()
    for first in range(0, 120, 5 * WINDOW):
        window = order[first : first + 5 * WINDOW]
        assert len(set(window // 5)) == WINDOW, "pictures of so many shards and no other"
        assert (np.diff(window) < 0).any()
    # As it always was: a checkpoint of an earlier version goes on in the same order.
    assert order[:6].tolist() == EARLIER


EARLIER = [2, 64, 88, 111, 73, 71]


def test_batches_are_those_of_files_and_do_not_depend_on_who_loads_them(files, shards, tmp_path) -> None:
    items = tar_items(shards, CLASSES)
    own = TarItems(items.tars, items.indexes, items.labels)

    def batches(workers: int, rank: int = 0, processes: int = 1, start: int = 0):
        frames = Frames(own, Geometry(28, "none"), cache=False)
        loader = BatchLoader(
            frames, 4, seed=2, augmentation=Augmentation(flip=True, random_crop=True), shuffle=True, workers=workers,
            rank=rank, processes=processes,
        )  # fmt: skip
        found = [(raw.ids, raw.images.clone(), raw.labels.tolist()) for raw in loader.epoch(1, start)]
        loader.close()
        return found

    whole = batches(0)
    by_id = {f"t-{number // 4:06d}/{file['id']}": file for number, file in enumerate(files)}
    for ids, _, labels in whole:
        assert labels == [by_id[name]["label"] for name in ids]
    assert [name for ids, _, _ in whole for name in ids] == [own[place].id for place in own.order(2, 1)]
    for other in (batches(2), [*whole[:3], *batches(0, start=3)]):
        assert [ids for ids, _, _ in other] == [ids for ids, _, _ in whole]
        assert all(torch.equal(a[1], b[1]) for a, b in zip(whole, other, strict=True))
    first, second = batches(0, 0, 2), batches(0, 1, 2)
    for (ids, _, _), (mine, _, _), (yours, _, _) in zip(whole, first, second, strict=True):
        assert (ids[0::2], ids[1::2]) == (mine, yours)


@pytest.mark.parametrize("cache", [True, False])
def test_the_same_order_gives_the_losses_of_the_files(tmp_path, files, shards, monkeypatch, cache) -> None:
    items = tar_items(shards, CLASSES)
    # The files under the names that they have in the shards: the same chance for each picture.
    for item, file in zip(items, files, strict=True):
        file["id"] = item.id
    keys = [file["id"] for file in files]
    monkeypatch.setattr(
        module.TarItems, "order", lambda self, seed, epoch: np.array(shuffled(keys, seed, epoch), np.int64)
    )
    options: dict[str, Any] = {"cache_images": cache, "epochs": 2}
    by_files = run(make_job(tmp_path / "a", {"train": files}, **options))
    by_shards = run(sharded(tmp_path / "b", shards, **options))
    assert by_files.metric("train", "loss") == by_shards.metric("train", "loss")
    assert len(by_files.metric("train", "loss")) == 6
    assert by_files.metric("train", "accuracy") == by_shards.metric("train", "accuracy")


@pytest.mark.parametrize("asked_after", [2, 4, 8])
def test_resumed_equals_uninterrupted(tmp_path, shards, asked_after) -> None:
    options: dict[str, Any] = {"epochs": 3, "random_crop": True, "image_size": 28, "cache_images": False}
    whole = sharded(tmp_path / "whole", shards, **options)
    run(whole)
    asked = iter([False] * (asked_after - 1))
    events = run(sharded(tmp_path / "broken", shards, **options), lambda: next(asked, True), CANCELLED)
    resumed = sharded(tmp_path / "resumed", shards, resume=Path(events[-1]["checkpoint"]).parent, **options)
    assert run(resumed).metric("train", "loss")[0][0] == asked_after + 1
    assert_equal(weights_of(whole), weights_of(resumed))


def test_other_shards_are_not_gone_on_with(tmp_path, shards) -> None:
    run(sharded(tmp_path / "a", shards, epochs=1))
    fewer = sharded(tmp_path / "b", shards[:-1], epochs=1, resume=tmp_path / "a")
    assert "another recipe or other images" in run(fewer, status=FAILED)[-1]["reason"]


def test_a_changed_a_missing_and_a_mislabelled_shard_are_named(tmp_path, shards) -> None:
    with pytest.raises(JobError, match=r"The sample i004 of t-000001\.tar has the label “class 1”, none of the 1 cl"):
        tar_items(shards[1:], CLASSES[:1])
    other = write([("1", {"png": png(1), "cls": b"0"})], tmp_path / "other").shards[0]
    other.replace(shards[2]["tar"])
    events = run(sharded(tmp_path / "a", shards), status=FAILED)
    assert events[-1]["reason"] == "The shard t-000002.tar is not the one that this run was started with."
    Path(shards[0]["tar"]).unlink()
    assert "t-000000.tar" in run(sharded(tmp_path / "b", shards), status=FAILED)[-1]["reason"]


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path) -> None:
    path = write([("1", {"png": b"no picture", "cls": b"0"})], tmp_path).shards[0]
    item = tar_items(told((path,), tmp_path), CLASSES)[0]
    with pytest.raises(JobError, match=r"The picture 1 in shard-000000\.tar cannot be read"):
        read_picture(item.path)


@pytest.mark.slow
def test_memory_does_not_grow_over_many_samples(tmp_path) -> None:
    picture = png(0, 8)
    samples = ((f"{number:06d}", {"png": picture, "cls": b"0"}) for number in range(20_000))
    items = tar_items(told(write(samples, tmp_path, size=1000).shards, tmp_path), CLASSES)
    # More than the limit, so nothing is kept.
    frames = Frames(items, Geometry(8, "none"), cache_bytes=1 << 20)
    assert frames.keep() == 0
    loader = BatchLoader(frames, 50, seed=1, shuffle=True)
    batches = loader.epoch(0)
    next(batches)
    tracemalloc.start()
    peaks = []
    for _ in range(3):
        tracemalloc.reset_peak()
        for _ in range(133):
            next(batches)
        peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert max(peaks) < 2 << 20
    assert max(peaks) < 1.5 * min(peaks) + (64 << 10)


def test_a_learning_rate_test_takes_shards_too(tmp_path, shards) -> None:
    events = run(sharded(tmp_path / "a", shards, kind="lr_test", steps=4, batch_size=4))
    assert [step for step, _ in events.metric("train", "rate")] == [1, 2, 3, 4]
