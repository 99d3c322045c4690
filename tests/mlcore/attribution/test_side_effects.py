"""Explaining leaves no trace on the model, also where it fails half-way (definitions §1)."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlcore.attribution.base import Attribution
from mlcore.attribution.baselines import Centre, Random
from mlcore.attribution.grad_cam import GradCAM
from mlcore.attribution.grad_cam_pp import GradCAMPlusPlus
from mlcore.attribution.hires_cam import HiResCAM
from mlcore.attribution.layer_cam import LayerCAM
from mlcore.attribution.layers import capture
from mlcore.attribution.rise import RISE
from mlcore.attribution.score_cam import ScoreCAM
from tests.mlcore.attribution.nets import PoolLinear, images

FORMS = ["closed", "autograd"]

METHODS: dict[str, Callable[[nn.Module], Attribution]] = {
    "grad_cam closed": lambda model: GradCAM(model, form="closed"),
    "grad_cam autograd": lambda model: GradCAM(model, form="autograd"),
    "hires_cam grid": lambda model: HiResCAM(model, form="autograd", preset="grid"),
    "grad_cam_pp closed": lambda model: GradCAMPlusPlus(model, form="closed"),
    "grad_cam_pp autograd": lambda model: GradCAMPlusPlus(model, form="autograd"),
    "layer_cam autograd": lambda model: LayerCAM(model, form="autograd"),
    "score_cam": lambda model: ScoreCAM(model, chunk=4),
    "rise": lambda model: RISE(model, masks=6, chunk=4),
    "centre": Centre,
    "random": Random,
}
LOOKING = [name for name in METHODS if name not in ("centre", "random")]


class Breaks(nn.Module):
    """Passes through, or raises when told to."""

    broken = False

    def forward(self, values: Tensor) -> Tensor:
        if self.broken:
            raise RuntimeError("the network broke")
        return values


class Fragile(PoolLinear):
    def __init__(self) -> None:
        super().__init__()
        self.features.insert(2, Breaks())
        self.drop = nn.Sequential(Breaks(), nn.Dropout(0.5))


def trained_a_little() -> Fragile:
    """In train mode with one module frozen in eval mode, with gradients from a step before."""
    torch.manual_seed(1)
    model = Fragile().double().train()
    model.features[1].eval()
    model(images()).sum().backward()
    return model


def traces(model: nn.Module) -> dict[str, Any]:
    found: dict[str, Any] = {name: value.clone() for name, value in model.state_dict().items()}
    found |= {f"{name} grad": parameter.grad.clone() for name, parameter in model.named_parameters()}
    found |= {f"{name} learns": parameter.requires_grad for name, parameter in model.named_parameters()}
    found |= {f"{name} mode": module.training for name, module in model.named_modules()}
    found |= {
        f"{name} hooks": (
            len(module._forward_hooks),
            len(module._forward_pre_hooks),
            len(module._backward_hooks),
            len(module._backward_pre_hooks),
        )
        for name, module in model.named_modules()
    }
    found["random state"] = torch.get_rng_state()
    found["grad mode"] = torch.is_grad_enabled()
    found["inference mode"] = torch.is_inference_mode_enabled()
    return found


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert before.keys() == after.keys()
    for name, value in before.items():
        same = torch.equal(value, after[name]) if isinstance(value, Tensor) else value == after[name]
        assert same, name


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("targets", [torch.tensor([0, 1, 2]), torch.tensor([[0, 1], [1, 2], [3, 3]])])
def test_explaining_leaves_no_trace(name: str, targets: Tensor) -> None:
    model, pictures = trained_a_little(), images().requires_grad_()
    method = METHODS[name](model)
    before = traces(model)
    maps = method.explain(pictures, targets)
    assert_same(before, traces(model))
    assert pictures.grad is None
    assert torch.equal(pictures.detach(), images())
    assert not maps.requires_grad
    assert maps.dtype == torch.float32
    assert maps.shape[:-2] == targets.shape


@pytest.mark.parametrize("name", METHODS)
def test_pictures_and_targets_from_inference_mode_are_explained_too(name: str) -> None:
    model = trained_a_little()
    expected = METHODS[name](model).explain(images(), torch.tensor([0, 1, 2]))
    with torch.inference_mode():
        maps = METHODS[name](model).explain(images(), torch.tensor([0, 1, 2]))
    assert torch.equal(maps, expected)


def break_before(model: Fragile) -> None:
    model.features[2].broken = True


def break_after(model: Fragile) -> None:
    model.drop[0].broken = True


@pytest.mark.parametrize("name", LOOKING)
@pytest.mark.parametrize("how", [break_before, break_after])
def test_a_network_that_breaks_is_left_as_it_was(name: str, how: Callable[[Fragile], None]) -> None:
    model = trained_a_little()
    method = METHODS[name](model)
    how(model)
    before = traces(model)
    with pytest.raises(RuntimeError, match="the network broke"):
        method.explain(images(), lambda logits: torch.tensor([0, 1, 2]))
    assert_same(before, traces(model))


@pytest.mark.parametrize("name", ["grad_cam closed", "grad_cam_pp closed"])
@pytest.mark.parametrize("targets", [1, torch.tensor([0, 1, 2]), torch.tensor([[0, 1], [1, 2], [3, 3]])])
def test_a_closed_form_ends_the_forward_pass_at_the_layer(name: str, targets: int | Tensor) -> None:
    model = trained_a_little()
    method = METHODS[name](model)
    each = torch.as_tensor(targets)
    expected = method.explain(images(), lambda logits: each.expand(3, *each.shape[1:]))
    break_after(model)
    before = traces(model)
    assert torch.equal(method.explain(images(), targets), expected)
    assert_same(before, traces(model))
    with pytest.raises(ValueError, match="0 to 3"):
        method.explain(images(), 4)
    with pytest.raises(RuntimeError, match="the network broke"):
        method.explain(images(), lambda logits: logits.argmax(1))


def test_a_stop_that_is_not_ones_own_goes_on_to_whom_it_belongs() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten())
    with capture(model, "0", stop=True) as outer, capture(model, "1", stop=True) as inner:
        model(images(dtype=torch.float32))
        raise AssertionError("the forward pass went on")
    assert outer.output.shape == (3, 2, 18, 18)
    with pytest.raises(ValueError, match="did not come through"):
        _ = inner.output
    assert not any(module._forward_hooks for module in model)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", [break_before, break_after])
def test_a_network_that_breaks_while_training_keeps_no_hook(form: str, how: Callable[[Fragile], None]) -> None:
    model = trained_a_little()
    method = GradCAM(model, form=form)
    how(model)
    with pytest.raises(RuntimeError, match="the network broke"):
        method.forward(images(), torch.tensor([0, 1, 2]), create_graph=True)
    assert traces(model)["features hooks"] == (0, 0, 0, 0)


@pytest.mark.parametrize("name", LOOKING)
def test_a_wrong_target_leaves_no_trace(name: str) -> None:
    model = trained_a_little()
    method = METHODS[name](model)
    before = traces(model)
    with pytest.raises(ValueError, match="0 to 3"):
        method.explain(images(), torch.tensor([0, 1, 9]))
    assert_same(before, traces(model))


@pytest.mark.parametrize("form", FORMS)
def test_the_shared_forward_keeps_the_mode_and_counts_the_batch_once(form: str) -> None:
    model = trained_a_little()
    model.train()
    before = traces(model)
    GradCAM(model, form=form).forward(images(), torch.tensor([0, 1, 2]), create_graph=True)
    after = traces(model)
    assert after["features.1.num_batches_tracked"] == before["features.1.num_batches_tracked"] + 1
    assert all(after[key] == before[key] for key in before if key.endswith((" mode", " hooks")))
    assert all(torch.equal(after[key], before[key]) for key in before if key.endswith(" grad"))


def test_a_later_operation_in_place_does_not_reach_what_was_captured() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(2))
    with capture(model, "0") as captured:
        model(images(dtype=torch.float32))
    assert captured.output.min() < 0


def test_capture_refuses_what_cannot_be_a_map() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(1200, 2))
    with pytest.raises(ValueError, match=r"shape \(3, 2\); a map needs"), capture(model, "1"):
        model(images(dtype=torch.float32))
    shared = nn.ReLU()
    twice = nn.Sequential(shared, nn.Conv2d(3, 3, 1), shared)
    with pytest.raises(ValueError, match="more than once"), capture(twice, "0"):
        twice(images(dtype=torch.float32))
    assert not shared._forward_hooks
    with pytest.raises(ValueError, match="did not come through"), capture(model, "1") as captured:
        _ = captured.output
