"""Pascal VOC's XML, also ImageNet's: labels and boxes come in; entities are never expanded, files never fetched."""

import re
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcore.exchange.annotations import read_names
from mlcore.exchange.images import import_folder
from mlcore.exchange.report import ImportRefused
from mlcore.exchange.voc import plan_voc
from mlcore.models import AuditEntry, Box, Image, ImageLabel, ImageSet, Mask
from tests.mlcore.exchange.pictures import save

DOG = ("dog", (3, 4, 6, 8), 0)
CAT = ("cat", (1, 1, 24, 16), 1)


def thing(name: str, corners: tuple, difficult: object = 0) -> str:
    box = "".join(
        f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    parts = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{box}</bndbox>{parts}</object>"


def voc(filename: str, *things: tuple, size: tuple[int, int] = (24, 16)) -> str:
    """One file as the challenge wrote it, with a part inside each object."""
    said = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    inner = "".join(thing(*one) for one in things)
    return f"<annotation><folder>VOC</folder><filename>{filename}</filename>{said}{inner}</annotation>"


@pytest.fixture
def root(tmp_path):
    for seed, name in enumerate(("JPEGImages/a.jpg", "JPEGImages/b.jpg", "JPEGImages/c.png")):
        save(tmp_path / "set" / name, seed)
    (tmp_path / "xml").mkdir()
    return tmp_path


def write(root: Path, **files: str | bytes) -> Path:
    for name, text in files.items():
        data = text if isinstance(text, bytes) else text.encode()
        (root / "xml" / f"{name}.xml").write_bytes(data)
    return root / "xml"


def run(root: Path, **options):
    return import_folder(root / "set", name="VOC", voc=root / "xml", **options)


@pytest.mark.django_db
def test_labels_and_boxes_come_in_and_a_second_time_nothing(root):
    write(root, a=voc("a.jpg", DOG, CAT), b=voc("b.jpg", ("cat", (2.5, 3, 10, 12), 0), size=(0, 0)), c=voc("c.png"))
    report = run(root)
    assert report.problems == []
    assert report.sentence() == "VOC: 3 images added, 3 boxes."
    assert [str(note) for note in report.notes] == ["xml: 1 of the images have no object; they have no label."]
    assert ImageSet.objects.get().classes == ["cat", "dog"]
    labels = [(row.image.name, row.index) for row in ImageLabel.objects.order_by("pk")]
    assert labels == [("JPEGImages/a.jpg", 0), ("JPEGImages/a.jpg", 1), ("JPEGImages/b.jpg", 0)]
    # Pixels 3 … 6, counted from 1, are 2 ≤ x < 6 counted from 0; 1 … 24 is the whole width.
    boxes = {
        (box.image.name[-5], box.x0, box.y0, box.x1, box.y1, box.category, box.difficult) for box in Box.objects.all()
    }
    assert boxes == {
        ("a", 2, 3, 6, 8, 1, False),
        ("a", 0, 0, 24, 16, 0, True),
        ("b", 1.5, 2, 10, 12, 0, False),
    }
    again = run(root)
    assert not again.changed
    assert (again.already, again.problems) == (3, [])
    assert (Image.objects.count(), ImageLabel.objects.count(), Box.objects.count()) == (3, 3, 3)
    assert not Mask.objects.exists()


@pytest.mark.django_db
def test_imagenets_files_name_synsets_and_no_suffix(tmp_path):
    for seed, name in enumerate(("train/n02/n02_1.JPEG", "val/v_1.JPEG", "val/v_2.JPEG")):
        save(tmp_path / "set" / name, seed)
    for name, text in {
        "train/n02/n02_1.xml": voc("n02_1", ("n02", (0, 0, 5, 5), 0)),
        "val/v_1.xml": voc("v_1", ("n03", (2, 2, 5, 5), 0)),
        "val/v_2.xml": voc("%s", ("n01", (2, 2, 5, 5), 0)),
    }.items():
        (tmp_path / "xml" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "xml" / name).write_text(text)
    names = tmp_path / "synsets.txt"
    names.write_text("n02 tench, Tinca tinca\nn01 crane\nn03 crane\nn04 goldfish\n")
    report = run(tmp_path, names=names)
    assert report.problems == []
    assert ImageSet.objects.get().classes == ["tench, Tinca tinca", "crane (1)", "crane (2)", "goldfish"]
    said = dict(ImageLabel.objects.values_list("image__name", "index"))
    assert said == {"train/n02/n02_1.JPEG": 0, "val/v_1.JPEG": 2, "val/v_2.JPEG": 1}
    assert Box.objects.get(image__name="train/n02/n02_1.JPEG").x0 == 0  # counted from 0 it would begin at −1
    assert report.notes == []


@pytest.mark.django_db
def test_the_picture_beside_the_file_comes_before_one_elsewhere(tmp_path):
    for seed, name in enumerate(("one/a.png", "two/a.png")):
        save(tmp_path / "set" / name, seed)
        (tmp_path / "xml" / name).parent.mkdir(parents=True)
        (tmp_path / "xml" / name).with_suffix(".xml").write_text(voc("a.png", (name[:3], (2, 2, 5, 5), 0)))
    (tmp_path / "xml" / "a.xml").write_text(voc("a.png", DOG))
    report = run(tmp_path)
    assert [str(problem) for problem in report.problems] == [
        "a.xml: There is no picture “a.png” in the folder, or several."
    ]
    labels = {row.image.name: report.image_set.classes[row.index] for row in ImageLabel.objects.all()}
    assert labels == {"one/a.png": "one", "two/a.png": "two"}


@pytest.mark.django_db
def test_what_is_wrong_is_named_and_the_rest_comes_in(root):
    bad = (
        DOG, ("", (1, 1, 2, 2)), ("dog", ("", 1, 2, 2)), ("dog", (1, 1, "x", 2)), ("dog", (5, 1, 2, 2)),
        ("dog", (1, 1, 2, "1e9")), ("dog", (1, 1, 2, 2), "maybe"), ("dog", (20, 1, 40, 5)), ("dog", (30, 1, 40, 5)),
    )  # fmt: skip
    text = voc("a.jpg", *bad).replace("</annotation>", "<object><name>dog</name></object></annotation>")
    write(
        root, a=text, b=voc("gone.jpg", DOG), c=voc("a.jpg", DOG), d="<annotation>", e="<html/>", f="",
        g=b"\xff\xfe\x00", h=voc("c.png", DOG, size=(48, 32)),
        i='<?xml version="1.0" encoding="martian"?><annotation/>',
    )  # fmt: skip
    report = run(root)
    # The parser's own words differ from version to version.
    assert [re.sub(r"(?<=read) \(.*", "", str(problem)) for problem in report.problems] == [
        "a.xml, object 2, name: The name of the object is missing or holds characters that no name has.",
        "a.xml, object 3, xmin: The number is missing.",
        "a.xml, object 4, xmax: “x” is not a number.",
        "a.xml, object 5, xmax: xmax (2) must not be smaller than xmin (5).",
        "a.xml, object 6, ymax: “1e9” is no number of pixels.",
        "a.xml, object 7, difficult: “maybe” is neither 1 (difficult) nor 0.",
        "a.xml, object 10: The object has no <bndbox>.",
        "d.xml: The file is not XML that can be read",
        "e.xml: This is no VOC file: its root is <html>, not <annotation>.",
        "f.xml: The file is not XML that can be read",
        "g.xml: The file is not XML that can be read",
        "i.xml: The file is not XML that can be read",
        "b.xml: There is no picture “gone.jpg” in the folder, or several.",
        "c.xml: The picture “JPEGImages/a.jpg” is described in a.xml already.",
        "JPEGImages/c.png: The annotations are for 48×32 pixels, the picture is 24×16; "
        "its boxes and masks were left out.",
        "a.xml, object 9: The box lies outside its picture, which is 24×16.",
    ]
    assert [str(note) for note in report.notes] == [
        "a.xml, object 8: The box reached beyond its picture (24×16) and was cut at the edge."
    ]
    assert (report.added, report.boxes) == (2, 2)


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE annotation [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + k)} "{f"&{chr(97 + k)};" * 10}">' for k in range(9))
    + "]><annotation><filename>&j;</filename></annotation>"
)
FETCH = (
    '<!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>'
)
PARAMETER = '<!DOCTYPE annotation [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x.dtd"> %x;]><annotation/>'
OUTSIDE = '<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/x.dtd"><annotation/>'


@pytest.mark.django_db
@pytest.mark.parametrize("text", [LAUGHS, FETCH, PARAMETER, OUTSIDE, LAUGHS.encode("utf-16")])
def test_a_doctype_is_refused_whatever_it_declares(root, text):
    write(root, a=text)
    with pytest.raises(ImportRefused, match="none of the 1 XML files could be read") as refused:
        run(root)
    assert [str(problem) for problem in refused.value.problems] == [
        "a.xml: The file has a DOCTYPE, which could declare entities; it is not read. Remove that line."
    ]
    assert not ImageSet.objects.exists()
    assert not AuditEntry.objects.exists()


@pytest.mark.django_db
def test_deep_and_large_files_are_refused(root, monkeypatch):
    write(root, a="<a>" * 100_000)
    with pytest.raises(ImportRefused) as refused:
        run(root)
    assert "nested deeper than 32" in str(refused.value.problems[0])
    monkeypatch.setattr("mlcore.exchange.voc.MAX_BYTES", 100)
    write(root, a=voc("a.jpg", DOG))
    with pytest.raises(ImportRefused) as refused:
        run(root)
    assert "The file has more than" in str(refused.value.problems[0])


@pytest.mark.django_db
def test_what_cannot_be_used_at_all_is_refused(root, tmp_path):
    with pytest.raises(ImportRefused, match="no XML file in this folder"):
        run(root)
    with pytest.raises(ImportRefused, match="There is no folder of XML files"):
        import_folder(root / "set", name="VOC", voc=root / "nowhere")
    write(root, a=voc("a.jpg"))
    with pytest.raises(ImportRefused, match="list of classes is empty"):
        run(root)
    write(root, a=voc("gone.jpg", DOG))
    with pytest.raises(ImportRefused, match="none of the XML files could be used"):
        run(root)
    outside = tmp_path / "outside.xml"
    outside.write_text(voc("a.jpg", DOG))
    (root / "xml" / "a.xml").unlink()
    (root / "xml" / "a.xml").symlink_to(outside)
    with pytest.raises(ImportRefused, match="no XML file in this folder"):
        run(root)
    assert not ImageSet.objects.exists()


@pytest.mark.django_db
def test_known_classes_stay_and_unknown_names_are_named(root, tmp_path):
    write(root, a=voc("a.jpg", DOG, CAT))
    report = run(root, classes=["dog", "bird"])
    assert [str(problem) for problem in report.problems] == [
        "a.xml, object 2, name: “cat” is not a class of this set. Classes are fixed by the first import."
    ]
    assert list(ImageLabel.objects.values_list("index", flat=True)) == [0]
    names = tmp_path / "names.csv"
    names.write_text("index,wnid,name\n0,dog,Hund\n")
    report = import_folder(root / "set", name="Deutsch", voc=root / "xml", names=names)
    assert [str(problem) for problem in report.problems] == ["a.xml, object 2, name: The list of names has no “cat”."]
    assert report.image_set.classes == ["Hund"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "n01 a\nn01 b\n", "entry 2: the id “n01” stands twice"),
        ("a.txt", "n01\n", "entry 1: an id and a name are needed"),
        ("a.txt", "", "the list of classes is empty"),
        ("a.csv", "index,name\n0,a\n", "needs the columns “wnid”"),
        ("a.csv", "", "needs the columns “wnid”"),
        ("a.csv", "wnid,name\nn01\n", "an id and a name are needed"),
    ],
)
def test_names_that_cannot_be_used_are_refused(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ImportRefused, match=said):
        read_names(tmp_path / name)


NOISE = [b"<!DOCTYPE a>", b"&lt;", b"&x;", b"<![CDATA[", b"nan", b"1e400", b"\xed\xa0\x80", b"</object>", b"<object>"]


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 10_000), st.integers(0, 40), st.one_of(st.binary(max_size=4), st.sampled_from(NOISE)))
def test_broken_files_are_named_or_read(root, at, gone, noise):
    """Never another exception than ImportRefused, whatever stands wherever."""
    whole = voc("a.jpg", DOG, CAT).encode()
    at %= len(whole)
    write(root, a=whole[:at] + noise + whole[at + gone :], b=voc("b.jpg", DOG))
    with suppress(ImportRefused):
        plan = plan_voc(root / "xml", root / "set")
        assert "JPEGImages/b.jpg" in {item.name for item in plan.items} or plan.problems
        said = "".join(map(str, plan.problems))
        assert not [one for one in said if unicodedata.category(one) in ("Cc", "Cs")]
