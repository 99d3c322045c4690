"""Copies in which more and more pixels are another picture's: what the classifier is shown, however it is written."""

import pytest
import torch
from torch import Tensor, nn

from mlcore.metrics.insertion_deletion import Deletion
from mlcore.metrics.irof import IROF
from mlcore.metrics.perturbation import Engine, by_relevance
from mlcore.metrics.pixel_exchange import Exchange, Renewed, Whole
from tests.mlcore.metrics.asking import ChannelMeans, maps_of, pictures

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="No GPU."))]


class Witness(nn.Module):
    """Keeps what it was shown. Its answer is a part of what it was given; it can spoil the rest."""

    def __init__(self, spoils: bool = False) -> None:
        super().__init__()
        self.spoils = spoils
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.clone())
        if self.spoils:
            images[:, :, 0].add_(100)
        return images[:, 0, 1, :4]


def series_of(device: str = "cpu", dtype: torch.dtype = torch.float32) -> list[Exchange]:
    """Three pictures; numbers that stand still, that fall and that begin late; one fill of a single colour."""
    before, after = pictures(3, 6).to(device, dtype), pictures(3, 6, seed=1).to(device, dtype)
    order = by_relevance(maps_of(3, 6).flatten(1)).to(device)
    return [
        Exchange(before[0], after[0], order[0], [0, 3, 3, 10, 36]),
        Exchange(before[1], after[1].mean(dim=(1, 2), keepdim=True), order[1], [30, 35, 4, 0]),
        Exchange(before[2], after[2], order[2], [1, 2, 3, 4, 5, 6, 36]),
    ]


def expected(series: list[Exchange]) -> Tensor:
    """Every copy, pixel by pixel."""
    copies = []
    for one in series:
        for number in one.numbers:
            copy, after = one.before.clone(), one.after.expand_as(one.before)
            for pixel in one.order[:number].tolist():
                copy[:, pixel // 6, pixel % 6] = after[:, pixel // 6, pixel % 6]
            copies.append(copy)
    return torch.stack(copies)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("spoils", [False, True])
@pytest.mark.parametrize("batch", [1, 3, 4, 16, 64])
def test_the_classifier_is_shown_each_copy_once_and_whole(
    batch: int, spoils: bool, device: str, dtype: torch.dtype
) -> None:
    series, model = series_of(device, dtype), Witness(spoils)
    targets = torch.tensor([0, 3, 1], device=device)
    found = Engine(model, batch).exchange(series, targets)
    copies = expected(series)
    assert list(map(len, model.seen)) == list(map(len, copies.split(batch)))
    assert torch.equal(torch.cat(model.seen), copies)
    chances = copies[:, 0, 1, :4].float().softmax(1)
    assert torch.equal(found[0, :5], chances[:5, 0])
    assert torch.equal(found[1, :4], chances[5:9, 3])
    assert torch.equal(found[2], chances[9:, 1])
    assert bool(found[0, 5:].isnan().all())
    assert found.shape == (3, 7)


@pytest.mark.parametrize("writer", [Renewed, Whole])
@pytest.mark.parametrize("device", DEVICES)
def test_both_ways_of_writing_make_the_same_copies(writer: type[Renewed] | type[Whole], device: str) -> None:
    series = series_of(device)
    made = writer(series, 4)
    spans = [[(0, 0, 4)], [(0, 4, 5), (1, 0, 3)], [(1, 3, 4), (2, 0, 3)], [(2, 3, 7)]]
    assert torch.equal(torch.cat([made.write(part).clone() for part in spans]), expected(series))


def test_pictures_made_under_inference_mode_are_exchanged_too() -> None:
    with torch.inference_mode():
        series, model = series_of(), Witness(spoils=True)
        Engine(model, 4).exchange(series, torch.tensor([0, 3, 1]))
    assert torch.equal(torch.cat(model.seen), expected(series))


def test_nothing_to_ask() -> None:
    assert Engine(Witness()).exchange([], torch.zeros(0, dtype=torch.int64)).shape == (0, 0)


@pytest.mark.parametrize("kind", [Deletion, IROF])
def test_classes_that_do_not_exist_are_refused(kind: type[Deletion] | type[IROF]) -> None:
    with pytest.raises(ValueError, match="classes 0 to 2"):
        kind(ChannelMeans()).update(maps_of(1), pictures(1), torch.tensor([3]), ["a"])


def test_under_autocast_probabilities_are_float32_and_hardly_differ() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 36, 4))
    targets = torch.tensor([0, 3, 1])
    plain = Engine(model, 4).exchange(series_of(), targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lower = Engine(model, 4).exchange(series_of(), targets)
    assert lower.dtype == torch.float32
    assert torch.allclose(plain, lower, atol=0.02, equal_nan=True)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_most_relevant_come_first_and_ties_in_reading_order(dtype: torch.dtype, device: str) -> None:
    heat = torch.tensor([[0.0, -1.5, 2.0, -0.0, 2.0, 1e-40, -3e38], [7.0, 7.0, -2.0, 8.0, -2.0, -1e-40, 0.0]])
    found = by_relevance(heat.to(device, dtype))
    assert found.tolist() == [[2, 4, 5, 0, 3, 1, 6], [3, 0, 1, 6, 5, 2, 4]]
    many = torch.randn(2, 5000, generator=torch.Generator().manual_seed(0)).mul(50).round().to(device, dtype)
    assert torch.equal(by_relevance(many), many.argsort(dim=1, descending=True, stable=True))


def test_a_probability_that_is_not_a_number_is_no_value_of_irof() -> None:
    class Blank(nn.Module):
        """Has no answer for a picture of one colour."""

        def forward(self, images: Tensor) -> Tensor:
            scores = images.mean(dim=(2, 3))
            return scores + torch.where(images.flatten(1).std(1) < 1e-3, torch.nan, 0.0)[:, None]

    image = pictures(1, 8) - pictures(1, 8).mean(dim=(2, 3), keepdim=True)
    metric = IROF(Blank(), segments=4)
    metric.update(maps_of(1, 8), image, torch.tensor([0]), ["a"])
    assert metric.left_out == {"non-finite probability": ["a"]}
