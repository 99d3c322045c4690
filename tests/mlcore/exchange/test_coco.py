"""COCO's JSON: labels, boxes and masks come in as they are said; what is wrong is named by its place in the file."""

import copy
import json
import unicodedata
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pictures

from mlcore.exchange.coco import plan_coco
from mlcore.exchange.images import import_folder
from mlcore.exchange.report import ImportRefused
from mlcore.models import AuditEntry, Box, Image, ImageLabel, ImageSet, Mask
from tests.mlcore.exchange.pictures import save

SQUARE = [[2, 3, 6, 3, 6, 8, 2, 8]]  # 4 × 5 pixels


def coco() -> dict[str, Any]:
    """Three pictures of 24 × 16; the categories' ids have gaps and stand out of order."""
    return {
        "info": {"year": 2014},
        "images": [
            {"id": 7, "file_name": "a.png", "width": 24, "height": 16},
            {"id": 9, "file_name": "deep/b.jpg", "width": 24, "height": 16},
            {"id": 11, "file_name": "c.png", "width": 24, "height": 16},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "bbox": [2, 3, 4, 5], "iscrowd": 0, "segmentation": SQUARE},
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0.5, 0, 10.25, 16], "iscrowd": 0, "segmentation": []},
            {
                "id": 3, "image_id": 9, "category_id": 18, "bbox": [0, 0, 24, 16], "iscrowd": 1,
                "segmentation": {"size": [16, 24], "counts": [16, 16, 22 * 16]},
            },
            {
                "id": 4, "image_id": 7, "category_id": 18, "bbox": [20, 10, 2, 2],
                "segmentation": [[20, 10, 22, 10, 22, 12]],
            },
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}, {"id": 90, "name": "toothbrush"}],
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate(("a.png", "deep/b.jpg", "c.png")):
        save(tmp_path / "set" / name, seed)
    return tmp_path / "set"


def run(folder, data: Any, **options):
    path = folder.parent / "instances.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return import_folder(folder, name="Things", coco=path, **options)


@pytest.mark.django_db
def test_labels_boxes_and_masks_come_in(folder):
    report = run(folder, coco())
    assert report.problems == []
    assert [str(note) for note in report.notes] == [
        "instances.json: 1 of the images have no annotation; they have no label."
    ]
    assert report.sentence() == "Things: 3 images added, 2 masks, 4 boxes."
    assert ImageSet.objects.get().classes == ["car", "dog", "toothbrush"]
    labels = [(row.image.name, row.index) for row in ImageLabel.objects.order_by("pk")]
    assert labels == [("a.png", 0), ("a.png", 1), ("deep/b.jpg", 1)]
    boxes = {(b.image.name, b.x0, b.y0, b.x1, b.y1, b.category, b.difficult) for b in Box.objects.all()}
    assert boxes == {
        ("a.png", 2, 3, 6, 8, 1, False),
        ("a.png", 0.5, 0, 10.75, 16, 0, False),
        ("a.png", 20, 10, 22, 12, 1, False),
        ("deep/b.jpg", 0, 0, 24, 16, 1, True),
    }
    drawn = {(mask.image.name, mask.category): np.asarray(Pictures.open(mask.file)) for mask in Mask.objects.all()}
    expected = np.zeros((16, 24), dtype=np.uint8)
    expected[3:8, 2:6] = 255
    expected[10, 20:22] = 255  # the triangle: centres (20.5, 10.5) on its edge, (21.5, 10.5) and (21.5, 11.5) inside
    expected[11, 21] = 255
    runs = np.zeros((16, 24), dtype=np.uint8)
    runs[:, 1] = 255
    assert drawn.keys() == {("a.png", 1), ("deep/b.jpg", 1)}
    assert np.array_equal(drawn["a.png", 1], expected)
    assert np.array_equal(drawn["deep/b.jpg", 1], runs)


@pytest.mark.django_db
def test_a_second_import_adds_nothing(folder):
    run(folder, coco())
    before = {model: sorted(model.objects.values_list("pk", flat=True)) for model in (Image, ImageLabel, Box, Mask)}
    report = run(folder, coco())
    assert not report.changed
    assert (report.already, report.problems) == (3, [])
    for model, pks in before.items():
        assert sorted(model.objects.values_list("pk", flat=True)) == pks
    assert AuditEntry.objects.filter(action="import_images").count() == 1


@pytest.mark.django_db
def test_what_is_wrong_is_named_and_the_rest_comes_in(folder):
    data = coco()
    data["images"] += [
        {"id": 20, "file_name": "gone.png"},
        {"id": 7, "file_name": "a.png"},
        {"id": 21, "file_name": "a.png"},
        {"id": 22, "file_name": "../a.png"},
        "no image",
    ]
    data["annotations"] = [
        {"id": 1, "image_id": 7, "category_id": 18, "bbox": [2, 3, 4, 5]},
        {"id": 1, "image_id": 7, "category_id": 18, "bbox": [2, 3, 4, 6]},
        {"id": 2, "image_id": 20, "category_id": 18, "bbox": [2, 3, 4, 5]},
        {"id": 3, "image_id": 99, "category_id": 18, "bbox": [2, 3, 4, 5]},
        {"id": 4, "image_id": 7, "category_id": 5, "bbox": [2, 3, 4, 5]},
        {"id": 5, "image_id": 7, "category_id": 3, "bbox": [2, 3, 0, 5]},
        {"id": 6, "image_id": 7, "category_id": 3, "bbox": [2, 3, "4", 5]},
        {"id": 7, "image_id": 7, "category_id": 3, "bbox": [2, 3]},
        {"id": 8, "image_id": 9, "category_id": 18, "bbox": [20, 3, 10, 5]},
        {"id": 9, "image_id": 9, "category_id": 18, "bbox": [30, 3, 10, 5]},
        {"id": 10, "image_id": 9, "category_id": 18, "bbox": [1, 1, 2, 2], "segmentation": [[1, 2]]},
        None,
    ]
    report = run(folder, data)
    assert [str(problem) for problem in report.problems] == [
        "instances.json, images[3].file_name (gone.png): There is no such file.",
        "instances.json, images[4].id (a.png): The id “7” stands twice; the first image keeps it.",
        "instances.json, images[5].file_name (a.png): The file stands in images[0] already.",
        "instances.json, images[6].file_name (../a.png): “../a.png” leads out of the folder.",
        "instances.json, images[7]: This is no object with id and file_name.",
        "instances.json, annotations[1].id: The id “1” stands twice; the first annotation keeps it.",
        "instances.json, annotations[3].image_id: There is no image “99” in this file.",
        "instances.json, annotations[4].category_id: “5” is the id of no category.",
        "instances.json, annotations[5].bbox: The box has no area: it is 0 wide and 5 high.",
        "instances.json, annotations[6].bbox: “4” is no number of pixels.",
        "instances.json, annotations[7].bbox: A box is a list of four numbers: x, y, width, height.",
        "instances.json, annotations[11]: This is no object with image_id and category_id.",
        "instances.json, annotations[9]: The box lies outside its picture, which is 24×16.",
    ]
    assert [str(note) for note in report.notes][1:] == [
        "instances.json, annotations[8]: The box reached beyond its picture (24×16) and was cut at the edge.",
        "deep/b.jpg (instances.json, annotations[8]): No mask of “dog”: not every object of it has a segmentation.",
    ]
    assert (report.added, report.boxes, report.masks) == (3, 3, 0)


@pytest.mark.django_db
def test_a_mask_with_a_broken_piece_is_left_out(folder):
    data = coco()
    data["annotations"][3]["segmentation"] = [[1, 2]]
    report = run(folder, data)
    said = "A polygon is a list x, y, x, y, … of three points or more. The mask of “dog” was left out."
    assert [str(problem) for problem in report.problems] == [f"instances.json, annotations[3]: {said}"]
    assert [mask.image.name for mask in Mask.objects.all()] == ["deep/b.jpg"]


@pytest.mark.django_db
def test_a_picture_of_another_size_keeps_its_labels_only(folder):
    data = coco()
    data["images"][0] |= {"width": 48, "height": 32}
    report = run(folder, data)
    assert [str(problem) for problem in report.problems] == [
        "a.png: The annotations are for 48×32 pixels, the picture is 24×16; its boxes and masks were left out."
    ]
    assert set(ImageLabel.objects.filter(image__name="a.png").values_list("index", flat=True)) == {0, 1}
    assert not Box.objects.filter(image__name="a.png").exists()


@pytest.mark.django_db
def test_the_classes_of_a_set_that_is_there_stay(folder):
    run(folder, coco())
    data = coco()
    data["categories"][1]["name"] = "bus"
    report = run(folder, data)
    assert [str(problem) for problem in report.problems] == [
        "instances.json, annotations[1].category_id: “bus” is not a class of this set. "
        "Classes are fixed by the first import."
    ]
    assert ImageSet.objects.get().classes == ["car", "dog", "toothbrush"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("1" * 5000, "not JSON"),
        ("[]", "no COCO file of instances: the list “images”"),
        ("{}", "the list “images”"),
        ({"images": [], "annotations": {}}, "the list “annotations”"),
        ({"images": [], "annotations": [], "categories": []}, "list of classes is empty"),
        ({**coco(), "categories": [{"id": 1}]}, r"categories\[0\]: a category needs an id and a name"),
        ({**coco(), "categories": [{"id": 1, "name": "a\0"}]}, "needs an id and a name"),
        ({**coco(), "categories": [{"id": 1, "name": "\ud800"}]}, "needs an id and a name"),
        ({**coco(), "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "the id “1” stands twice"),
        ({**coco(), "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}, "“a” stands twice"),
        ({**coco(), "images": []}, "none of the 0 images"),
        ({**coco(), "images": [{"id": 1, "file_name": "gone.png"}]}, "none of the 1 images"),
    ],
)  # fmt: skip
def test_what_is_no_coco_is_refused_and_leaves_nothing(folder, data, said):
    with pytest.raises(ImportRefused, match=said):
        run(folder, data)
    assert not ImageSet.objects.exists()
    assert not AuditEntry.objects.exists()


@pytest.mark.django_db
def test_names_of_any_script_are_kept(folder):
    data = coco()
    data["categories"][0]["name"] = " 大きな\u3000犬\u00a0🐕 "
    assert run(folder, data).image_set.classes == ["car", "大きな\u3000犬\u00a0🐕", "toothbrush"]


@pytest.mark.django_db
def test_one_source_at_a_time(folder, tmp_path):
    for options in ({"labels": tmp_path / "x.csv"}, {"voc": tmp_path}, {"class_column": "family"}):
        with pytest.raises(ImportRefused, match="Give one of"):
            run(folder, coco(), **options)
    with pytest.raises(ImportRefused, match="Give one of"):
        import_folder(folder, name="Things", names=tmp_path / "names.txt")
    with pytest.raises(ImportRefused, match="there is no such file"):
        import_folder(folder, name="Things", coco=tmp_path / "gone.json")


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -1, 0, 2**63, "", "\0", "\ud800", "x" * 500, [], {}, [[]], float("nan"), float("inf")]),
    st.floats(),
    st.text(max_size=6),
    st.lists(st.integers(-3, 30), max_size=9),
)


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Every place in a tree of lists and objects."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, below in inner for place in [(*path, key), *places(below, (*path, key))]]


@pytest.mark.django_db
@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_anywhere_is_taken_or_named(folder, data):
    """Never another exception than ImportRefused, whatever stands wherever."""
    tree = copy.deepcopy(coco())
    for place in data.draw(st.lists(st.sampled_from(places(tree)), min_size=1, max_size=3)):
        inner = tree
        try:
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = data.draw(ODD)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took this place away
    path = folder.parent / "instances.json"
    path.write_text(json.dumps(tree))
    try:
        report = import_folder(folder, name="Things", coco=path)
    except ImportRefused as refused:
        said = [refused.sentence, *map(str, refused.problems)]
    else:
        said = [str(problem) for problem in report.problems + report.notes]
        report.image_set.delete()
    assert not [one for sentence in said for one in sentence if unicodedata.category(one) in ("Cc", "Cs")]


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1000), st.binary(max_size=3))
def test_broken_bytes_are_refused_or_read(folder, at, noise):
    whole = json.dumps(coco()).encode()
    path = folder.parent / "instances.json"
    path.write_bytes(whole[: at % len(whole)] + noise + whole[at % len(whole) + len(noise) :])
    with suppress(ImportRefused):
        assert plan_coco(path, folder).items
