"""`write_shards` and `index_shards`: what they refuse is a sentence, and what broke off leaves nothing behind."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from mlcore.exchange import tar_shards
from mlcore.management.commands import index_shards
from mlcore.models import Partition
from tests.mlcore.exchange.pictures import save
from tests.mlcore.runs import conftest as fixtures
from tests.mlcore.runs.world import World

_folders, world = fixtures._folders, fixtures.world


def refused(*arguments: object) -> CommandError:
    with pytest.raises(CommandError) as caught:
        call_command(*map(str, arguments))
    assert caught.value.returncode != 0
    return caught.value


def test_a_partition_is_not_taken_for_its_part(world: World, tmp_path: Path) -> None:
    said = refused("write_shards", "scenes", tmp_path / "out", "--partition", world.partition.name)
    assert "--partition without --part" in str(said)
    Partition.objects.create(name="another", image_set=world.image_set)
    several = str(refused("write_shards", "scenes", tmp_path / "out", "--part", "train"))
    assert "several partitions" in several
    assert "another" in several
    assert world.partition.name in several
    Partition.objects.all().delete()
    assert "has no partition" in str(refused("write_shards", "scenes", tmp_path / "out", "--part", "train"))
    assert not (tmp_path / "out").exists()


def test_two_files_of_one_name_are_named(tmp_path: Path) -> None:
    save(tmp_path / "birds" / "wren" / "1.png")
    save(tmp_path / "birds" / "wren" / "1.jpg")
    said = str(refused("write_shards", tmp_path / "birds", tmp_path / "out"))
    assert "wren/1.jpg" in said
    assert "wren/1.png" in said
    save(tmp_path / "more" / "w.ren" / "1.png")
    save(tmp_path / "more" / "w_ren" / "1.png")
    assert "w_ren/1" in str(refused("write_shards", tmp_path / "more", tmp_path / "out"))


def test_what_broke_off_leaves_no_shards(world: World, tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "out"
    last = world.part("train")[-1]
    stays = tmp_path / "out" / "other-000000.tar"
    out.mkdir()
    stays.write_bytes(b"another's")
    picture = Path(last.file.path)
    kept = picture.read_bytes()
    picture.unlink()
    said = str(refused("write_shards", "scenes", out, "--part", "train", "--size", "5"))
    assert f"The file of {last.name} cannot be read" in said
    assert list(out.iterdir()) == [stays], "a folder of some of the shards looks like one of all"
    picture.write_bytes(kept)
    call_command("write_shards", "scenes", str(out), "--part", "train", "--size", "5")
    whole = sorted(out.iterdir())
    assert "train-000000.tar is there already" in str(refused("write_shards", "scenes", out, "--part", "train"))
    assert sorted(out.iterdir()) == whole, "those that were there before stay"

    def stopped(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tar_shards, "write", stopped)
    assert refused("write_shards", "scenes", tmp_path / "late").returncode == 130


def test_looking_through_is_stopped_without_a_trace(tmp_path: Path, monkeypatch, settings) -> None:
    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    settings.SHARDS_DIR = tmp_path
    (tmp_path / "a.tar").write_bytes(b"")
    monkeypatch.setattr(index_shards, "ensure", stopped)
    said = refused("index_shards", "a.tar")
    assert said.returncode == 130
    assert "what was looked through is kept" in str(said)
