"""Lists of images: a partition's parts, and an import; every bad line is named."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from PIL import Image as Picture

from mlcore.exchange.image_lists import partition_from_lists, read_list
from mlcore.exchange.partitions import PartitionRefused
from mlcore.exchange.report import ImportRefused
from mlcore.models import AuditEntry, Image, ImageSet, Partition

pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "birds"
    for number, name in enumerate(("wren/a.png", "wren/b c.png", "owl/d.png", "owl/e.png", "f.png")):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        Picture.new("RGB", (8, 8), (number * 40, 0, 0)).save(made / name)
    return made


def written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


@pytest.fixture
def birds(folder: Path, tmp_path: Path) -> ImageSet:
    text = "wren/a.png wren\nwren/b c.png wren\n\nowl/d.png\towl\nowl/e.png owl\nf.png\n"
    out = StringIO()
    call_command(
        "import_images", str(folder), "--name", "Birds", "--list", str(written(tmp_path / "all.txt", text)), stdout=out
    )
    return ImageSet.objects.get(name="Birds")


def parts_of(partition: Partition) -> dict[str, str]:
    return dict(partition.members.values_list("image__name", "part"))


def test_a_list_is_imported_with_labels_where_it_has_them(birds: ImageSet) -> None:
    assert birds.classes == ["owl", "wren"]
    labels = {image.name: [label.index for label in image.labels.all()] for image in birds.images.all()}
    assert labels == {"wren/a.png": [1], "wren/b c.png": [1], "owl/d.png": [0], "owl/e.png": [0], "f.png": []}


def test_indices_and_lines_that_cannot_be_used_are_named(folder: Path, tmp_path: Path) -> None:
    text = "wren/a.png 1\nowl/d.png 0\nowl/none.png 0\nowl/d.png\nowl/e.png 0\n../x.png 0\n"
    errors = StringIO()
    call_command(
        "import_images", str(folder), "--name", "B", "--list", str(written(tmp_path / "l.txt", text)), stderr=errors,
        stdout=StringIO(),
    )  # fmt: skip
    said = errors.getvalue()
    assert Image.objects.filter(image_set__name="B").count() == 3
    for words in ("owl/none.png", "3", "There is no such file", "stands there already", "leads out of the folder"):
        assert words in said
    with pytest.raises(CommandError, match="not both"):
        call_command("import_images", str(folder), "--name", "C", "--list", "x", "--labels", "y")
    with pytest.raises(CommandError, match="there is no such table"):
        call_command("import_images", str(folder), "--name", "C", "--list", str(tmp_path / "absent.txt"))
    with pytest.raises(CommandError, match="no line could be used"):
        call_command(
            "import_images", str(folder), "--name", "C", "--list", str(written(tmp_path / "n.txt", "no.png\n"))
        )


def test_names_of_files_and_classes_may_have_blanks(tmp_path: Path) -> None:
    known = {"a.png", "b c.png", "b"}
    text = "a.png Zebra Longwing\nb c.png Common Buckeye\nb c.png\nb 3\nnone at all.png\nnone at all.png 12\n"
    lines = read_list(written(tmp_path / "l.txt", text), known.__contains__)
    assert [(line.number, line.file, line.label) for line in lines] == [
        (1, "a.png", "Zebra Longwing"), (2, "b c.png", "Common Buckeye"), (3, "b c.png", ""), (4, "b", "3"),
        (5, "none at all.png", ""), (6, "none at all.png", "12"),
    ]  # fmt: skip


def test_lists_make_parts_and_others_are_in_none(birds: ImageSet, tmp_path: Path) -> None:
    train = written(tmp_path / "train.txt", "wren/a.png wren\nwren/b c.png 1\n")
    more = written(tmp_path / "more.txt", "f.png\n")
    test = written(tmp_path / "test.txt", "d.png 0\n")  # the last part of the name is enough where one has it
    out = StringIO()
    call_command(
        "make_partition", "--image-set", "Birds", "--name", "published",
        "--from-list", str(train), "--part", "train", "--from-list", str(test), "--part", "test",
        "--from-list", str(more), "--part", "train", stdout=out,
    )  # fmt: skip
    made = Partition.objects.get()
    assert parts_of(made) == {"wren/a.png": "train", "wren/b c.png": "train", "f.png": "train", "owl/d.png": "test"}
    assert "1 test, 3 train" in out.getvalue()
    assert made.spec["lists"] == [["train.txt", "train"], ["test.txt", "test"], ["more.txt", "train"]]
    assert AuditEntry.objects.filter(action="make_partition", object_id=str(made.uuid)).exists()
    rest = partition_from_lists(birds, [(test, "test")], "rest", rest="validation")
    assert sorted(parts_of(rest).values()) == ["test", *["validation"] * 4]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wren/a.png\nnobody.png 1\n", "l.txt, line 2: “nobody.png” is not in the set"),
        ("wren/a.png 7\n", "line 1: “7” is no label of the set: a class, or 0 to 1"),
        ("wren/a.png\teagle\n", "“eagle” is no label"),
        ("wren/a.png 0\n", "the list says “owl”, the image is labelled “wren”"),
        ("nobody.png\n" * 7, "… and 2 more lines."),
    ],
)
def test_bad_lines_are_named_and_nothing_is_made(birds: ImageSet, tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(PartitionRefused) as caught:
        partition_from_lists(birds, [(written(tmp_path / "l.txt", text), "train")], "x")
    assert words in str(caught.value)
    assert not Partition.objects.exists()


def test_other_refusals(birds: ImageSet, tmp_path: Path) -> None:
    one = written(tmp_path / "one.txt", "wren/a.png\n")
    with pytest.raises(PartitionRefused, match="is in the part train already"):
        partition_from_lists(birds, [(one, "train"), (one, "test")], "x")
    with pytest.raises(PartitionRefused, match="“elsewhere” is not a part"):
        partition_from_lists(birds, [(one, "elsewhere")], "x")
    with pytest.raises(ImportRefused, match="the list is empty"):
        read_list(written(tmp_path / "empty.txt", "\n"), lambda text: True)
    with pytest.raises(CommandError, match="needs a --part"):
        call_command("make_partition", "--image-set", "Birds", "--name", "x", "--from-list", str(one))
    with pytest.raises(CommandError, match="The lists say it all"):
        call_command(
            "make_partition", "--image-set", "Birds", "--name", "x", "--from-list", str(one), "--part", "train",
            "--fraction", "test=1",
        )  # fmt: skip
