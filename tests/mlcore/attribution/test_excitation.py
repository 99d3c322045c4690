"""Excitation backprop: winners by hand, a probability that stays one, the released form beside it."""

import torch
from torch import Tensor, nn

from mlcore.attribution.excitation_backprop import ExcitationBackprop
from tests.mlcore.attribution.nets import images
from tests.mlcore.attribution.test_lrp import block, colours, single


def test_winning_probabilities_by_hand() -> None:
    picture = torch.tensor([2.0, 3.0]).double().reshape(1, 2, 1, 1)
    for linear in (True, False):
        model = single([3.0, 1.0], 5.0, linear=linear)  # 6 to 3, whatever the bias
        found = torch.tensor(colours(model, picture, ExcitationBackprop))
        torch.testing.assert_close(found, torch.tensor([6 / 9, 3 / 9]))
        model = single([3.0, -1.0], 5.0, linear=linear)  # a negative weight excites nothing
        found = torch.tensor(colours(model, picture, ExcitationBackprop))
        torch.testing.assert_close(found, torch.tensor([1.0, 0.0]))


def test_two_layers_by_hand() -> None:
    """1×1 picture of (1, 2); hidden (1·1 + 2·1, 2·2) = (3, 4); class 0 hears (2, 1): 6 to 4."""
    first, second = nn.Conv2d(2, 2, 1, bias=False), nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 1.0], [0.0, 2.0]])[:, :, None, None])
        second.weight.copy_(torch.tensor([[2.0, 1.0], [-1.0, 1.0]]))
    model = nn.Sequential(first, nn.ReLU(), nn.Flatten(), second).double()
    picture = torch.tensor([1.0, 2.0]).double().reshape(1, 2, 1, 1)
    # hidden 0 wins 0.6 and shares it 1 to 2; hidden 1 wins 0.4, all from the second colour
    torch.testing.assert_close(torch.tensor(colours(model, picture, ExcitationBackprop)), torch.tensor([0.2, 0.8]))
    hidden = ExcitationBackprop(model, layer="0").explain(picture, 0)
    torch.testing.assert_close(hidden, torch.ones(1, 1, 1))


def test_a_map_is_a_distribution_over_the_picture() -> None:
    model, pictures = block(), images(3, 9)
    maps = ExcitationBackprop(model).explain(pictures, torch.tensor([0, 1, 2]))
    assert maps.min() >= 0
    torch.testing.assert_close(maps.sum((1, 2)), torch.ones(3), rtol=1e-6, atol=1e-6)


def test_a_residual_that_lowers_the_sum_wins_nothing_and_the_released_form_signs_it() -> None:
    class Sum(nn.Module):
        def forward(self, picture: Tensor) -> Tensor:
            both = picture[:, :1] + picture[:, 1:]
            return both.flatten(1)

    picture = torch.tensor([3.0, -1.0]).double().reshape(1, 2, 1, 1)
    assert torch.allclose(torch.tensor(colours(Sum(), picture, ExcitationBackprop)), torch.tensor([1.0, 0.0]))
    # Released: signed shares 3/2 and −1/2 of the score 2, each divided by Σ|·| = 4; both starts are one class here.
    released = ExcitationBackprop(Sum(), preset="harmony").explain(picture, 0)
    assert released.shape == (1, 224, 224)
    assert released.abs().max() < 1e-7
