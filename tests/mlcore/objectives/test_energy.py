"""Energy by hand, its second-order gradient by finite differences (definitions §2)."""

import pytest
import torch
from torch import nn

from mlcore.objectives.batch import Batch
from mlcore.objectives.energy import Energy, energy_inside
from tests.mlcore.attribution.nets import Curved, Straight, Transparent, drawn_batch, finite_differences


def hand_batch() -> Batch:
    pictures = torch.zeros(2, 3, 2, 2, dtype=torch.float64)
    pictures[0, 0] = torch.tensor([[1.0, 2.0], [-7.0, 5.0]])
    pictures[1, 0] = -1.0  # nothing positive: a dark map
    batch = Batch.plain(pictures, torch.tensor([0, 0]))
    batch.maps = torch.zeros(2, 2, 2, dtype=torch.int8)
    batch.maps[:, 0, 1] = 1
    batch.maps[:, 1, 0] = 1
    batch.has_map = torch.tensor([True, True])
    batch.w_a = torch.tensor([0.5, 1.0], dtype=torch.float64)
    return batch


def test_loss_by_hand() -> None:
    step = Energy(attention_weight=3.0).loss(Transparent().double(), hand_batch())
    # positive: 1, 2, 0, 5; inside: 2 + 0. The dark map does not count.
    assert float(step.terms["attention"]) == pytest.approx(0.5 * (1 - 2 / 8))
    assert int(step.terms["dark_maps"]) == 1
    assert float(step.total.detach()) == pytest.approx(float(step.terms["classification"]) + 3 * 0.5 * 0.75)
    step.total.backward()


def test_map_is_enlarged_to_the_mask() -> None:
    heat = torch.tensor([[[0.0, 4.0]]])  # 0, 1, 3, 4 on four pixels
    mask = torch.tensor([[[False, False, True, False]]])
    share, usable = energy_inside(heat, mask)
    assert float(share) == pytest.approx(3 / 8)
    assert bool(usable)


def test_dark_and_broken_maps_have_no_share_and_no_gradient() -> None:
    heat = torch.tensor([[[-1.0, -2.0]], [[float("nan"), 1.0]], [[float("inf"), 1.0]], [[3.0, 1.0]]])
    heat.requires_grad_()
    share, usable = energy_inside(heat, torch.ones(4, 1, 2, dtype=torch.bool) & torch.tensor([True, False]))
    assert usable.tolist() == [False, False, False, True]
    share[usable].sum().backward()
    assert torch.isfinite(heat.grad).all()
    assert float(share[3].detach()) == pytest.approx(0.75)


@pytest.mark.parametrize("form", ["auto", "autograd"])
@pytest.mark.parametrize("kind", [Straight, Curved])
def test_second_order_gradient_by_finite_differences(kind: type[nn.Module], form: str) -> None:
    torch.manual_seed(4)
    model, batch = kind().double(), drawn_batch()
    objective = Energy(form=form)
    step = objective.loss(model, batch)
    assert float(step.terms["attention"]) > 0
    step.total.backward()
    for name, parameter in model.named_parameters():
        expected = finite_differences(lambda: float(objective.loss(model, batch).total.detach()), parameter)
        assert torch.allclose(parameter.grad, expected, rtol=1e-4, atol=1e-6), name


def test_stopping_the_gradient_of_the_weights_is_an_option() -> None:
    model, batch = Straight().double(), drawn_batch()
    batch.w_p[:] = 0
    Energy(stop_gradient_weights=True).loss(model, batch).total.backward()
    assert model.fc.weight.grad is None or model.fc.weight.grad.abs().sum() == 0
    Energy().loss(model, batch).total.backward()
    assert model.fc.weight.grad.abs().sum() > 0


def test_all_inside_costs_nothing() -> None:
    batch = hand_batch()
    batch.maps[:] = 1
    assert float(Energy().loss(Transparent().double(), batch).terms["attention"]) == pytest.approx(0)
