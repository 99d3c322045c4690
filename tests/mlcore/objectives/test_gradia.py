"""The GRADIA loss against values worked out by hand, and its gradient by finite differences (definitions §2)."""

import math

import pytest
import torch
from torch import nn

from mlcore.attribution.grad_cam import GradCAM
from mlcore.attribution.maps import minmax
from mlcore.objectives.batch import Batch
from mlcore.objectives.gradia import Gradia
from mlcore.objectives.targets import attention_target
from tests.mlcore.attribution.nets import (
    Curved,
    PoolLinear,
    Straight,
    Transparent,
    drawn_batch,
    finite_differences,
)

CE_4_0, CE_2_0 = math.log1p(math.exp(-4)), math.log1p(math.exp(-2))


def hand_batch() -> Batch:
    """Image 0: channel 0 holds 0…8, a map with its first cell drawn. Image 1: scores 0 and 2, no map."""
    pictures = torch.zeros(2, 3, 3, 3, dtype=torch.float64)
    pictures[0, 0] = torch.arange(9.0).view(3, 3)
    pictures[1, 1] = 2.0
    pictures[:, 2] = -1000.0  # the third class plays no part
    batch = Batch.plain(pictures, torch.tensor([0, 1]))
    batch.maps = torch.zeros(2, 3, 3, dtype=torch.int8)
    batch.maps[0] = -1
    batch.maps[0, 0, 0] = 1
    batch.has_map = torch.tensor([True, False])
    batch.w_p = torch.tensor([0.4, 1.0], dtype=torch.float64)
    batch.w_a = torch.tensor([1.6, 0.0], dtype=torch.float64)
    return batch


# M = 0, 1/8, … 1; T = [1, ½, 0] ⊗ [1, ½, 0]; Σ|M − T| = (8+3+2+1+2+5+6+7+8)/8 over nine cells
DISTANCE = 42 / 8 / 9


@pytest.mark.parametrize("preset", ["default", "gradia"])
@pytest.mark.parametrize("form", ["closed", "autograd"])
def test_loss_by_hand(form: str, preset: str) -> None:
    model = Transparent().double()
    step = Gradia(attention_weight=3.0, form=form, preset=preset).loss(model, hand_batch())
    classification = (0.4 * CE_4_0 + CE_2_0) / 2
    # the preset's T: 255 → blurred 63.75 → 64, 31.875 → 32, 15.9 → 16: the same after /64
    assert float(step.terms["classification"]) == pytest.approx(classification, abs=1e-9)
    assert float(step.terms["attention"]) == pytest.approx(1.6 * DISTANCE, abs=1e-7)
    assert float(step.total.detach()) == pytest.approx(classification + 3 * 1.6 * DISTANCE, abs=1e-6)
    assert int(step.terms["images_with_map"]) == 1
    assert torch.equal(step.logits, model(hand_batch().images))
    assert not any(term.requires_grad for term in step.terms.values())


def test_means_have_their_own_denominators() -> None:
    batch = hand_batch()
    batch.has_map[1] = True
    batch.w_a[1] = 0.5
    batch.maps[1] = 1  # M of image 1 is constant: 0 against T = 1
    step = Gradia().loss(Transparent().double(), batch)
    assert float(step.terms["attention"]) == pytest.approx((1.6 * DISTANCE + 0.5) / 2, abs=1e-7)
    assert int(step.terms["constant_maps"]) == 1
    step.total.backward()


@pytest.mark.parametrize("why", ["no weight", "no map", "empty map", "no maps at all"])
def test_images_that_do_not_count(why: str) -> None:
    batch = hand_batch()
    if why == "no weight":
        batch.w_a[0] = 0
    elif why == "no map":
        batch.has_map[0] = False
    elif why == "empty map":
        batch.maps[0] = -1
    else:
        batch.maps = None
    step = Gradia().loss(Transparent().double(), batch)
    assert float(step.terms["attention"]) == 0
    assert float(step.total.detach()) == pytest.approx((0.4 * CE_4_0 + CE_2_0) / 2, abs=1e-9)
    assert int(step.terms["images_with_map"]) == 0
    assert int(step.terms["images_without_usable_map"]) == (0 if why == "no weight" else 1)


def value_of(model: nn.Module, objective: Gradia, batch: Batch) -> float:
    return float(objective.loss(model, batch).total.detach())


def seeded(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(11)
    return kind().double()


@pytest.mark.parametrize("form", ["auto", "autograd"])
@pytest.mark.parametrize("kind", [Straight, Curved])
def test_second_order_gradient_by_finite_differences(kind: type[nn.Module], form: str) -> None:
    model, batch = seeded(kind), drawn_batch()
    objective = Gradia(stop_gradient_weights=False, form=form, attention_weight=2.0)
    objective.loss(model, batch).total.backward()
    for name, parameter in model.named_parameters():
        expected = finite_differences(lambda: value_of(model, objective, batch), parameter)
        assert parameter.grad is not None, name
        assert torch.allclose(parameter.grad, expected, rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize("form", ["auto", "autograd"])
@pytest.mark.parametrize("kind", [Straight, Curved])
def test_first_order_gradient_by_finite_differences_with_alpha_held(kind: type[nn.Module], form: str) -> None:
    """α is fixed at its value before the step; only A moves."""
    model, batch = seeded(kind), drawn_batch()
    features = model.features(batch.images).detach().requires_grad_()
    score = model.fc(torch.tanh(model.hidden(features.mean((2, 3))))) if kind is Curved else None
    score = model.fc(features.mean((2, 3))) if score is None else score
    (gradient,) = torch.autograd.grad(score.gather(1, batch.labels[:, None]).sum(), features)
    alpha = gradient.mean(dim=(2, 3), keepdim=True)
    target = attention_target((batch.maps > 0).double(), features.shape[2:])

    def held() -> float:
        with torch.no_grad():
            ce = nn.functional.cross_entropy(model(batch.images), batch.labels, reduction="none")
            heat = minmax((alpha * model.features(batch.images)).sum(dim=1), 1e-8)
            distance = (heat - target).abs().mean(dim=(1, 2))
            return float((batch.w_p * ce).mean() + 2.0 * (batch.w_a * distance).mean())

    objective = Gradia(stop_gradient_weights=True, form=form, attention_weight=2.0)
    total = objective.loss(model, batch).total
    assert float(total.detach()) == pytest.approx(held(), abs=1e-9)
    total.backward()
    for name, parameter in model.named_parameters():
        expected = finite_differences(held, parameter)
        assert torch.allclose(parameter.grad, expected, rtol=1e-4, atol=1e-6), name


def test_a_batch_is_the_weighted_sum_of_its_images() -> None:
    model, batch = seeded(Straight), drawn_batch(4)
    whole = Gradia().loss(model, batch)
    singles = []
    for i in range(4):
        one = Batch(
            *(getattr(batch, name)[i : i + 1] for name in ("images", "labels", "maps", "has_map", "w_p", "w_a"))
        )
        singles.append(Gradia().loss(model, one).total.detach())
    assert float(whole.total.detach()) == pytest.approx(float(torch.stack(singles).mean()), abs=1e-9)


def mirrored(kind: type[nn.Module]) -> nn.Module:
    """A network that cannot tell left from right."""
    model = seeded(kind).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.copy_((module.weight + module.weight.flip(3)) / 2)
    return model


def test_image_and_map_flipped_together_give_the_same_loss() -> None:
    # 21 pixels: with stride 2 and padding 1 the grid of cells is its own mirror image
    model, batch = mirrored(PoolLinear), drawn_batch(3, size=21)
    plain = float(Gradia().loss(model, batch).total.detach())
    flipped = Batch(**vars(batch) | {"images": batch.images.flip(3), "maps": batch.maps.flip(2)})
    assert float(Gradia().loss(model, flipped).total.detach()) == pytest.approx(plain, abs=1e-9)
    image_only = Batch(**vars(batch) | {"images": batch.images.flip(3)})
    assert abs(float(Gradia().loss(model, image_only).total.detach()) - plain) > 1e-3


def test_one_forward_for_both_terms_and_one_more_an_image_in_the_preset() -> None:
    for preset, forwards in (("default", 1), ("gradia", 1 + 2)):
        model, batch = seeded(PoolLinear).train(), drawn_batch(3)
        batch.w_a[1] = 0
        Gradia(preset=preset).loss(model, batch)
        assert int(model.features[1].num_batches_tracked) == forwards
        assert not model.features._forward_hooks


def test_preset_differs_where_batchnorm_sees_one_image() -> None:
    values = {}
    for mode in (True, False):
        for preset in ("default", "gradia"):
            model = seeded(PoolLinear).train(mode)
            model.drop.eval()
            batch = drawn_batch(3)
            values[mode, preset] = float(Gradia(preset=preset).loss(model, batch).terms["attention"])
    assert abs(values[True, "default"] - values[True, "gradia"]) > 1e-3
    assert values[False, "default"] == pytest.approx(values[False, "gradia"], abs=5e-3)  # rounding of T alone


def test_recipe_and_wrong_options() -> None:
    recipe = {"objective": "gradia", "epochs": 3, "attention_weight": 2, "stop_gradient_weights": False, "layer": ""}
    objective = Gradia.from_recipe(recipe)
    assert objective.attention_weight == 2
    assert not objective.stop_gradient_weights
    assert objective.layer is None
    assert list(objective.parameters()) == []
    with pytest.raises(ValueError, match="0 or more, not -1"):
        Gradia(attention_weight=-1)
    with pytest.raises(ValueError, match="presets default and gradia"):
        Gradia(preset="grid")
    with pytest.raises(ValueError, match="no layer “nose”"):
        Gradia(layer="nose").prepare(Straight())


def test_training_moves_the_map_towards_what_was_drawn() -> None:
    model, batch = seeded(PoolLinear).eval(), drawn_batch(3)
    objective = Gradia(attention_weight=5.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    history = []
    for _ in range(60):
        optimizer.zero_grad()
        step = objective.loss(model, batch)
        step.total.backward()
        optimizer.step()
        history.append(float(step.terms["attention"]))
    assert history[-1] < 0.5 * history[0]
    assert objective.cam(model) is objective.cam(model)
    assert objective.has_closed_form
    assert not Gradia(form="autograd").has_closed_form
    assert isinstance(objective.cam(model), GradCAM)
