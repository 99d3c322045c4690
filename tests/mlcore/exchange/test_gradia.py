"""GRADIA's layout in and out, with their spelling and with everything that can be wrong in it."""

import json
from collections import Counter
from io import StringIO

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from PIL import Image as Pictures

from mlcore.exchange.gradia import ExportRefused, export_gradia, import_gradia
from mlcore.exchange.gradia_files import WORDS, BadMap, codes_of, list_of, read_cases
from mlcore.exchange.matrix import weights_of
from mlcore.exchange.partitions import PartitionRefused
from mlcore.exchange.readers import Folder
from mlcore.exchange.report import ImportRefused
from mlcore.models import ImageSet, Partition, SupervisionItem, SupervisionSet
from tests.mlcore.exchange.pictures import save, save_mask

FILES = (
    "train/cat/t0.png",
    "train/dog/t1.png",
    "val/cat/v0.png",
    "val/cat/v1.png",
    "val/dog/v2.png",
    "val/dog/v3.png",
    "val/dog/v4.png",
    "val/cat/v5.png",
    "test/cat/s0.png",
    "test/dog/s1.png",
)


def drawn(columns: slice, low: int = 0) -> list[list[int]]:
    """A map of the test pictures' size that is 1 in some columns and `low` elsewhere."""
    values = np.full((16, 24), low)
    values[:, columns] = 1
    return values.tolist()


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "gradia"
    for seed, name in enumerate(FILES):
        save(place / name, seed)
    cases = {
        "v0.png": "Unreasonable Inaccurate",
        "v1.png": "Unreasonable Accurate",
        "v2.png": "Reasonable Inaccurate",
        "v3.png": "Reasonable Accurate",
    }
    (place / "reasonablity.json").write_text(json.dumps(cases))
    maps = {f"v{index}.png": drawn(slice(0, index + 1)) for index in (0, 1, 2, 4)}
    (place / "attention.json").write_text(json.dumps(maps))
    return place


def content(supervision: SupervisionSet) -> dict:
    """What a supervision set says, by the pictures' content."""
    return {
        item.image.sha256: (
            item.case,
            item.w_p,
            item.w_a,
            np.asarray(Pictures.open(item.map)).tolist() if item.map else None,
        )
        for item in supervision.items.select_related("image")
    }


def cut(partition: Partition) -> dict:
    return {
        member.image.sha256: (member.part, [label.index for label in member.image.labels.all()])
        for member in partition.members.select_related("image").prefetch_related("image__labels")
    }


@pytest.mark.django_db
def test_import_gives_images_parts_and_supervision(folder):
    report = import_gradia(folder, name="Scenes")
    assert report.problems == []
    assert [str(note) for note in report.notes] == ["5 rated or drawn images of val are the annotation pool."]
    parts = dict(report.partition.members.values_list("image__name", "part"))
    assert Counter(parts.values()) == {"train": 2, "annotation_pool": 5, "validation": 1, "test": 2}
    assert parts["val/cat/v5.png"] == "validation"
    items = {item.image.name: item for item in report.supervision.items.all()}
    assert {name: (item.case, item.w_p, item.w_a, bool(item.map)) for name, item in items.items()} == {
        "val/cat/v0.png": ("unreasonable_inaccurate", 1.0, 1.0, True),
        "val/cat/v1.png": ("unreasonable_accurate", 0.4, 1.6, True),
        "val/dog/v2.png": ("reasonable_inaccurate", 0.8, 0.2, True),
        "val/dog/v3.png": ("reasonable_accurate", 1.0, 0.0, False),
        "val/dog/v4.png": ("not_rated", 1.0, 1.0, True),
    }
    stored = Pictures.open(items["val/cat/v1.png"].map)
    assert stored.mode == "P"
    assert np.asarray(stored).tolist() == np.where(np.array(drawn(slice(0, 2))) == 1, 1, 2).tolist()


@pytest.mark.django_db
def test_what_runs_read_is_what_was_drawn(folder):
    pytest.importorskip("torch")
    from mlcore.training.pictures import read_map

    item = import_gradia(folder, name="Scenes").supervision.items.get(image__name="val/cat/v1.png")
    assert read_map(item.map.path).tolist() == np.where(np.array(drawn(slice(0, 2))) == 1, 1, -1).tolist()


@pytest.mark.django_db
def test_twice_adds_nothing(folder):
    first, second = import_gradia(folder, name="Scenes"), import_gradia(folder, name="Scenes")
    assert second.images.added == 0
    assert (first.partition, first.supervision) == (second.partition, second.supervision)
    assert (Partition.objects.count(), SupervisionSet.objects.count(), SupervisionItem.objects.count()) == (1, 1, 5)


@pytest.mark.django_db
def test_other_answers_are_another_snapshot(folder):
    first = import_gradia(folder, name="Scenes")
    (folder / "attention.json").write_text(json.dumps({"v0.png": drawn(slice(5, 9)), "v4.png": drawn(slice(1, 2))}))
    assert import_gradia(folder, name="Scenes").supervision != first.supervision
    (folder / "attention.json").write_text(json.dumps({"v5.png": drawn(slice(5, 9))}))
    with pytest.raises(PartitionRefused, match="another partition “GRADIA” already"):
        import_gradia(folder, name="Scenes")


@pytest.mark.django_db
def test_the_released_preset_gives_unrated_maps_no_weight(folder):
    report = import_gradia(folder, name="Scenes", preset="gradia")
    item = report.supervision.items.get(image__name="val/dog/v4.png")
    assert (item.w_p, item.w_a, bool(item.map)) == (1.0, 0.0, True)
    with pytest.raises(ImportRefused, match="not a preset"):
        import_gradia(folder, name="Scenes", preset="gardia")


@pytest.mark.django_db
@pytest.mark.parametrize("rest", [0, -1])
def test_round_trip_is_equal(folder, tmp_path, rest):
    # −1 unimportant, 0 unknown, 1 important in one map; unknown without any unimportant in another.
    mixed = np.array(drawn(slice(3, 6), low=rest))
    mixed[0, :] = 0
    maps = json.loads((folder / "attention.json").read_text()) | {"v5.png": mixed.tolist()}
    (folder / "attention.json").write_text(json.dumps(maps))
    first = import_gradia(folder, name="Scenes")
    item = first.supervision.items.get(image__name="val/cat/v0.png")
    values = np.asarray(Pictures.open(item.map)).copy()
    values[values == 2] = 0
    picture = Pictures.fromarray(values, "P")
    picture.putpalette([0, 0, 0, 255, 255, 255, 0, 0, 0])
    picture.save(item.map.path)
    SupervisionItem.objects.filter(pk=item.pk).update(w_p=0.7, w_a=0.3)

    out = export_gradia(first.partition, tmp_path / "out", supervision=first.supervision)
    assert (out.images, out.maps, out.ratings) == (10, 5, 4)
    second = import_gradia(out.folder, name="Copy")
    assert second.problems == []
    assert second.images.image_set.classes == first.images.image_set.classes
    assert cut(second.partition) == cut(first.partition)
    assert content(second.supervision) == content(first.supervision)
    assert second.partition.pk != first.partition.pk


@pytest.mark.django_db
def test_the_export_is_theirs_without_our_file(folder, tmp_path):
    first = import_gradia(folder, name="Scenes")
    out = export_gradia(first.partition, tmp_path / "out", supervision=first.supervision)
    (out.folder / "harmony.json").unlink()
    assert sorted(path.relative_to(out.folder).as_posix() for path in out.folder.rglob("*.png")) == sorted(FILES)
    for name in ("reasonablity.json", "attention.json"):
        assert json.loads((out.folder / name).read_text()) == json.loads((folder / name).read_text())
    second = import_gradia(out.folder, name="Copy")
    assert cut(second.partition) == cut(first.partition)
    assert content(second.supervision) == content(first.supervision)


@pytest.mark.django_db
def test_file_names_that_repeat_are_told_apart(tmp_path):
    for seed, name in enumerate(("train/cat/a.png", "train/dog/a.png", "val/cat/a.png", "test/dog/b.png")):
        save(tmp_path / "set" / name, seed)
    first = import_gradia(tmp_path / "set", name="Same")
    assert first.supervision is None
    out = export_gradia(first.partition, tmp_path / "out")
    names = [path.name for path in out.folder.rglob("*.png")]
    assert len(set(names)) == 4
    assert "b.png" in names
    assert cut(import_gradia(out.folder, name="Copy").partition) == cut(first.partition)
    with pytest.raises(ExportRefused, match="is not empty"):
        export_gradia(first.partition, tmp_path / "out")


@pytest.mark.django_db
def test_classes_that_are_no_folder_names_are_refused(tmp_path):
    (tmp_path / "set").mkdir()
    save(tmp_path / "set/a.png")
    (tmp_path / "set/labels.csv").write_text("file,label,split\na.png,../up,train\n")
    first = import_gradia(tmp_path / "set", name="Odd")
    with pytest.raises(ExportRefused, match=r"“\.\./up” cannot be a folder's name"):
        export_gradia(first.partition, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.django_db
def test_what_is_wrong_is_named_and_the_rest_goes_on(folder):
    maps = {
        "v0.png": [[1, 0], [1]],
        "v1.png": [],
        "v2.png": drawn(slice(0, 0)),
        "v3.png": "../secret.png",
        "v4.png": drawn(slice(0, 4)),
        "s0.png": drawn(slice(0, 4)),
        "nobody.png": drawn(slice(0, 4)),
    }
    (folder / "attention.json").write_text(json.dumps(maps))
    (folder / "reasonablity.json").write_text('{"v4.png": "Fairly reasonable", "v5.png": "reasonable, accurate"}')
    report = import_gradia(folder, name="Scenes")
    said = {problem.file: problem.sentence for problem in report.problems}
    assert "rows of one length" in said["v0.png"]
    assert "list of rows" in said["v1.png"]
    assert "empty" in said["v2.png"]
    assert "leads out of the folder" in said["v3.png"]
    assert "is in the part test" in said["s0.png"]
    assert "is none of Unreasonable Inaccurate" in said["reasonablity.json (v4.png)"]
    assert "nobody.png: There is no picture of this name" in "\n".join(map(str, report.notes))
    items = dict(report.supervision.items.exclude(map="").values_list("image__name", "w_a"))
    assert items == {"val/dog/v4.png": 1.0}
    assert report.supervision.items.get(image__name="val/cat/v5.png").case == "reasonable_accurate"


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["", "[1, 2]", "{", '{"a": ' + "[" * 100_000, "\xff\xfe"])
def test_files_that_are_no_json(folder, text):
    (folder / "attention.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ImportRefused, match=r"attention\.json"):
        import_gradia(folder, name="Scenes")
    assert not ImageSet.objects.exists()


@pytest.mark.django_db
def test_a_folder_without_parts_is_refused(tmp_path):
    save(tmp_path / "set/cat/a.png")
    with pytest.raises(ImportRefused, match="no folders train, val and test"):
        import_gradia(tmp_path / "set", name="Plain")
    with pytest.raises(ImportRefused, match="There is no folder"):
        import_gradia(tmp_path / "absent", name="Plain")
    assert not ImageSet.objects.exists()


def test_their_published_ratings(test_data):
    problems: list = []
    cases = read_cases(test_data / "studies/gradia_reasonablity_250.json", problems)
    assert problems == []
    assert len(cases) == 250
    assert cases["COCO_train2014_000000057115.jpg"] == "unreasonable_inaccurate"
    raw = json.loads((test_data / "studies/gradia_reasonablity_250.json").read_text())
    assert {file: WORDS[case] for file, case in cases.items()} == raw


def test_maps_of_every_form(tmp_path):
    folder = Folder(tmp_path)
    assert codes_of([[0, 1], [1, 0]], folder, (2, 2))[0].tolist() == [[2, 1], [1, 2]]
    assert codes_of([[0, 255], [128, 127]], folder, (2, 2))[0].tolist() == [[2, 1], [1, 2]]
    assert codes_of([[0, 0.9], [0.5, 0.4]], folder, (2, 2))[0].tolist() == [[2, 1], [1, 2]]
    assert codes_of([[-1, 1], [0, 1]], folder, (2, 2))[0].tolist() == [[2, 1], [0, 1]]
    fitted, note = codes_of([[0, 1]], folder, (4, 2))
    assert fitted.tolist() == [[2, 2, 1, 1], [2, 2, 1, 1]]
    assert "2×1; it was brought to 4×2" in note
    save_mask(tmp_path / "m.png", (0, 0, 3, 3))
    codes, note = codes_of("m.png", folder, (24, 16))
    assert (int((codes == 1).sum()), int((codes == 2).sum()), note) == (9, 24 * 16 - 9, "")
    for bad in ("absent.png", {"a": 1}, [[float("nan")]], [["x"]], [[[1]]], 3, None):
        with pytest.raises(BadMap):
            codes_of(bad, folder, (2, 2))
    assert list_of(np.array([[1, 2]], dtype=np.uint8)) == [[1, 0]]
    assert list_of(np.array([[1, 2, 0]], dtype=np.uint8)) == [[1, -1, 0]]


def test_the_matrix_as_weights():
    assert weights_of("unreasonable_accurate", has_map=True) == (0.4, 1.6)
    assert weights_of("unreasonable_accurate", has_map=False) == (1.0, 0.0)
    assert weights_of("not_rated", has_map=True) == (1.0, 1.0)
    assert weights_of("not_rated", has_map=True, preset="gradia") == (1.0, 0.0)
    assert weights_of("unreasonable_inaccurate", has_map=True, preset="gradia") == (1.0, 1.0)


@pytest.mark.django_db
def test_the_commands_go_there_and_back(folder, tmp_path):
    call_command("import_gradia", str(folder), name="There", stdout=StringIO(), stderr=StringIO())
    there = SupervisionSet.objects.get()
    written = StringIO()
    call_command("export_gradia", str(tmp_path / "out"), image_set="There", supervision=there.name, stdout=written)
    assert written.getvalue().startswith("10 images, 4 drawn maps and 4 ratings")
    call_command("import_gradia", str(tmp_path / "out"), name="Back", stdout=StringIO(), stderr=StringIO())
    assert content(SupervisionSet.objects.exclude(pk=there.pk).get()) == content(there)
    with pytest.raises(CommandError, match="is not empty"):
        call_command("export_gradia", str(tmp_path / "out"), image_set="There")
    with pytest.raises(CommandError, match="There is no folder"):
        call_command("import_gradia", str(tmp_path / "nowhere"), name="Nothing", stderr=StringIO())
