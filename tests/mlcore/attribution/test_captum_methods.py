"""Integrated Gradients and SmoothGrad, which captum computes for us: values worked out by hand, chance kept inside."""

import pytest
import torch
from torch import Tensor, nn

from mlcore.attribution.integrated_gradients import IntegratedGradients
from mlcore.attribution.smooth_grad import SmoothGrad
from tests.mlcore.attribution.nets import Curved, images
from tests.mlcore.attribution.test_gradients import linear


class Square(nn.Module):
    """Score of class k = (k + 1) · Σ x²: its gradient is 2(k + 1)x, its integral (k + 1)x²."""

    def forward(self, pictures: Tensor) -> Tensor:
        total = pictures.square().sum((1, 2, 3))
        return torch.stack([total, 2 * total], 1)


def test_integrated_gradients_by_hand() -> None:
    picture = images(2, 2)
    flat = linear()
    by_hand = (flat[1].weight[1].reshape(3, 2, 2) * picture).sum(1).detach().float()
    torch.testing.assert_close(IntegratedGradients(flat, steps=2).explain(picture, 1), by_hand)
    maps = IntegratedGradients(Square(), steps=3).explain(picture, torch.tensor([0, 1]))
    torch.testing.assert_close(maps, (picture.square().sum(1) * torch.tensor([1.0, 2.0])[:, None, None]).float())


def test_integrated_gradients_sum_to_the_difference_of_scores() -> None:
    torch.manual_seed(1)
    model, pictures, targets = Curved().double(), images(3, 9), torch.tensor([0, 2, 1])
    maps = IntegratedGradients(model, steps=60).explain(pictures, targets)
    with torch.no_grad():
        difference = (model(pictures) - model(torch.zeros_like(pictures))).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(maps.sum((1, 2)), difference.float(), rtol=1e-3, atol=1e-6)
    both = IntegratedGradients(model, steps=60).explain(pictures, torch.stack([targets, targets.flip(0)], 1))
    torch.testing.assert_close(both[:, 0], maps)


def test_smooth_grad_by_hand() -> None:
    """Without noise the gradient; with it, the gradient at the mean copy, whose noise is of each image's own range."""
    picture = images(2, 4)
    torch.testing.assert_close(
        SmoothGrad(Square(), samples=3, noise=0.0, channels="sum").explain(picture, 1), (4 * picture.sum(1)).float()
    )
    drawn = []
    for image in picture:
        spread = torch.full((4, 3, 4, 4), 0.5 * float(image.max() - image.min()))
        drawn.append(torch.normal(0, spread, generator=torch.Generator().manual_seed(7)))
    expected = torch.stack([2 * (image + noise.mean(0)) for image, noise in zip(picture, drawn, strict=True)])
    maps = SmoothGrad(Square(), samples=4, noise=0.5, seed=7).explain(picture, 0)
    torch.testing.assert_close(maps, expected.abs().sum(1).float())
    other = SmoothGrad(Square(), samples=4, noise=0.5, seed=8).explain(picture, 0)
    assert not torch.allclose(maps, other)


def test_chance_starts_anew_for_every_image_and_stays_inside() -> None:
    torch.manual_seed(1)
    model, pictures, targets = Curved().double(), images(3, 9), torch.tensor([0, 2, 1])
    method = SmoothGrad(model, samples=5)
    before = torch.get_rng_state()
    together = method.explain(pictures, targets)
    assert torch.equal(torch.get_rng_state(), before)
    singly = torch.cat([method.explain(pictures[i : i + 1], targets[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, singly)


@pytest.mark.parametrize("method", [IntegratedGradients, SmoothGrad])
def test_nan_and_constant_pictures_leave_the_others_alone(method: type) -> None:
    torch.manual_seed(1)
    model, pictures = Curved().double(), images(3, 9)
    options = {"steps": 3} if method is IntegratedGradients else {"samples": 3}
    alone = method(model, **options).explain(pictures[2:], 1)
    pictures[0, 0, 3, 3], pictures[1] = float("nan"), 0.0
    maps = method(model, **options).explain(pictures, 1)
    assert torch.isnan(maps[0]).all()
    assert torch.isfinite(maps[1]).all()
    torch.testing.assert_close(maps[2:], alone)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="two points"):
        IntegratedGradients(Square(), steps=1)
    with pytest.raises(ValueError, match="one copy or more"):
        SmoothGrad(Square(), samples=0)
    with pytest.raises(ValueError, match="sum, abs_sum or max_abs"):
        SmoothGrad(Square(), channels="mean")
