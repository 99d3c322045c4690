"""L-CAM: one attention over the last layer."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mlcore.attribution import explain
from mlcore.attribution.l_cam import LCAM, LCAMAttention
from mlcore.attribution.tame import TAME
from tests.mlcore.attribution.nets import PoolLinear, Transparent, images


def test_by_hand() -> None:
    """Features = the picture's channels; weights 1, 0, −1 for class 0, bias ½."""
    attention = LCAMAttention("features", 3, 3)
    with torch.no_grad():
        attention.conv.weight.zero_()
        attention.conv.bias.copy_(torch.tensor([0.5, 0.0, 0.0]))
        attention.conv.weight[0, :, 0, 0] = torch.tensor([1.0, 0.0, -1.0])
    picture = torch.tensor([[[[1.0, 2.0]], [[7.0, 7.0]], [[0.0, 3.0]]]])
    maps = LCAM(Transparent(), attention).explain(picture, 0)
    torch.testing.assert_close(maps, torch.sigmoid(torch.tensor([[[1.5, -0.5]]])))
    torch.testing.assert_close(LCAM(Transparent(), attention).explain(picture, 1), torch.full((1, 1, 2), 0.5))


def test_one_class_is_the_one_among_all(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = PoolLinear().eval()
    attention = LCAMAttention.for_model(model, size=20)
    assert (attention.layers, attention.channels, attention.classes) == (("features",), (6,), 4)
    pictures, targets = images(dtype=torch.float32), torch.tensor([[0, 1], [3, 2], [1, 1]])
    with torch.no_grad():
        every = torch.sigmoid(attention([model.features(pictures)]))
    maps = explain(model, pictures, targets, method="l_cam", attention=attention.save(tmp_path / "a.safetensors"))
    expected = every.gather(1, targets[:, :, None, None].expand(-1, -1, *every.shape[-2:]))
    torch.testing.assert_close(maps, expected, atol=1e-5, rtol=0)


def test_the_gradient_by_the_attention_is_right() -> None:
    model = PoolLinear().double().eval().requires_grad_(False)
    attention = LCAMAttention("features", 6, 4).double()
    method = LCAM(model, attention)

    def maps(weight: Tensor, bias: Tensor) -> Tensor:
        attention.conv.weight, attention.conv.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)
        return method.forward(images(), torch.tensor([0, 1, 2]), create_graph=True)[1]

    out = maps(attention.conv.weight.detach(), attention.conv.bias.detach())
    (gradient,) = torch.autograd.grad(out.sum(), attention.conv.weight)
    step = torch.zeros_like(attention.conv.weight)
    step[1, 2] = 1e-6
    weight, bias = attention.conv.weight.detach(), attention.conv.bias.detach()
    numeric = (maps(weight + step, bias).sum() - maps(weight - step, bias).sum()) / 2e-6
    torch.testing.assert_close(gradient[1, 2, 0, 0], numeric.detach(), atol=1e-6, rtol=1e-5)


def test_the_attention_of_another_method_is_refused(tmp_path: Path) -> None:
    model = PoolLinear()
    attention = LCAMAttention("features", 6, 4)
    with pytest.raises(ValueError, match="an attention of “l_cam”, not of “tame”"):
        TAME(model, attention)
    with pytest.raises(ValueError, match="an attention of “l_cam”, not of “tame”"):
        TAME(model, attention.save(tmp_path / "a.safetensors"))
