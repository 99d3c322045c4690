"""RES: the threshold against every possible one, the loss by hand (definitions §2)."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlcore.attribution.maps import minmax, normalise_max
from mlcore.objectives.batch import Batch
from mlcore.objectives.res import Res, best_threshold
from mlcore.objectives.targets import gaussian3, nearest
from tests.mlcore.attribution.nets import Straight, Transparent, drawn_batch, finite_differences


def agreement(threshold: float, values: Tensor, signs: Tensor) -> float:
    """share{T<0: M<a} + share{T>0: M≥a}, straight from the definition."""
    negative, positive = values[signs < 0], values[signs > 0]
    total = 0.0
    if len(negative):
        total += float((negative < threshold).double().mean())
    if len(positive):
        total += float((positive >= threshold).double().mean())
    return total


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from([-1, 1])), min_size=1, max_size=40))
def test_threshold_is_as_good_as_any(cells: list[tuple[int, int]]) -> None:
    values = torch.tensor([value / 8 for value, _ in cells])
    signs = torch.tensor([sign for _, sign in cells])
    best = max(agreement(step / 32, values, signs) for step in range(-1, 34))
    assert agreement(float(best_threshold(values, signs)), values, signs) == pytest.approx(best)


def test_threshold_by_hand() -> None:
    values = torch.tensor([0.1, 0.9, 0.4, 0.6])
    assert float(best_threshold(values, torch.tensor([-1, 1, -1, 1]))) == pytest.approx(0.6)
    assert float(best_threshold(values, torch.tensor([1, 1, 1, 1]))) == pytest.approx(0.1)
    above = float(best_threshold(values, torch.tensor([-1, -1, -1, -1])))
    assert above > float(values.max())
    assert above == pytest.approx(0.9, abs=1e-6)
    assert float(best_threshold(values[:0], values[:0])) == 0


def hand_batch() -> Batch:
    """Map of class 0 = 0, ⅓, ⅔, 1 on 2×2 cells; drawn: the last important, the first two not, one unknown."""
    pictures = torch.zeros(1, 3, 2, 2, dtype=torch.float64)
    pictures[0, 0] = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    pictures[0, 1:] = -1000.0
    batch = Batch.plain(pictures, torch.tensor([0]))
    batch.maps = torch.tensor([[[-1, -1], [0, 1]]], dtype=torch.int8)
    batch.has_map = torch.tensor([True])
    batch.w_a = torch.tensor([0.5], dtype=torch.float64)
    return batch


def test_loss_by_hand() -> None:
    step = Res(attention_weight=2.0, eta=0.1).loss(Transparent().double(), hand_batch())
    # T⁺ blurred on 2×2 with reflection is ¼ everywhere; /max = 1
    attention = 0.5 * (1 + 2 / 3 + 1 / 3 + 0) / 4
    # a: both negatives (0, ⅓) below and the positive (1) not below: a = 1 is the value that does it
    single = [abs(math.tanh(5 * (0 - 1)) + 1), abs(math.tanh(5 * (1 / 3 - 1)) + 1), abs(math.tanh(0) - 1)]
    beyond = 0.5 * sum(single) / 3 - 0.1
    assert float(step.terms["attention"]) == pytest.approx(attention, abs=1e-6)
    assert float(step.terms["disagreement"]) == pytest.approx(beyond, abs=1e-6)
    assert float(step.total.detach()) == pytest.approx(2 * (attention + beyond), abs=1e-6)
    forgiven = Res(eta=1.0).loss(Transparent().double(), hand_batch())
    assert float(forgiven.terms["disagreement"]) == 0


def test_gradient_by_finite_differences() -> None:
    torch.manual_seed(2)
    model, batch = Straight().double(), drawn_batch()
    objective = Res(stop_gradient_weights=False)
    total = objective.loss(model, batch).total
    total.backward()
    held = with_threshold_held(model, batch, objective)
    assert float(total.detach()) == pytest.approx(held(), abs=1e-9)
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter.grad, finite_differences(held, parameter), rtol=1e-4, atol=1e-6), name


def with_threshold_held(model: Straight, batch: Batch, objective: Res) -> Callable[[], float]:
    """The loss as a function of the parameters, with `a` a constant of the step at its present value."""

    def parts() -> tuple[Tensor, Tensor, Tensor]:
        logits, maps = objective.cam(model).forward(batch.images, batch.labels, create_graph=False)
        scaled = minmax(maps, 1e-8).detach()
        return logits.detach(), scaled, nearest(batch.maps, scaled.shape[1:]).double()

    _, scaled, signs = parts()
    fixed = best_threshold(scaled[signs != 0], signs[signs != 0])

    def value() -> float:
        logits, scaled, signs = parts()
        ce = torch.nn.functional.cross_entropy(logits, batch.labels, reduction="none")
        smooth = normalise_max(gaussian3(signs.clamp(min=0)))
        distance = (scaled - smooth).abs().mean(dim=(1, 2))
        cells = batch.w_a[:, None, None] * (torch.tanh(5 * (scaled - fixed)) - signs).abs()
        beyond = (cells[signs != 0].mean() - objective.eta).clamp(min=0)
        return float((batch.w_p * ce).mean() + (batch.w_a * distance).mean() + beyond)

    return value


def test_learned_smoothing_is_a_parameter_that_learns_and_is_saved() -> None:
    model = Straight()
    batch = drawn_batch(3, size=64, dtype=torch.float32)
    objective = Res(smoothing="learned")
    assert sum(parameter.numel() for parameter in objective.parameters()) == 64 * 64 + 1
    objective.loss(model, batch).total.backward()
    gradient = objective.smoothing.weight.grad
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0
    assert set(objective.state_dict()) == {"smoothing.weight", "smoothing.bias"}
    batch.w_a[:] = 0
    objective.zero_grad()
    objective.loss(model, batch).total.backward()
    assert objective.smoothing.weight.grad.abs().sum() == 0


def test_learned_smoothing_starts_as_the_average_under_its_window() -> None:
    drawn = torch.zeros(1, 224, 224, dtype=torch.int8)
    drawn[0, :48, :48] = 1  # the first window covers pixels −16…47
    smooth = Res(smoothing="learned").smooth(drawn, torch.zeros(1, 7, 7)).detach()
    assert smooth.shape == (1, 7, 7)
    assert float(smooth[0, 0, 0]) == pytest.approx(1)
    assert float(smooth[0, 0, 1]) == pytest.approx(32 / 48, abs=1e-5)  # pixels 16…79: 32 of the drawn 48 columns
    assert float(smooth[0, 3, 3]) == 0


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="gaussian or learned"):
        Res(smoothing="median")
    with pytest.raises(ValueError, match="η of 0 or more"):
        Res(eta=-1)
    with pytest.raises(ValueError, match="32 pixels or more"):
        Res(smoothing="learned").loss(Straight(), drawn_batch(dtype=torch.float32))
