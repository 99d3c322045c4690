"""The stochastic pointing game, overlaps of a part of the map, and intervals, by hand and pixel by pixel."""

import math

import pytest
import torch

from mlcore.attribution.maps import evaluation_map
from mlcore.metrics import METRICS, score
from mlcore.metrics.content_heat_map import ContentHeatMap
from mlcore.metrics.dilation import within
from mlcore.metrics.overlap import brightest_tenth
from mlcore.metrics.pointing import PointingGame
from mlcore.metrics.stochastic_pointing import StochasticPointingGame


def test_stochastic_pointing_by_hand_is_strict_about_its_distance() -> None:
    heat = torch.tensor([[[1.0, 2.0, 3.0, 4.0, -50.0]]])
    mask = torch.tensor([[[1, 0, 0, 0, 0]]])
    for tolerance, share in ((0, 0.1), (1, 0.1), (1.01, 0.3), (2, 0.3), (3, 0.6), (3.5, 1.0), (math.inf, 1.0)):
        game = StochasticPointingGame(tolerance)
        game.update(heat, mask, ["a"])
        assert game.per_image == {"a": pytest.approx(share)}, tolerance
    with pytest.raises(ValueError, match="0 pixels or more"):
        StochasticPointingGame(-1)


def test_stochastic_pointing_is_what_many_drawn_points_come_to() -> None:
    generator = torch.Generator().manual_seed(3)
    heat, mask = torch.rand(1, 12, 12, generator=generator) ** 3, torch.zeros(1, 12, 12, dtype=torch.bool)
    mask[0, 2:4, 3:5] = True
    drawn = torch.multinomial(heat.flatten(), 40_000, replacement=True, generator=generator)
    hits = torch.from_numpy(within(mask.numpy(), 3.0)).flatten()[drawn].double()
    exact = score("stochastic_pointing", heat, masks=mask, tolerance=3)["value"]
    assert abs(hits.mean().item() - exact) < 4 * hits.std().item() / 200
    inside = StochasticPointingGame(0)
    inside.update(heat, mask, ["a"])
    content = ContentHeatMap()
    content.update(heat, mask, ["a"])
    assert inside.per_image == content.per_image


def test_overlap_by_hand() -> None:
    heat = torch.arange(20.0).view(1, 4, 5)  # the brightest tenth: 18 and 19; above the half: 10 to 19
    mask = torch.zeros(1, 4, 5)
    mask[0, 3, 3] = mask[0, 0, 0] = mask[0, 2, 1] = 1  # 18, 0 and 11
    expected = {
        "precision_top10": 1 / 2,
        "recall_top10": 1 / 3,
        "dice_top10": 2 * 1 / 5,
        "iou_top10": 1 / 4,
        "precision_50": 2 / 10,
        "recall_50": 2 / 3,
        "dice_50": 2 * 2 / 13,
        "attention_iou_50": 2 / 11,
    }
    for name, value in expected.items():
        assert score(name, heat, masks=mask)["value"] == pytest.approx(value), name


def test_equal_pixels_share_the_places_of_the_brightest_tenth() -> None:
    flat = torch.zeros(2, 4, 10)  # 4 places of 40
    flat[0, 1, 2], flat[1, 0, :5] = 1.0, 2.0
    tenth = brightest_tenth(flat)
    assert tenth[0, 1, 2] == 1
    assert tenth[0, 0, 0] == pytest.approx(3 / 39)
    assert tenth[1, 0].tolist() == pytest.approx([0.8] * 5 + [0] * 5)
    assert tenth.sum(dim=(1, 2)).tolist() == pytest.approx([4, 4])
    known = torch.ones(2, 4, 10, dtype=torch.bool)
    known[:, :, 5:] = False  # 2 places of 20
    partly = brightest_tenth(flat, known)
    assert partly[0, 0, 0] == pytest.approx(1 / 19)
    assert partly[1, 0, 0] == pytest.approx(2 / 5)
    assert partly[:, :, 5:].abs().sum() == 0
    odd = brightest_tenth(torch.rand(1, 1, 31, generator=torch.Generator().manual_seed(0)))
    assert odd.sum() == 4  # ⌈3.1⌉


def test_a_constant_map_stays_constant_when_it_is_enlarged() -> None:
    """Bilinear weights do not sum to 1 exactly; min–max would make a picture of what is left."""
    heat = (torch.rand(60, 1, 1, generator=torch.Generator().manual_seed(5)) * 9).expand(60, 7, 7).contiguous()
    assert not evaluation_map(heat, (33, 97)).any()
    metric = METRICS["attention_iou_50"]()
    metric.update(heat, torch.ones(60, 33, 97), [str(number) for number in range(60)])
    assert {reason: len(names) for reason, names in metric.left_out.items()} == {"constant map": 60}


def test_masks_of_different_sizes_keep_their_images() -> None:
    generator = torch.Generator().manual_seed(8)
    heat = torch.rand(5, 4, 4, generator=generator)
    masks = [torch.rand(h, w, generator=generator) > 0.6 for h, w in ((8, 9), (5, 5), (8, 9), (5, 5), (20, 3))]
    for name in ("content_heat_map", "stochastic_pointing", "dice_top10", "pointing", "attention_iou_75"):
        together = METRICS[name]()
        together.update(heat, masks, list("abcde"))
        for row, image in enumerate("abcde"):
            alone = METRICS[name]()
            alone.update(heat[row : row + 1], [masks[row]], [image])
            assert alone.per_image[image] == pytest.approx(together.per_image[image], rel=1e-12), name
        assert list(together.per_image) == list("abcde")
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        ContentHeatMap().update(heat[:1], [torch.ones(1, 2, 2)], ["a"])
    with pytest.raises(ValueError, match=r"\(B, h, w\)"):
        ContentHeatMap().update(heat[0], list(masks)[:4], list("abcd"))


def test_intervals() -> None:
    content = ContentHeatMap()
    for name, value in zip("abcd", (0.1, 0.3, 0.5, 0.7), strict=True):
        content.record(name, value)
    found = content.compute()
    half = 3.1824463 * math.sqrt(0.2 / 3) / 2  # t(0.975, 3) · s / √4, s² = 0.2/3
    assert (found["low"], found["high"]) == (pytest.approx(0.4 - half), pytest.approx(0.4 + half))
    game = PointingGame()
    assert (game.compute()["low"], game.compute()["high"]) == (None, None)
    for number in range(60):  # class 0: 45 of 50, class 1: 2 of 10; the classes' mean is 0.55, the images' 0.78
        game.record(str(number), float(number < 45 or 50 <= number < 52))
        game.classes[str(number)] = int(number >= 50)
    found = game.compute()
    assert found["value"] == pytest.approx(0.55)
    # The variance of a mean of two shares: (0.9·0.1/50 + 0.2·0.8/10) / 4; ±1.96 of its root is 0.131.
    assert found["low"] == pytest.approx(0.55 - 0.131, abs=0.02)
    assert found["high"] == pytest.approx(0.55 + 0.131, abs=0.025)
    assert game.compute() == found
