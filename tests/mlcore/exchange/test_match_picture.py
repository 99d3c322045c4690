"""A comparison as SVG and PNG: what it says, where its patches lie, and that nothing is fetched or run."""

import base64
import io
import xml.etree.ElementTree as Tree

import numpy as np
import pytest
from PIL import Image as Pictures

from mlcore.exchange.correspondences import add_correspondences
from mlcore.exchange.match_layout import Badge, Box, Picture, Text, fitted, lay_out, length
from mlcore.exchange.match_marks import COLOURS, box, class_name, readable
from mlcore.exchange.match_picture import drawn
from mlcore.models import Classifier, Explanation, Image, ImageLabel
from mlcore.runs.match_boards import board_of, nearest_of, right_answers
from tests.annotation.birds import make_birds
from tests.mlcore.exchange.test_correspondences import CLASSES, image_set

pytestmark = pytest.mark.django_db
SVG = "{http://www.w3.org/2000/svg}"
PATCHES = [
    {"query": [0, 0, 0.5, 0.5], "neighbour": [0.25, 0.5, 0.75, 1], "score": 0.8},
    {"query": [0.5, 0.5, 1, 1], "neighbour": [0, 0, 0.25, 0.25], "score": 0.2},
]


def rows(images, says: int, patches: bool) -> list[dict]:
    others = [{"image": other, "score": 0.9 - 0.1 * place} for place, other in enumerate(images[1:])]
    if patches:
        others = [other | {"patches": PATCHES} for other in others]
    return [{"image": images[0], "predicted": says, "confidence": 0.85, "neighbours": others}]


def add(classifier, of, method: str, says: int, patches: bool, **options):
    images = list(Image.objects.filter(image_set=of).order_by("pk"))
    payload = "matches" if patches else "neighbours"
    made = add_correspondences(
        classifier, of, rows(images, says, patches), owner=None, method=method, payload=payload, options=options
    )
    return Explanation.objects.get(set=made)


@pytest.fixture
def birds():
    made = image_set(images=4)
    made.classes = ["001.Red_<wren>", "robin & co", "oriole"]
    made.save()
    return made


@pytest.fixture
def classifier(birds):
    return Classifier.objects.create(name="net", architecture="sixconv", classes=birds.classes)


@pytest.fixture
def nearest(classifier, birds):
    made = add(classifier, birds, "knn", 0, False, votes=20)
    made.data["confidence"] = 0.85  # as a run leaves it; an import leaves a prediction, which the next one replaces
    made.save()
    return made


@pytest.fixture
def matched(classifier, birds, nearest):
    return add(classifier, birds, "emd_corr", 1, True, votes=20)


def test_the_board_says_what_each_way_said_of_the_query(matched, nearest) -> None:
    board = board_of(matched, most=2)
    assert board.truth == ["Red <wren>"]  # picture 0 shows class 0
    assert [(way.title, way.sentence, way.verdict) for way in board.ways] == [
        ("Nearest neighbours", "Red <wren>, 17 of 20 votes (85 %)", "right"),
        ("EMD-Corr", "robin & co, 17 of 20 votes (85 %)", "wrong"),
    ]
    assert [one.words for one in board.ways[1].neighbours] == ["robin & co", "oriole"]
    assert [one.seen.name for one in board.ways[1].neighbours] == ["1.png", "2.png"]
    assert (board.ways[0].patches, board.ways[1].patches) == (0, 2)
    assert nearest_of(matched).pk == nearest.pk
    assert nearest_of(nearest) is None


def test_the_confidence_is_the_rows_own_else_that_of_the_same_class(matched, nearest) -> None:
    assert board_of(matched).ways[1].confidence == 0.85  # the prediction that the import left
    Explanation.objects.filter(pk=matched.pk).update(data=matched.data | {"confidence": 0.4})
    assert board_of(Explanation.objects.get(pk=matched.pk)).ways[1].confidence == 0.4
    del nearest.data["confidence"]  # the prediction is of another class by now
    nearest.save()
    assert board_of(matched).ways[0].confidence is None


def test_several_right_answers_and_none(matched, birds) -> None:
    image = matched.image
    ImageLabel.objects.create(image=image, index=1, source="import")
    ImageLabel.objects.create(image=image, index=2, source="someone")
    assert right_answers(image) == [0, 1]
    assert board_of(matched).ways[1].right is True
    ImageLabel.objects.filter(image=image, source="import").delete()
    assert right_answers(image) == [2]
    ImageLabel.objects.filter(image=image).delete()
    assert (board_of(matched).ways[1].right, board_of(matched).truth) == (None, [])


def test_classes_that_are_numbered_otherwise_are_compared_by_name(matched, classifier) -> None:
    Classifier.objects.filter(pk=classifier.pk).update(classes=["oriole", "001.Red_<wren>", "robin & co"])
    board = board_of(Explanation.objects.get(pk=matched.pk))
    assert (board.ways[1].words, board.ways[1].verdict) == ("Red <wren>", "right")


def test_a_map_is_refused(matched) -> None:
    with pytest.raises(ValueError, match="is a map"):
        board_of(Explanation(set=matched.set, image=matched.image, payload="map"))


def test_patches_lie_where_the_shares_say(matched) -> None:
    drawing = lay_out(board_of(matched), 1000)
    pictures = [shape for shape in drawing.shapes if isinstance(shape, Picture)]
    boxes = [shape for shape in drawing.shapes if isinstance(shape, Box)]
    # kNN: the query and three neighbours; matches: the query above each of three neighbours.
    assert len(pictures) == 4 + 6
    assert all(abs(one.width / one.height - 24 / 16) < 1e-6 for one in pictures)
    above = [one for one in pictures if "what matches neighbour" in one.text]
    below = [one for one in pictures if one.y > above[0].y]
    assert [one.x for one in above] == [one.x for one in below]
    assert len(boxes) == 12
    first = min((shape for shape in boxes if shape.number == 1), key=lambda shape: (shape.y, shape.x))
    assert (first.x, first.y) == (above[0].x, above[0].y)
    assert (first.width, first.height) == pytest.approx((above[0].width / 2, above[0].height / 2))
    partner = min((shape for shape in boxes if shape.number == 1 and shape.y >= below[0].y), key=lambda shape: shape.x)
    assert partner.x - below[0].x == pytest.approx(below[0].width * 0.25)
    assert partner.y - below[0].y == pytest.approx(below[0].height * 0.5)
    for badge in (shape for shape in drawing.shapes if isinstance(shape, Badge)):
        assert any(
            one.x <= badge.x - badge.radius + 0.01 and badge.x + badge.radius <= one.x + one.width + 0.01
            and one.y <= badge.y - badge.radius + 0.01 and badge.y + badge.radius <= one.y + one.height + 0.01
            for one in pictures
        ), "a number lies on a picture"  # fmt: skip
    assert all(shape.x + shape.width <= drawing.width for shape in pictures)
    assert max(shape.y for shape in drawing.shapes) <= drawing.height


def test_the_svg_holds_its_words_as_text_and_its_pictures_in_itself(matched) -> None:
    content = drawn(board_of(matched), "svg", 900)
    root = Tree.fromstring(content)
    words = [" ".join(node.itertext()) for node in root.iter(f"{SVG}text")]
    assert "EMD-Corr: robin & co, 17 of 20 votes (85 %)" in words
    assert {"right", "wrong", "0.png", "It shows: Red <wren>", "1", "2"} <= set(words)
    assert root.find(f"{SVG}title").text.startswith("0.png. Nearest neighbours:")
    text = content.decode()
    assert "<script" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http://www.w3.org/1999/xlink", "")
    held = [node.get("{http://www.w3.org/1999/xlink}href") for node in root.iter(f"{SVG}image")]
    assert len(held) == 1 + 3 + 3  # the query once
    for data in held:
        assert Pictures.open(io.BytesIO(base64.b64decode(data.removeprefix("data:image/jpeg;base64,")))).size[0] > 300
    assert {COLOURS[0][0], COLOURS[1][0]} <= {node.get("stroke") for node in root.iter(f"{SVG}rect")}


@pytest.mark.parametrize("width", [480, 1200, 2000])
def test_the_png_is_as_wide_as_asked_and_has_the_patches_colours(matched, width) -> None:
    board = board_of(matched)
    picture = Pictures.open(io.BytesIO(drawn(board, "png", width)))
    assert (picture.format, picture.width) == ("PNG", width)
    pixels = np.asarray(picture.convert("RGB"))
    drawing = lay_out(board, width)
    for shape in (shape for shape in drawing.shapes if isinstance(shape, Box) and shape.number == 2):
        row = pixels[round(shape.y + shape.height / 2)]
        line = row[round(shape.x + shape.width) - 2 : round(shape.x + shape.width) + 3]
        assert (line == (0x56, 0xB4, 0xE9)).all(axis=1).any()
    for shape in (shape for shape in drawing.shapes if isinstance(shape, Text) and shape.words == "wrong"):
        area = pixels[round(shape.y - shape.size) : round(shape.y), round(shape.x) : round(shape.x + 3 * shape.size)]
        assert (area[..., 0].astype(int) - area[..., 1] > 60).any()


def test_what_cannot_be_drawn_is_refused(matched) -> None:
    board = board_of(matched)
    with pytest.raises(ValueError, match="drawn as svg or png, not as “gif”"):
        drawn(board, "gif")
    with pytest.raises(ValueError, match="480 to 4800 pixels wide, not 20"):
        drawn(board, "png", 20)


def test_long_words_are_cut_where_they_end() -> None:
    long = "Northern rough-winged swallow of the farthest shore"
    cut = fitted(long, 14, False, 120)
    assert cut.endswith("…")
    assert long.startswith(cut[:-1])
    assert length(cut, 14) <= 120
    assert fitted("wren", 14, False, 120) == "wren"
    assert fitted("wren", 14, False, 2) == ""


def test_classes_are_read_as_people_read_them() -> None:
    assert readable("036.Northern_Flicker") == "Northern Flicker"
    assert [class_name(CLASSES, index) for index in (0, 2, 3, -1, None)] == ["wren", "oriole", "", "", ""]


def test_a_mark_lies_in_whole_units_and_its_number_on_the_picture() -> None:
    assert box([0, 0, 0.001, 0.5], (640, 480), 13) == {
        "x": 0, "y": 0, "width": 1, "height": 240, "cx": 13, "cy": 13, "r": 13
    }  # fmt: skip
    corner = box([0.99, 0.99, 1, 1], (640, 480), 13)
    assert (corner["cx"], corner["cy"]) == (627, 467)


def test_real_birds(test_data, tmp_path) -> None:
    birds = make_birds(test_data / "cub832", tmp_path)
    one = Explanation.objects.filter(set=birds.matches).first()
    board = board_of(one)
    assert len(board.ways[0].neighbours) == 6
    assert len(drawn(board, "svg")) < 1_000_000
    assert Pictures.open(io.BytesIO(drawn(board, "png", 1600))).width == 1600
