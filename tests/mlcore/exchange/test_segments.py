"""Polygons and run lengths become the masks that one finds with pencil and paper."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcore.exchange.segments import BadSegment, draw


def rows(shape, width: int, height: int) -> list[str]:
    return ["".join("#" if value else "." for value in row) for row in draw(shape, width, height)]


def test_a_pixel_belongs_where_its_centre_is():
    assert rows([[1, 1, 4, 1, 4, 3, 1, 3]], 5, 4) == [".....", ".###.", ".###.", "....."]
    # 0.6 is beyond the centre of the first column, 3.4 before that of the fourth.
    assert rows([[0.6, 0, 3.4, 0, 3.4, 1, 0.6, 1]], 5, 1) == [".##.."]
    assert rows([[2.5, 0, 5, 2.5, 2.5, 5, 0, 2.5]], 5, 5) == ["..#..", ".###.", "#####", ".###.", "..#.."]


def test_several_polygons_are_one_object_and_what_lies_beyond_is_cut():
    assert rows([[0, 0, 2, 0, 2, 1, 0, 1], [1, 0, 3, 0, 3, 1, 1, 1]], 4, 1) == ["###."]
    assert rows([[-5, -5, 2, -5, 2, 9, -5, 9]], 4, 2) == ["##..", "##.."]
    assert rows([[7, 7, 9, 7, 9, 9]], 4, 2) == ["....", "...."]


def test_run_lengths_go_down_the_columns_and_begin_with_the_ground():
    # Columns of 3: (., #, #), (#, ., .)
    assert rows({"size": [3, 2], "counts": [1, 3, 2]}, 2, 3) == [".#", "#.", "#."]
    assert rows({"size": [3, 2], "counts": [0, 6]}, 2, 3) == ["##", "##", "##"]


def test_compressed_run_lengths():
    # Each number below 16 is one character from “0” on: 1, 3, 2.
    assert rows({"size": [3, 2], "counts": "132"}, 2, 3) == [".#", "#.", "#."]
    # 40 = 8 + 32·1: “X” (8 with the bit that more follow, 48 + 8 + 32), then “1”; 60 = 28 + 32·1: “l”, “1”.
    drawn = draw({"size": [10, 10], "counts": "X1l1"}, 10, 10)
    assert drawn.T.ravel().tolist() == [False] * 40 + [True] * 60
    # 2, 2, 2, then 3 − 2 = 1 for the fourth: the difference from the number two before; −1 is “O” (31 from 48).
    assert draw({"size": [1, 9], "counts": "2221"}, 9, 1).tolist() == [
        [False] * 2 + [True] * 2 + [False] * 2 + [True] * 3
    ]
    assert draw({"size": [1, 7], "counts": "222O"}, 7, 1).tolist() == [[False] * 2 + [True] * 2 + [False] * 2 + [True]]


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (None, "neither a list of polygons"),
        ([], "neither a list of polygons"),
        ("text", "neither a list of polygons"),
        ([[0, 0, 1, 1]], "three points or more"),
        ([[0, 0, 1, 1, 2, 2, 3]], "three points or more"),
        ([[0, 0, 1, 1, "2", 2]], "not a number"),
        ([[0, 0, 1, 1, True, 2]], "not a number"),
        ([[0, 0, 1, 1, float("nan"), 2]], "no place"),
        ([[0, 0, 1, 1, 10**400, 2]], "no place"),
        ({}, "another size"),
        ({"size": [2, 3], "counts": [6]}, "another size"),
        ({"size": [3, 2], "counts": [5]}, "do not add up"),
        ({"size": [3, 2], "counts": [7, -1]}, "do not add up"),
        ({"size": [3, 2], "counts": [10**30]}, "do not add up"),
        ({"size": [3, 2], "counts": [6.0]}, "neither whole numbers"),
        ({"size": [3, 2], "counts": "6é"}, "no meaning"),
        ({"size": [3, 2], "counts": "6X"}, "break off"),
        ({"size": [3, 2], "counts": "X" * 50}, "no meaning"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_said(shape, said):
    with pytest.raises(BadSegment, match=said):
        draw(shape, 2, 3)


def winding(points: list[tuple[float, float]], x: float, y: float) -> bool:
    """The even–odd rule, point by point."""
    inside = False
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if (y0 <= y) != (y1 <= y) and x >= x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            inside = not inside
    return inside


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(-4, 12), st.integers(-4, 12)), min_size=3, max_size=8))
def test_polygons_agree_with_a_point_by_point_count(points):
    # A little off the grid, so that no centre lies on an edge and rounding decides nothing.
    points = [(x + 0.037 + 0.0013 * k, y + 0.041 + 0.0007 * k * k) for k, (x, y) in enumerate(points)]
    expected = [[winding(points, x + 0.5, y + 0.5) for x in range(9)] for y in range(7)]
    drawn = draw([[value for point in points for value in point]], 9, 7)
    assert np.array_equal(drawn, expected)


def compressed(counts: list[int]) -> str:
    """The COCO API's `rleToString`, step by step."""
    text = ""
    for position, count in enumerate(counts):
        value = count - counts[position - 2] if position > 2 else count
        more = True
        while more:
            low = value & 0x1F
            value >>= 5
            more = value != -1 if low & 0x10 else value != 0
            text += chr((low | 0x20 if more else low) + 48)
    return text


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=12), st.booleans())
def test_run_lengths_come_back_as_they_were_written(counts, short):
    pixels = [position % 2 == 1 for position, count in enumerate(counts) for _ in range(count)] or [False]
    counts = counts if sum(counts) else [1]
    drawn = draw({"size": [len(pixels), 1], "counts": compressed(counts) if short else counts}, 1, len(pixels))
    assert drawn[:, 0].tolist() == pixels
