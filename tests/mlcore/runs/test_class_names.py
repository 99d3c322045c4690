"""A class as a person names it."""

import pytest

from mlcore.runs.class_names import find_class

BIRDS = ["Wren", "House Finch", "Purple Finch", "crane", "Crane (2)", "7", "Tench, Tinca tinca"]


@pytest.mark.parametrize(
    ("given", "index"),
    [
        ("", None),
        ("  ", None),
        ("Wren", 0),
        (" wren ", 0),
        ("CRANE", 3),  # the whole name of one, though a part of another
        ("house", 1),
        ("tinca", 6),
        ("0", 0),
        ("6", 6),
        ("7", 5),  # a name before an index
    ],
)
def test_what_is_meant(given: str, index: int | None) -> None:
    assert find_class(BIRDS, given) == index


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("finch", "“finch” is part of 2 names of classes: “House Finch”, “Purple Finch”. Write more of one."),
        ("8", "classes 0 to 6; there is no class 8"),
        ("owl", "There is no class “owl”. The classifier knows “Wren”, “House Finch”, “Purple Finch”, …."),
    ],
)
def test_what_is_not_clear_offers_what_comes_near(given: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        find_class(BIRDS, given)
    assert sentence in str(caught.value)


def test_names_that_differ_in_capitals_alone() -> None:
    assert find_class(["Crane", "crane"], "crane") == 1
    with pytest.raises(ValueError, match="part of 2 names"):
        find_class(["Crane", "crane"], "CRANE")
