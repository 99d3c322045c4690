"""Input × Gradient: by hand, colours as named, presets, precision, and its derivative."""

import pytest
import torch
from torch import nn

from mlcore.attribution.input_x_gradient import InputXGradient
from mlcore.attribution.maps import upsample
from tests.mlcore.attribution.derivatives import assert_exact
from tests.mlcore.attribution.nets import Curved, images


def linear() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 2 * 2, 2)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.arange(24.0).reshape(2, 12) - 6)
    return model


def test_by_hand_on_a_linear_model() -> None:
    model, picture = linear(), images(1, 2)
    by_hand = (model[1].weight[0].reshape(3, 2, 2) * picture[0]).detach().float()
    maps = {c: InputXGradient(model, channels=c).explain(picture, 0)[0] for c in ("sum", "abs_sum", "max_abs")}
    torch.testing.assert_close(maps["sum"], by_hand.sum(0))
    torch.testing.assert_close(maps["abs_sum"], by_hand.abs().sum(0))
    torch.testing.assert_close(maps["max_abs"], by_hand.abs().amax(0))
    harmony = InputXGradient(model, preset="harmony", channels="max_abs").explain(picture, 0)
    torch.testing.assert_close(harmony, upsample(by_hand.sum(0).clamp(min=0)[None], (224, 224)))


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ValueError, match="sum, abs_sum or max_abs, not by “mean”"):
        InputXGradient(linear(), channels="mean")
    with pytest.raises(ValueError, match="presets default and harmony"):
        InputXGradient(linear(), preset="grid")


def test_gradient_by_every_parameter_is_that_of_finite_differences() -> None:
    torch.manual_seed(5)
    model, pictures = Curved().double(), images(2, 7)

    def value(keep: bool) -> torch.Tensor:
        return InputXGradient(model).forward(pictures, torch.tensor([0, 2]), create_graph=keep)[1].square().sum() * 1e3

    assert_exact(model, value)


def test_quiet_and_inference_mode_and_pictures_that_want_gradients() -> None:
    torch.manual_seed(5)
    model, pictures = Curved().double(), images(2, 7).requires_grad_()
    expected = InputXGradient(model).explain(pictures, 1)
    assert pictures.grad is None
    with torch.no_grad():
        logits, maps = InputXGradient(model).forward(pictures, 1, create_graph=True)
    assert not logits.requires_grad
    assert not maps.requires_grad
    torch.testing.assert_close(maps.float(), expected)
    with torch.inference_mode():
        torch.testing.assert_close(InputXGradient(model).explain(images(2, 7) * 1, 1), expected)


def test_lower_precision_gives_float32_maps() -> None:
    torch.manual_seed(5)
    model, pictures = Curved(), images(2, 9, torch.float32)
    exact = InputXGradient(model).explain(pictures, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = InputXGradient(model).explain(pictures, 1)
    assert maps.dtype == torch.float32
    assert (maps - exact).abs().max() < 0.1 * exact.abs().max()
