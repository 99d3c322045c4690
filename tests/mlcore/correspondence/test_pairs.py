"""Files of key-point pairs, and the pairs as a network learns from them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from mlcore.correspondence.chm.pairs import KeyPointPair, read_pairs
from mlcore.correspondence.features import describe
from mlcore.training.classifiers import build
from mlcore.training.data import to_input
from mlcore.training.key_points import KeyPoints

PAIR = {"source": "a.png", "target": "b.png", "points": [[10, 20], [39, 0]], "true": [[4, 6], [20, 10]]}


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (30, 40)), ("b.png", (60, 20)), ("c.png", (32, 32))):  # (height, width)
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(tmp_path / name)
    return tmp_path


def written(folder, *pairs):
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(json.dumps(PAIR | one) for one in pairs) + "\n\n", "utf-8")
    return path


def test_both_kinds_of_file_say_the_same(folder):
    lines = written(folder, {"box": [2, 3, 19, 50]}, {"source": "c.png", "points": [[1, 2]], "true": [[3, 4]]})
    table = folder / "pairs.csv"
    table.write_text(
        "source,target,x,y,to_x,to_y,x0,y0,x1,y1\n"
        "a.png,b.png,10,20,4,6,2,3,19,50\n"
        "c.png,b.png,1,2,3,4,,,,\n"
        "a.png,b.png,39,0,20,10,2,3,19,50\n",
        "utf-8",
    )
    first = KeyPointPair(
        folder / "a.png", folder / "b.png", ((10, 20), (39, 0)), ((4, 6), (20, 10)), (2.0, 3.0, 19.0, 50.0)
    )
    second = KeyPointPair(folder / "c.png", folder / "b.png", ((1, 2),), ((3, 4),))
    assert read_pairs(lines) == read_pairs(table) == [first, second]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source": "d.png"}, r"line 2: the picture d\.png does not exist"),
        ({"points": []}, "line 2: the pair lacks points"),
        ({"true": [[1, 2]]}, "as many"),
        ({"points": [[1, 2], [3, "x"]]}, "is not 2 numbers"),
        ({"points": [[1, 2], [3, float("nan")]]}, "is not 2 numbers"),
        ({"box": [5, 5, 5, 9]}, "the box is empty"),
        ({"box": [5, 5]}, "is not 4 numbers"),
    ],
)
def test_a_bad_line_is_named(folder, change, words):
    with pytest.raises(ValueError, match=words):
        read_pairs(written(folder, {}, change))


def test_a_bad_file_is_named(folder):
    for name, text, words in (
        ("x.jsonl", "", "holds no pair"),
        ("x.jsonl", "{", "line 1: this is no JSON"),
        ("x.jsonl", "[]", "a pair is an object"),
        ("x.csv", "source,x\n", "the columns target, y, to_x, to_y are missing"),
        ("x.csv", "source,target,x,y,to_x,to_y\na.png,,1,2,3,4\n", "line 2: a key point names"),
        ("x.txt", "", r"read from \.jsonl or \.csv"),
    ):
        (folder / name).write_text(text, "utf-8")
        with pytest.raises(ValueError, match=words):
            read_pairs(folder / name)
    with pytest.raises(ValueError, match="does not exist"):
        read_pairs(folder / "none.csv")


def test_pairs_become_features_and_points_of_the_squashed_picture(folder):
    torch.manual_seed(0)
    model = build("sixconv", 3).eval()
    pairs = read_pairs(written(folder, {"box": [2, 3, 17, 51]}, {"points": [[0, 30]], "true": [[20, 60]]}))
    made = KeyPoints(model, "features.8", pairs, size=32)
    batch = made.in_order()[0]
    assert batch.there.tolist() == [[True, True], [True, False]]
    assert batch.points[0, 0].tolist() == pytest.approx([10 / 40 * 2 - 1, 20 / 30 * 2 - 1])
    assert batch.true[0, 1].tolist() == pytest.approx([20 / 20 * 2 - 1, 10 / 60 * 2 - 1])
    assert batch.points[1, 0].tolist() == [-1, 1]
    # The longer side as it is seen: 15 of 20 pixels across, 48 of 60 down.
    assert batch.extent.tolist() == pytest.approx([1.6, 2.0])
    picture = Image.open(folder / "a.png").resize((32, 32), Image.Resampling.BILINEAR)
    seen = describe(model, "features.8", to_input(torch.tensor(np.asarray(picture))[None], "imagenet"))
    assert torch.allclose(batch.source[0], seen[0], atol=2e-2)
    assert torch.equal(batch.target[0], batch.target[1])
    orders = [tuple(float(one.extent[0]) for one in made.epoch(number, 1)) for number in range(40)]
    assert len(set(orders)) == 2
    assert orders == [tuple(float(one.extent[0]) for one in made.epoch(number, 1)) for number in range(40)]
    outside = read_pairs(written(folder, {"points": [[10, 20], [41, 0]]}))
    with pytest.raises(ValueError, match=r"outside of a\.png, which has 40 × 30 pixels"):
        KeyPoints(model, "features.8", outside, size=32)
