"""How far people agree with each other, and maps as a share of it, by hand."""

import math

import pytest
import torch

from mlcore.metrics import score
from mlcore.metrics.ceiling import ceiling, share_of_ceiling


def painted(*columns: int) -> torch.Tensor:
    mask = torch.zeros(12, 12)
    mask[:, list(columns)] = 1
    return mask


def test_every_pair_counts_within_its_image_and_every_image_once() -> None:
    people = {
        "three": [painted(0, 1), painted(0, 1), painted(1, 2)],  # IoU 1, 1/3, 1/3
        "two": torch.stack([painted(4), painted(4, 5)]),  # 1/2
        "alone": [painted(3)],
        "blank": [painted(), painted(1)],
    }
    found = ceiling("people_iou_50", people)
    assert found["per_image"] == {"three": pytest.approx(5 / 9), "two": 0.5}
    assert found["value"] == pytest.approx((5 / 9 + 0.5) / 2)
    assert (found["n"], found["pairs"]) == (2, 4)
    assert found["low"] < found["value"] < found["high"]
    assert found["left_out"] == {"fewer than two people": 1, "empty person's map": 1}
    assert ceiling("people_dice_top10", people)["per_image"]["two"] == pytest.approx(2 / 3)  # masks are taken whole
    assert ceiling("emd", {"a": [painted(0), painted(3)]})["value"] == pytest.approx(3 / 12)


def test_only_what_both_know_is_compared() -> None:
    first, second = painted(0, 1), painted(1, 2)
    second[:, 0] = math.nan
    assert ceiling("people_iou_50", {"a": [first, second]})["value"] == pytest.approx(1 / 2)
    assert ceiling("spearman", {"a": [torch.ones(12, 12), first]})["left_out"] == {"constant person's map": 1}


@pytest.mark.parametrize("name", ["spearman", "pearson", "ssim", "people_dice_top10", "people_iou_50", "emd"])
def test_people_who_say_the_same_agree_wholly_in_either_order(name: str) -> None:
    generator = torch.Generator().manual_seed(2)
    one, other = torch.rand(2, 24, 24, generator=generator)
    best = 0.0 if name == "emd" else 1.0
    assert ceiling(name, {"a": [one, one.clone()]})["value"] == pytest.approx(best, abs=1e-9)
    there, back = (ceiling(name, {"a": pair})["value"] for pair in ([one, other], [other, one]))
    assert there == pytest.approx(back, abs=1e-9)
    assert there != pytest.approx(best, abs=1e-3)


def test_a_set_of_maps_as_a_share_of_the_ceiling() -> None:
    people = {name: [painted(0, 1), painted(1, 2)] for name in "abc"}  # 1/3 each
    between = ceiling("people_iou_50", people)
    found = share_of_ceiling({"a": 0.1, "b": 0.3, "elsewhere": 0.9}, between)
    assert found["value"] == pytest.approx(0.2 / (1 / 3))
    assert found["n"] == 2
    assert found["low"] + 1e-9 >= 0.3
    assert found["high"] <= 0.9 + 1e-9
    near = share_of_ceiling({"a": 0.2}, {"per_image": {"a": 0.1}}, higher_is_better=False)
    assert (near["value"], near["low"]) == (0.5, None)
    assert share_of_ceiling({}, between)["value"] is None
    assert share_of_ceiling({"a": 0.2}, {"per_image": {"a": -0.1}})["value"] is None


def test_what_cannot_be_asked() -> None:
    with pytest.raises(ValueError, match="does not compare maps with people"):
        ceiling("content_heat_map", {})
    with pytest.raises(KeyError, match="There is no metric"):
        ceiling("love", {})
    with pytest.raises(ValueError, match="differ in size"):
        ceiling("emd", {"a": [torch.ones(3, 3), torch.ones(4, 4)]})
    with pytest.raises(ValueError, match="needs people"):
        score("emd", torch.ones(1, 2, 2))
    assert ceiling("emd", {})["value"] is None
