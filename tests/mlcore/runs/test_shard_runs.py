"""Runs on tar shards, from the image set that is written to the weights; what is refused, and by which name."""

import json
import os
import tarfile
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from mlcore.admin.run_page import part_counts
from mlcore.models import AuditEntry, Image, Run
from mlcore.runs import state
from mlcore.runs.control import repeat
from mlcore.runs.job import build
from mlcore.runs.job_classifier import JobImpossible
from mlcore.runs.perform import perform
from mlcore.runs.start import RunRefused
from mlcore.tars.index import beside
from mlcore.tars.writing import write
from tests.mlcore.runs.world import make_supervision, start


@pytest.fixture
def folder(tmp_path, settings) -> Path:
    """The folder of shards that the deployment allows."""
    settings.SHARDS_DIR = str(tmp_path / "shards")
    settings.SHARD_INDEX_DIR = tmp_path / "indexes"
    return tmp_path / "shards"


@pytest.fixture
def shards(world, folder, capsys) -> Path:
    call_command("write_shards", "scenes", str(folder / "set"), "--size", "5", "--part", "train")
    assert capsys.readouterr().out == "12 images in 3 shards: train-000000.tar …\n"
    return folder / "set"


def test_an_image_set_as_shards_holds_files_labels_and_names(world, shards) -> None:
    names: list[str] = []
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as opened:
            contents = {member.name: opened.extractfile(member).read() for member in opened}
        for name, content in contents.items():
            if name.endswith(".json"):
                key = name.removesuffix(".json")
                names.append(key)
                image = Image.objects.get(uuid=key)
                label = image.labels.get().index
                assert contents[f"{key}.png"] == Path(image.file.path).read_bytes()
                assert contents[f"{key}.cls"] == str(label).encode()
                assert json.loads(content) == {
                    "file": image.name, "sha256": image.sha256, "label": label,
                    "class": world.image_set.classes[label],
                }  # fmt: skip
    assert names == [str(image.uuid) for image in world.part("train")]


def test_a_run_on_shards(world, shards) -> None:
    run = start(world, recipe={"shards": "set", "select": "best_accuracy"})
    assert run.manifest.keys() == {"shards", "validation"}
    assert [entry[0] for entry in run.manifest["shards"]] == [f"set/train-{number:06d}.tar" for number in range(3)]
    assert part_counts(run) == [("3 shards", 12), ("validation", 6)]
    counts = AuditEntry.objects.get(action="run.start").after["images"]
    assert counts == {"shards": 3, "images of shards": 12, "validation": 6}
    done = perform(run.uuid, worker_name="here:1")
    assert done.state == "succeeded", done.reason + done.log
    assert "Training on 12 images, 3 steps an epoch." in done.log
    assert done.metrics.filter(name="accuracy", part="validation").count() == 2
    again = perform(repeat(run, None, {"shards": "set/train-{000000..000002}.tar"}).uuid, worker_name="here:1")
    assert again.result["weights_sha256"] == done.result["weights_sha256"]


def test_a_shard_that_changed_is_named_when_the_run_goes_on(world, shards) -> None:
    run = start(world, recipe={"shards": "set"})
    path = shards / "train-000001.tar"
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(512))
    claim = state.claim(run.uuid, "here:1")
    with pytest.raises(JobImpossible, match=r"The shard set/train-000001\.tar was changed since this run was started"):
        build(Run.objects.get(pk=run.pk), claim)
    state.hand_back(claim, "Again.")
    # Of the same size, but with other labels: the process itself compares what lies in it.
    with tarfile.open(path) as opened:
        where = next(member.offset_data for member in opened if member.name.endswith(".cls"))
    path.write_bytes(whole[:where] + (b"1" if whole[where : where + 1] == b"0" else b"0") + whole[where + 1 :])
    done = perform(run.uuid, worker_name="here:1")
    assert (done.state, done.reason) == (
        "failed", "The shard train-000001.tar is not the one that this run was started with.",
    )  # fmt: skip
    path.unlink()
    other = state.claim(start_anyway(run).uuid, "here:1")
    with pytest.raises(JobImpossible, match="is not in this worker's folder of shards"):
        build(Run.objects.get(pk=other.pk), other)


def start_anyway(run: Run) -> Run:
    Run.objects.filter(pk=run.pk).update(state="queued", ended=None, reason="")
    return Run.objects.get(pk=run.pk)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ("../set", "outside the folder of shards"),
        ("/etc", "outside the folder of shards"),
        ("other", "There is no shard other"),
        ("set/train-{0..9}.tar", r"There is no shard train-0\.tar \(and 9 more\)"),
    ],
)
def test_what_is_no_shard_is_refused_before_the_run(world, shards, wish, says) -> None:
    with pytest.raises(RunRefused, match=says) as refused:
        start(world, recipe={"shards": wish})
    assert list(refused.value.errors) == ["shards"]
    assert not Run.objects.exists()


def test_without_a_folder_no_shards(world, shards, settings) -> None:
    settings.SHARDS_DIR = ""
    with pytest.raises(RunRefused, match="SHARDS_DIR"):
        start(world, recipe={"shards": "set"})


def test_labels_are_those_of_the_image_set(world, folder) -> None:
    write([("a", {"png": b"", "cls": b"0"}), ("b", {"png": b"", "cls": b"2"})], folder, name="bad")
    with pytest.raises(RunRefused, match=r"The sample b of bad-000000\.tar has the label “2”, none of the 2 classes"):
        start(world, recipe={"shards": "bad-000000.tar"})


def test_people_s_maps_and_shards_do_not_go_together(world, shards) -> None:
    with pytest.raises(RunRefused) as refused:
        start(world, recipe={"shards": "set", "objective": "gradia"}, supervision=make_supervision(world))
    assert "Shards carry no maps" in refused.value.errors["supervision"]


def test_much_that_was_not_looked_through_is_left_to_a_command(world, shards, monkeypatch, capsys) -> None:
    monkeypatch.setattr("mlcore.runs.sharded.LOOK_THROUGH_BYTES", 10)
    assert start(world, recipe={"shards": "set"}), "write_shards left the indexes beside the tars"
    for path in shards.glob("*.tar"):
        beside(path).unlink()
        os.utime(path, ns=(1, 1))
    with pytest.raises(RunRefused, match=r"3 shards were not looked through yet.*index_shards set"):
        start(world, recipe={"shards": "set"})
    call_command("index_shards", "set")
    assert "3 shards, 12 images." in capsys.readouterr().out
    assert start(world, recipe={"shards": "set"})


def test_commands_say_what_is_wrong(world, folder, tmp_path) -> None:
    for arguments, says in (
        (("scenes", "--size", "0"), "--size must be 1 or more"),
        (("scenes", "--part", "train", "--partition", "none"), "none"),
        ((str(tmp_path / "nowhere"),), "There is no folder nowhere"),
        ((str(folder.parent),), "has no folder for each class|hold no pictures"),
    ):
        with pytest.raises(CommandError, match=says):
            call_command("write_shards", arguments[0], str(tmp_path / "out"), *arguments[1:])
    with pytest.raises(CommandError, match="There is no shard"):
        call_command("index_shards", "none.tar")


def test_a_folder_of_class_folders_as_shards(world, folder, tmp_path) -> None:
    for number, image in enumerate(world.part("train")):
        target = tmp_path / "folder" / world.image_set.classes[image.labels.get().index] / f"{number}.v1.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(image.file.path).read_bytes())
    call_command("write_shards", str(tmp_path / "folder"), str(folder), "--size", "100")
    run = start(world, recipe={"shards": "folder-000000.tar"})
    assert run.manifest["shards"][0][3] == 12
    with pytest.raises(CommandError, match="is there already"):
        call_command("write_shards", str(tmp_path / "folder"), str(folder))
