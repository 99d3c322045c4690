"""The arithmetic of TAME's loop: parts without a common picture, masks of a wanted area, pairs picture by picture."""

from pathlib import Path

import pytest
import torch

from bench.tame_loop import differences, lighter, mask_area, parts_of, together


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten species of 60 pictures, by name only."""
    (tmp_path / "butterflies").mkdir()
    rows = [f"{label:02}{number:03}.jpg,{label}" for label in range(10) for number in range(60)]
    (tmp_path / "butterflies" / "labels.csv").write_text("\n".join(["file,label", *rows]))
    return tmp_path


def test_parts_share_no_picture_and_test_parts_neither(folder: Path) -> None:
    tested: list[set[str]] = []
    chosen_on = {item["id"] for item in parts_of(folder, 0)["validation"]}
    for seed in (1, 2, 3):
        names = {part: {item["id"] for item in items} for part, items in parts_of(folder, seed).items()}
        assert {part: len(found) for part, found in names.items()} == {"train": 350, "validation": 100, "test": 150}
        assert len(names["train"] | names["validation"] | names["test"]) == 600
        assert names["validation"] == chosen_on
        tested.append(names["test"])
    assert len(set().union(*tested)) == 450


def test_lighter_masks_have_the_wanted_area() -> None:
    maps = torch.rand(4, 7, 7, generator=torch.Generator().manual_seed(0))
    areas = torch.tensor([0.1, 0.3, 0.6, 0.9])
    made = lighter(maps, areas, (128, 128))
    torch.testing.assert_close(mask_area(made), 100 * areas, atol=0.05, rtol=0)
    largest = [one.flatten().argmax() for one in made]
    assert largest == [one.flatten().argmax() for one in lighter(maps, areas.flip(0), (128, 128))]
    half = torch.zeros(1, 2, 2)
    half[0, :, 0] = 1.0
    assert float(mask_area(lighter(half, torch.tensor([0.99]), (128, 128)))) < 80  # zeros stay zero


def test_pairs_picture_by_picture_and_pictures_of_several_seeds_once() -> None:
    first = {"tame": {"area": {"a": 5.0, "b": 3.0}}, "grad_cam": {"area": {"a": 1.0, "c": 2.0}}}
    second = {"tame": {"area": {"a": 1.0, "d": 8.0}}, "grad_cam": {"area": {"a": 3.0, "d": 4.0}}}
    found = differences([first, second], "tame", "grad_cam")
    assert [one["difference"]["area"] for one in found] == [{"a": 4.0}, {"a": -2.0, "d": 4.0}]
    assert together(found, "difference", "area") == [1.0, 4.0]
