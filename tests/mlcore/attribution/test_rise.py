"""RISE: masks as published, the same whatever surrounds them; the map is a weighed sum of them (definitions §1)."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.rise import RISE, MaskMaker
from tests.mlcore.attribution.nets import Curved, Transparent, images


def maker(count: int = 20, size: tuple[int, int] = (20, 13), seed: int = 4) -> MaskMaker:
    return MaskMaker(size, count, 3, 0.4, seed, "cpu")


def test_masks_are_enlarged_grids_cut_out_at_a_random_place() -> None:
    made = maker()
    grids, places, masks = made._grids, made._places, made.masks(0, 20)
    assert masks.shape == (20, 20, 13)
    # ⌈20/3⌉ = 7 and ⌈13/3⌉ = 5: grids of 3 cells grow to 28 × 20, and 20 × 13 are cut out.
    enlarged = F.interpolate(grids[:, None].float(), size=(28, 20), mode="bilinear", align_corners=False)[:, 0]
    for mask, whole, (row, column) in zip(masks, enlarged, places.tolist(), strict=True):
        assert 0 <= row < 7
        assert 0 <= column < 5
        assert torch.allclose(mask, whole[row : row + 20, column : column + 13], atol=1e-6)


def test_masks_of_a_seed_do_not_depend_on_how_many_are_asked_for_nor_how() -> None:
    few, many = maker(5).masks(0, 5), maker(300).masks(0, 300)
    assert torch.equal(few, many[:5])
    assert torch.equal(maker(300).masks(255, 259), many[255:259])
    assert not torch.equal(maker(5, seed=5).masks(0, 5), few)
    larger = maker(300, (40, 26))
    assert torch.equal(larger._grids, maker(300)._grids)


def test_a_cell_is_seen_as_often_as_it_should() -> None:
    many = maker(4096).masks(0, 4096)
    assert float(many.mean()) == pytest.approx(0.4, abs=0.01)


def test_the_map_is_the_weighed_sum_of_the_masks() -> None:
    model, picture = Transparent(), images(1, 12, torch.float32)
    masks = MaskMaker((12, 12), 10, 3, 0.25, 7, "cpu").masks(0, 10)
    scores = (picture * masks[:, None]).mean(dim=(2, 3))  # the score of class k is the mean of plane k
    share = torch.exp(scores[:, 2]) / torch.exp(scores).sum(dim=1)
    total = torch.stack([weight * mask for weight, mask in zip(share, masks, strict=True)]).sum(0)
    options = {"masks": 10, "cells": 3, "keep": 0.25, "seed": 7}
    assert torch.allclose(RISE(model, **options).explain(picture, 2)[0], total / (10 * 0.25), atol=1e-6)
    assert torch.allclose(RISE(model, preset="torchray", **options).explain(picture, 2)[0], total / 10, atol=1e-6)


class Corner(nn.Module):
    """Two classes; the second is the brightness of the upper left corner."""

    def forward(self, pictures: Tensor) -> Tensor:
        bright = 8 * pictures[:, :, :8, :8].mean(dim=(1, 2, 3)) - 4
        return torch.stack([torch.zeros_like(bright), bright], dim=1)


def test_it_finds_where_the_class_is() -> None:
    heat = RISE(Corner(), masks=300, cells=4).explain(torch.ones(1, 3, 24, 24), 1)[0]
    assert heat.shape == (24, 24)
    assert heat[:8, :8].mean() > 1.2 * heat[12:, 12:].mean()
    against = RISE(Corner(), masks=300, cells=4).explain(torch.ones(1, 3, 24, 24), 0)[0]
    assert against[:8, :8].mean() < against[12:, 12:].mean()


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_batches_and_several_classes_make_no_difference(chunk: int) -> None:
    model = Curved().double().eval()
    several = torch.tensor([[0, 2], [1, 1], [2, 0]])
    expected = RISE(model, masks=30, cells=4).explain(images(), several)
    assert expected.shape == (3, 2, 20, 20)
    assert expected.dtype == torch.float32
    method = RISE(model, masks=30, cells=4, chunk=chunk)
    assert torch.allclose(method.explain(images(), several), expected, atol=1e-6)
    for row in range(3):
        single = method.explain(images()[row : row + 1], several[row, 1].item())
        assert torch.allclose(single, expected[row : row + 1, 1], atol=1e-6)
    assert torch.allclose(method.explain(images(), lambda _logits: several[:, 0]), expected[:, 0], atol=1e-6)


def test_chance_outside_is_neither_used_nor_changed() -> None:
    model = Curved().double().eval()
    torch.manual_seed(1)
    first = RISE(model, masks=8).explain(images(), 1)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    again = RISE(model, masks=8).explain(images(), 1)
    assert torch.equal(first, again)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_lower_precision_and_pictures_that_are_not_numbers() -> None:
    torch.manual_seed(0)
    model, pictures = Curved().eval(), images(2, dtype=torch.float32)
    exact = RISE(model, masks=20).explain(pictures, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = RISE(model, masks=20).explain(pictures, 1)
    assert maps.dtype == torch.float32
    assert torch.allclose(maps, exact, rtol=0.03)
    pictures[0, 0, 0, 0] = float("nan")
    spoilt = RISE(model, masks=20).explain(pictures, 1)
    assert not torch.isfinite(spoilt[0]).all()
    assert torch.equal(spoilt[1], exact[1])


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"masks": 0}, "masks is 1 or more, not 0"),
        ({"cells": 0}, "cells is 1 or more"),
        ({"chunk": 0}, "chunk is 1 or more"),
        ({"keep": 1.0}, "keep lies between 0 and 1, not at 1.0"),
        ({"preset": "grid"}, "presets default and torchray, not “grid”"),
    ],
)
def test_numbers_out_of_range_are_refused(option: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RISE(Curved(), **option)
