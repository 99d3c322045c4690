"""Metrics of a map against a mask, worked out by hand; what cannot be measured is named (definitions §7)."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcore.metrics import METRICS
from mlcore.metrics.attention_iou import AttentionIoU, AttentionIoU75
from mlcore.metrics.base import boxes_to_mask
from mlcore.metrics.content_heat_map import ContentHeatMap
from mlcore.metrics.pointing import PointingGame

NAN = float("nan")


def test_attention_iou_by_hand() -> None:
    heat = torch.tensor([[[0.0, 2.0, 4.0], [-9.0, 3.0, 3.2]]])  # 0, ½, 1 / 0, ¾, 0.8 after ReLU and min–max
    mask = torch.tensor([[[0, 0, 1], [1, 0, 1]]], dtype=torch.bool)
    half = AttentionIoU(0.5)
    half.update(heat, mask, ["a"])  # bright: 4, 3, 3.2 (½ itself is not above); shared 2, together 4
    assert half.per_image == {"a": 0.5}
    high = AttentionIoU(0.75)
    high.update(heat, mask, ["a"])  # bright: 4, 3.2 (¾ itself is not above); shared 2, together 3
    assert high.per_image == {"a": pytest.approx(2 / 3)}
    assert AttentionIoU75().threshold == 0.75
    assert (half.name, high.name) == ("attention_iou_50", "attention_iou_75")
    raw = AttentionIoU(0.5, relu=False)
    raw.update(heat, mask, ["a"])  # from −9 to 4: all but −9 above ½; shared 2, together 6
    assert raw.per_image == {"a": pytest.approx(2 / 6)}


def test_attention_iou_enlarges_the_map_to_the_mask() -> None:
    metric = AttentionIoU(0.5)
    metric.update(torch.tensor([[[0.0, 4.0]]]), [torch.tensor([[0, 0, 1, 1]])], ["a"])  # 0 1 3 4 → 0 ¼ ¾ 1
    assert metric.per_image == {"a": 1.0}


@pytest.mark.parametrize("name", ["attention_iou_50", "attention_iou_75", "pointing", "content_heat_map"])
def test_what_cannot_be_measured_is_named_and_never_becomes_nan(name: str) -> None:
    metric = METRICS[name]()
    assert metric.name == name
    heat = torch.ones(6, 2, 2)
    heat[:, 0, 0] = 3.0
    heat[1] = 0.0
    heat[2, 1, 1] = NAN
    heat[3, 1, 1] = float("inf")
    masks = torch.zeros(6, 4, 4)
    masks[:, :2, :2] = 1
    masks[4] = 0
    metric.update(heat, masks, ["good", "zero", "nan", "inf", "empty", "also good"])
    zero = "zero map" if name == "content_heat_map" else "constant map"
    assert metric.left_out == {zero: ["zero"], "non-finite map": ["nan", "inf"], "empty mask": ["empty"]}
    assert set(metric.per_image) == {"good", "also good"}
    result = metric.compute()
    assert result["n"] == 2
    assert result["left_out"] == {zero: 1, "non-finite map": 2, "empty mask": 1}
    assert 0 < result["value"] <= 1
    json.dumps(result, allow_nan=False)
    metric.reset()
    assert metric.compute()["value"] is None
    assert metric.compute()["n"] == 0
    assert metric.left_out == {}


def test_an_image_given_again_counts_once() -> None:
    metric = ContentHeatMap()
    mask = torch.tensor([[[True, False]]])
    metric.update(torch.zeros(1, 1, 2), mask, ["a"])
    metric.update(torch.tensor([[[1.0, 3.0]]]), mask, ["a"])
    assert (metric.per_image, metric.left_out) == ({"a": 0.25}, {})
    metric.update(torch.zeros(1, 1, 2), mask, ["a"])
    assert (metric.per_image, metric.left_out) == ({}, {"zero map": ["a"]})


def test_content_heat_map_by_hand() -> None:
    metric = ContentHeatMap()
    heat = torch.tensor([[[1.0, 2.0], [-7.0, 5.0]], [[2.0, 2.0], [2.0, 2.0]]])
    masks = torch.tensor([[[0, 1], [1, 0]], [[1, 0], [0, 0]]])
    metric.update(heat, masks, ["a", "b"])
    assert metric.per_image == {"a": 0.25, "b": 0.25}  # a constant positive map spreads evenly
    assert metric.compute()["value"] == 0.25


@pytest.mark.parametrize(("tolerance", "hit"), [(0, 0.0), (5, 0.0), (5.01, 1.0), (15, 1.0)])
def test_pointing_is_strict_about_its_distance(tolerance: float, hit: float) -> None:
    heat = torch.zeros(1, 20, 20)
    heat[0, 10, 10] = 1
    mask = torch.zeros(1, 20, 20)
    mask[0, 13, 14] = 1  # 3 down, 4 across: distance 5
    game = PointingGame(tolerance)
    game.update(heat, mask, ["a"])
    assert game.per_image == {"a": hit}


def test_pointing_inside_counts_without_tolerance_and_takes_the_first_of_equal_maxima() -> None:
    heat = torch.tensor([[[0.0, 1.0, 1.0]]])
    game = PointingGame(0)
    game.update(heat.expand(2, 1, 3), torch.tensor([[[0, 1, 0]], [[0, 0, 1]]]), ["in", "out"])
    assert game.per_image == {"in": 1.0, "out": 0.0}


def test_pointing_looks_at_each_image_in_its_own_size() -> None:
    heat = torch.zeros(2, 2, 2)
    heat[:, 1, 1] = 1  # the maximum of the enlarged map: the lower right quarter's far end begins at ¾
    small, large = torch.zeros(20, 20), torch.zeros(400, 400)
    small[7, 15] = 1  # 8 pixels from (15, 15): a hit
    large[150, 300] = 1  # the same place, 150 pixels away: a miss
    game = PointingGame()
    game.update(heat, [small, large], ["small", "large"])
    assert game.per_image == {"small": 1.0, "large": 0.0}


def test_pointing_is_the_mean_over_classes_present() -> None:
    heat = torch.zeros(5, 1, 40)
    heat[:, 0, 0] = 1
    masks = torch.zeros(5, 1, 40)
    masks[0, 0, 0] = 1  # class 7: one hit, two misses
    masks[1:3, 0, 39] = 1
    masks[3, 0, 0] = 1  # class 2: one hit
    game = PointingGame()
    difficult = [False, False, False, False, True]
    game.update(heat, masks, list("abcde"), classes=[7, 7, 7, 2, 9], difficult=difficult)
    result = game.compute()
    assert result["classes"] == {2: 1.0, 7: pytest.approx(1 / 3)}
    assert result["value"] == pytest.approx((1 + 1 / 3) / 2)
    assert result["left_out"] == {"only difficult objects": 1}
    assert result["n"] == 4


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_pointing_against_every_pixel(row: int, column: int, seed: int, tolerance: int) -> None:
    heat = torch.zeros(1, 10, 10)
    heat[0, row, column] = 1
    mask = torch.rand(1, 10, 10, generator=torch.Generator().manual_seed(seed)) > 0.95
    if not mask.any():
        mask[0, 0, 0] = True
    distances = [((r - row) ** 2 + (c - column) ** 2) ** 0.5 for r, c in mask[0].nonzero().tolist()]
    game = PointingGame(tolerance)
    game.update(heat, mask, ["a"])
    assert game.per_image["a"] == float(min(distances) < tolerance or min(distances) == 0)


def test_boxes_fill_the_pixels_whose_centres_they_hold() -> None:
    mask = boxes_to_mask([(0.5, 0.0, 2.5, 1.0), (3.0, 1.0, 9.0, 9.0)], 2, 4)
    assert mask.int().tolist() == [[1, 1, 0, 0], [0, 0, 0, 1]]
    assert not boxes_to_mask([], 2, 2).any()


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 maps, 1 masks, 2 names"):
        AttentionIoU().update(torch.zeros(2, 1, 1), torch.zeros(1, 1, 1), ["a", "b"])
    with pytest.raises(ValueError, match="2 maps, 1 classes"):
        PointingGame().update(torch.zeros(2, 1, 1), torch.zeros(2, 1, 1), ["a", "b"], classes=[1])
    with pytest.raises(ValueError, match="between 0 and 1"):
        AttentionIoU(1.5)
    with pytest.raises(ValueError, match="0 pixels or more"):
        PointingGame(-1)


def test_a_batch_of_n_is_n_batches_of_one() -> None:
    generator = torch.Generator().manual_seed(1)
    heat, masks = torch.randn(6, 5, 5, generator=generator), torch.rand(6, 30, 40, generator=generator) > 0.8
    names = list("abcdef")
    for name in ("attention_iou_50", "attention_iou_75", "pointing", "content_heat_map"):
        together, singly = METRICS[name](), METRICS[name]()
        together.update(heat, masks, names)
        for i in range(6):
            singly.update(heat[i : i + 1], masks[i : i + 1], names[i : i + 1])
        assert together.per_image == singly.per_image
        flipped = METRICS[name]()
        flipped.update(heat.flip(2), masks.flip(2), names)
        assert flipped.per_image == pytest.approx(together.per_image, abs=1e-6)
