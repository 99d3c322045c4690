"""Masks and boxes: what fits is kept, what does not is named by file, row and column."""

import numpy as np
import pytest
from PIL import Image as Pictures

from mlcore.exchange.attachments import binary_mask
from mlcore.exchange.images import ImportRefused, import_folder
from mlcore.exchange.verify import BadImage
from mlcore.models import Box, Mask
from tests.mlcore.exchange.pictures import png_of, save, save_mask


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate(("cat/a.png", "cat/b.jpg", "dog/b.png", "dog/c.webp")):
        save(tmp_path / "set" / name, seed)
    return tmp_path / "set"


def run(folder, tmp_path, boxes: str):
    (tmp_path / "boxes.csv").write_text(boxes)
    return import_folder(folder, name="Pets", boxes=tmp_path / "boxes.csv")


@pytest.mark.django_db
def test_masks_find_their_pictures_by_path_and_by_stem(folder, tmp_path):
    masks = tmp_path / "masks"
    save_mask(masks / "a.png", (0, 0, 5, 5))
    save_mask(masks / "cat/b.png", (0, 0, 6, 6))
    save_mask(masks / "dog/b.png", (0, 0, 7, 7))
    save_mask(masks / "b.png")  # two pictures have this stem: nobody's
    save_mask(masks / "zebra.png")
    report = import_folder(folder, name="Pets", masks=masks)
    areas = {mask.image.name: int((np.asarray(Pictures.open(mask.file)) == 255).sum()) for mask in Mask.objects.all()}
    assert areas == {"cat/a.png": 25, "cat/b.jpg": 36, "dog/b.png": 49}
    assert report.masks == 3
    assert [str(note) for note in report.notes] == ["2 masks with no picture of that name: b.png, zebra.png"]
    assert report.problems == []


@pytest.mark.django_db
def test_masks_that_do_not_fit_are_named(folder, tmp_path):
    masks = tmp_path / "masks"
    save_mask(masks / "a.png", size=(24, 15))
    save_mask(masks / "c.png", (0, 0, 0, 0))
    (masks / "cat").mkdir()
    (masks / "cat/b.png").write_bytes(b"nothing")
    report = import_folder(folder, name="Pets", masks=masks)
    assert report.masks == 0
    assert [str(problem) for problem in report.problems] == [
        "a.png: The mask is 24×15, its picture 24×16. They must have one size.",
        "c.png: The mask is empty: no pixel of it is marked.",
        "cat/b.png: The file is not a picture that can be read (JPEG, PNG, WebP, GIF, BMP or TIFF).",
    ]


@pytest.mark.django_db
def test_another_mask_does_not_replace_the_first(folder, tmp_path):
    masks = tmp_path / "masks"
    save_mask(masks / "a.png")
    import_folder(folder, name="Pets", masks=masks)
    before = Mask.objects.get().sha256
    save_mask(masks / "a.png", (0, 0, 2, 2))
    report = import_folder(folder, name="Pets", masks=masks)
    assert "has another mask already" in str(report.problems[0])
    assert Mask.objects.get().sha256 == before


def marked(picture: Pictures.Image, threshold: int = 127) -> list[list[int]]:
    mask = binary_mask(png_of(picture), *picture.size, threshold)
    assert mask.mode == "L"
    return (np.asarray(mask) // 255).tolist()


def grey(*values: int, kind=np.uint8) -> Pictures.Image:
    return Pictures.fromarray(np.array([values], dtype=kind))


def test_what_counts_as_marked():
    assert marked(grey(0, 127, 128, 255)) == [[0, 0, 1, 1]]
    assert marked(grey(0, 127, 128, 255), threshold=200) == [[0, 0, 0, 1]]
    assert marked(grey(0, 1, 2, 0)) == [[0, 1, 1, 0]]  # indices in a grey file
    assert marked(grey(0, 65535, 40000, kind=np.uint16)) == [[0, 1, 1]]
    assert marked(grey(0, 1, 1, kind=np.uint16)) == [[0, 1, 1]]
    assert marked(grey(0, 255).convert("1")) == [[0, 1]]
    assert marked(grey(0, 255).convert("RGBA")) == [[0, 1]]
    palette = grey(0, 1, 2).convert("L")
    indexed = Pictures.frombytes("P", palette.size, palette.tobytes())
    indexed.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])  # dark colours, as in VOC: every index but 0 counts
    assert marked(indexed) == [[0, 1, 1]]
    indexed.putpalette([255, 255, 255, 0, 0, 0, 0, 0, 0])  # white comes first: colours decide
    assert marked(indexed) == [[1, 0, 0]]
    with pytest.raises(BadImage, match="empty"):
        marked(grey(0, 0))


@pytest.mark.django_db
def test_boxes_with_class_and_difficult(folder, tmp_path):
    report = run(
        folder,
        tmp_path,
        "file;x0;y0;x1;y1;class;difficult\n"
        "cat/a.png;1;2;10.5;12;dog;0\n"
        "a.png;3;3;5;5;;yes\n"
        "dog/c.webp;0;0;24.4;16;1;\n"
        "cat/a.png;1;2;10.5;12;dog;0\n",
    )
    rows = Box.objects.values_list("image__name", "x0", "y0", "x1", "y1", "category", "difficult").order_by("id")
    assert list(rows) == [
        ("cat/a.png", 1, 2, 10.5, 12, 1, False),
        ("cat/a.png", 3, 3, 5, 5, None, True),
        ("dog/c.webp", 0, 0, 24, 16, 1, False),
    ]
    assert (report.boxes, report.problems, report.notes) == (3, [], [])


@pytest.mark.django_db
def test_bad_boxes_are_named_by_row_and_column(folder, tmp_path):
    report = run(
        folder,
        tmp_path,
        "file,x0,y0,x1,y1,class\n"
        "cat/a.png,1,two,3,4,cat\n"
        "cat/a.png,5,2,5,4,cat\n"
        "cat/a.png,nan,2,3,4,cat\n"
        "cat/a.png,1,2,3,4,zebra\n"
        "cat/a.png,1,2,3\n"
        "cat/a.png,100,100,120,120,cat\n"
        "cat/a.png,,2,3,4,cat\n"
        "nobody.png,1,2,3,4,cat\n"
        "cat/a.png,-10,2,30,4,cat\n",
    )
    assert [str(problem) for problem in report.problems] == [
        "boxes.csv, row 6: The row has 4 cells, the first line 6.",
        "boxes.csv, row 2, column y0: “two” is not a number.",
        "boxes.csv, row 3, column x1: x1 (5) must be larger than x0 (5).",
        "boxes.csv, row 4, column x0: “nan” is not a number.",
        "boxes.csv, row 5, column class: “zebra” is not a class of this set.",
        "boxes.csv, row 8, column x0: The number is missing.",
        "boxes.csv, row 7: The box lies outside its picture, which is 24×16.",
    ]
    assert [str(note) for note in report.notes] == [
        "boxes.csv, row 10: The box reached beyond its picture (24×16) and was cut at the edge.",
        "1 box with no picture of that name: nobody.png",
    ]
    assert list(Box.objects.values_list("x0", "y0", "x1", "y1")) == [(0, 2, 24, 4)]


@pytest.mark.django_db
def test_a_table_without_coordinates_is_refused_before_anything_is_written(folder, tmp_path):
    with pytest.raises(ImportRefused, match="column “x1” is missing"):
        run(folder, tmp_path, "file,x0,y0\na.png,1,2\n")
    assert not Box.objects.exists()
