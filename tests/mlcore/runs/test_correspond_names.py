"""Classes that are the same under other names."""

import pytest

from mlcore.runs.correspond_names import chosen_classes, keys, same_classes

BIRDS = ["036.Northern_Flicker", "098.Scott_Oriole", "017.Cardinal"]


def test_names_meet_without_numbers_hyphens_capitals_and_possessives() -> None:
    others = ["Icterus parisorum (Scott's Oriole)", "northern flicker", "Cardinalis cardinalis (Northern Cardinal)"]
    assert same_classes(BIRDS, others) == [1, 0, None]
    assert same_classes(others, BIRDS) == [1, 0, None]
    assert keys("Icterus parisorum (Scott's Oriole)")[1:] == ["scott oriole", "icterus parisorum"]
    assert same_classes(["Blue-winged Warbler"], ["blue_winged warbler"]) == [0]


def test_equal_lists_are_the_same_whatever_they_say() -> None:
    assert same_classes(["crane", "crane"], ["crane", "crane"]) == [0, 1]


def test_a_name_that_two_classes_share_is_nobodys() -> None:
    assert same_classes(["crane", "wren"], ["Crane", "crane", "Wren"]) == [None, 2]
    assert same_classes(["Wren", "wren"], ["wren", "jay"]) == [None, None]


def test_chosen_classes_may_have_commas_of_their_own() -> None:
    classes = ["tench, Tinca tinca", "goldfish, Carassius auratus", "wren"]
    assert chosen_classes(classes, "wren, tench, Tinca tinca") == [0, 2]
    assert chosen_classes(classes, "Wren\nwren") == [2]
    assert chosen_classes(BIRDS, "northern flicker") == [0]
    with pytest.raises(ValueError, match="There is no class “tench” among the 3 classes"):
        chosen_classes(classes, "wren, tench")
