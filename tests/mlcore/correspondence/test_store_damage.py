"""Files of a gallery that are damaged, half written, or written by two at once."""

import json
import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path

import pytest

from mlcore.catalogue.gallery_lock import GalleryBusy, held
from mlcore.correspondence import store
from mlcore.correspondence.blocks import GalleryCorrupt
from mlcore.correspondence.gallery import MANIFEST, Gallery
from mlcore.correspondence.store import GalleryCancelled, update
from tests.mlcore.correspondence.pictures_of_numbers import KEY, Counting, items_of, sha256
from tests.mlcore.correspondence.test_store import assert_holds, made

NUMBERS = list(range(12))
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three blocks of four images."""
    monkeypatch.setattr(store, "BLOCK_BYTES", 4 * 2 * 36)
    made(tmp_path, NUMBERS, batch=4)
    assert sorted(path.name for path in tmp_path.glob("*.block")) == ["000000.block", "000001.block", "000002.block"]
    return tmp_path


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)


def read_all(folder: Path) -> None:
    gallery = Gallery.open(folder)
    gallery.pooled()
    gallery.spatial(range(len(gallery)))


# In a block: its first line, its head, the pooled features (second page), the cells (third page).
DAMAGE = {
    "first line": lambda path: flip(path, 3),
    "head": lambda path: flip(path, 60),
    "pooled": lambda path: flip(path, 4096 + 9),
    "cells": lambda path: flip(path, 8192 + 100),
    "cut": lambda path: os.truncate(path, path.stat().st_size - 1),
    "cut short": lambda path: os.truncate(path, 100),
    "empty": lambda path: os.truncate(path, 0),
    "gone": lambda path: path.unlink(),
    "of another gallery": lambda path: path.write_bytes(path.with_name("000002.block").read_bytes()),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_block_is_named_and_only_it_is_made_again(folder, kind):
    DAMAGE[kind](folder / "000001.block")
    with pytest.raises(GalleryCorrupt, match=r"000001\.block") as caught:
        read_all(folder)
    assert caught.value.file == folder / "000001.block"
    said: list[str] = []
    gallery, describe = made(folder, NUMBERS, tell=said.append)
    assert describe.asked == NUMBERS[4:8]
    assert_holds(gallery, NUMBERS)
    assert_holds(Gallery.open(folder), NUMBERS)
    if kind == "of another gallery":  # whole by itself, so nothing is damaged: its images are there twice
        assert said == []
    else:
        assert len(said) == 1
        assert f"000001.block of the gallery {folder.name} is damaged" in said[0]
        assert said[0].endswith("Its features are computed again.")


def test_damage_is_met_where_it_is_read(folder):
    flip(folder / "000002.block", 8192 + 100)
    gallery = Gallery.open(folder)
    gallery.pooled()
    gallery.spatial(NUMBERS[:8])
    with pytest.raises(GalleryCorrupt, match=r"000002\.block.*checksum of its cells"):
        gallery.spatial([8])


MANIFESTS = {
    "cut": lambda text: text[: len(text) // 2],
    "empty": lambda text: b"",
    "no json": lambda text: b"\x00" * len(text),
    "another name": lambda text: text.replace(b"image 5", b"image 7"),
    "a list": lambda text: b"[1, 2]",
    "of another version": lambda text: text.replace(b'"version":1', b'"version":2'),
}


@pytest.mark.parametrize("kind", MANIFESTS)
def test_a_bad_manifest_is_named_and_written_anew_without_computing(folder, kind):
    path = folder / MANIFEST
    path.write_bytes(MANIFESTS[kind](path.read_bytes()))
    with pytest.raises(GalleryCorrupt, match=r"manifest\.json"):
        Gallery.open(folder)
    said: list[str] = []
    gallery, describe = made(folder, NUMBERS, tell=said.append)
    assert describe.asked == []
    assert_holds(gallery, NUMBERS)
    assert_holds(Gallery.open(folder), NUMBERS)
    assert len(said) == 1
    assert "manifest.json" in said[0]


def test_a_manifest_is_plain_json(folder):
    read = json.loads((folder / MANIFEST).read_text())
    assert read["gallery"]["ids"][3] == "image 3"
    assert read["gallery"]["key"] == KEY


def _slow(folder: Path, log: Path, numbers: list[int], block_seconds: float) -> None:
    """In a process of its own: a slow classifier that writes down what it is asked for."""
    store.BLOCK_SECONDS = block_seconds
    counting = Counting(numbers)

    def describe(positions):
        with log.open("a") as file:
            file.writelines(f"{numbers[position]}\n" for position in positions)
        time.sleep(0.05)
        return counting(positions)

    update(folder, KEY, items_of(numbers), describe, batch=1)


def _asked(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def _wait_for(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "The other process did not come so far within a minute."
        time.sleep(0.01)


def test_a_killed_process_leaves_what_it_wrote(tmp_path):
    folder, log = tmp_path / "gallery", tmp_path / "log"
    process = SPAWN.Process(target=_slow, args=(folder, log, list(range(1000)), 0.0))
    process.start()
    _wait_for(lambda: len(_asked(log)) >= 5)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    before = _asked(log)
    (folder / ".000099.block.half").write_bytes(b"half written")
    wanted = list(range(len(before) + 5))
    gallery, describe = made(folder, wanted)
    assert_holds(gallery, wanted)
    # All but the image at hand, and the one whose file was just being written.
    assert set(before[:-2]).isdisjoint(describe.asked)
    assert {path.name for path in folder.iterdir() if path.name.startswith(".")} == set()


def test_two_processes_make_one_gallery_and_nothing_twice(tmp_path):
    folder, log = tmp_path / "gallery", tmp_path / "log"
    numbers = list(range(12))
    processes = [SPAWN.Process(target=_slow, args=(folder, log, numbers, 0.1)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(_asked(log)) == numbers
    assert_holds(Gallery.open(folder), numbers)


def test_who_waits_for_another_process_can_be_cancelled(tmp_path):
    folder, log = tmp_path / "gallery", tmp_path / "log"
    process = SPAWN.Process(target=_slow, args=(folder, log, list(range(1000)), 10.0))
    process.start()
    try:
        _wait_for(lambda: len(_asked(log)) >= 2)
        with pytest.raises(GalleryCancelled):
            update(folder, KEY, items_of([1]), Counting([1]), cancelled=lambda: True)
        with pytest.raises(GalleryBusy, match="written by another process"), held(folder, goes_on=lambda: False):
            pass
    finally:
        process.kill()
        process.join()
    with held(folder, goes_on=lambda: False):  # a dead process holds nothing
        pass


def test_a_folder_that_was_deleted_meanwhile_is_made_anew(tmp_path):
    folder = tmp_path / "gallery"
    with held(folder):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    gallery, _ = made(folder, [1, 2])
    assert_holds(gallery, [1, 2])


def _with_a_full_disk(folder: Path, answer) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, resource.RLIM_INFINITY))
    try:
        update(folder, KEY, items_of(range(2000)), Counting(range(2000)))
    except OSError as error:
        answer.put(type(error).__name__)


def test_a_full_disk_leaves_the_gallery_that_was_there(folder):
    answer = SPAWN.Queue()
    process = SPAWN.Process(target=_with_a_full_disk, args=(folder, answer))
    process.start()
    assert answer.get(timeout=60) == "OSError"
    process.join()
    assert_holds(Gallery.open(folder), NUMBERS)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_hashes_stand_with_their_rows(folder):
    assert Gallery.open(folder).hashes() == [sha256(number) for number in NUMBERS]
