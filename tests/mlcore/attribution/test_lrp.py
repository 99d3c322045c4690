"""LRP ε+: rules by hand, what is conserved, batch normalisation merged, exact derivatives."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.excitation_backprop import ExcitationBackprop
from mlcore.attribution.lrp import LRPEpsilonPlus
from mlcore.training.classifiers import build
from mlcore.training.vision import torchvision
from tests.mlcore.attribution.derivatives import assert_exact
from tests.mlcore.attribution.nets import images

METHODS = [LRPEpsilonPlus, ExcitationBackprop]


class Block(nn.Module):
    """Smooth enough for finite differences: everything LRP has a rule for, of which nothing bends at the values."""

    def __init__(self, *, bias: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(4)
        self.deep = nn.Conv2d(4, 4, 3, padding=1, bias=bias)
        self.alone = nn.BatchNorm2d(4)
        self.hidden = nn.Linear(4, 5, bias=bias)
        self.fc = nn.Linear(5, 3, bias=bias)

    def forward(self, pictures: Tensor) -> Tensor:
        kept = F.relu(self.norm(self.stem(pictures)))
        values = self.deep(F.max_pool2d(kept, 3, 1, 1))
        values += kept
        values = F.relu(self.alone(F.relu(values, inplace=True)))
        return self.fc(F.relu(self.hidden(values.mean((2, 3)))))


def block(*, bias: bool = True) -> Block:
    torch.manual_seed(4)
    model = Block(bias=bias).double()
    for norm in (model.norm, model.alone):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.3, 0.3)
    model(images(8, 9))
    return model.eval()


def single(weight: list[float], bias: float, *, linear: bool) -> nn.Module:
    """Two colours of one cell into one score."""
    layer = nn.Linear(2, 1) if linear else nn.Conv2d(2, 1, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight).reshape(layer.weight.shape))
        layer.bias.fill_(bias)
    model = nn.Sequential(nn.Flatten(), layer) if linear else nn.Sequential(layer, nn.Flatten())
    return model.double()


def colours(model: nn.Module, picture: Tensor, method: type = LRPEpsilonPlus) -> list[float]:
    """Relevance of each colour by itself: a 1×1 picture, the other colour's map taken apart by an identity layer."""
    whole = nn.Sequential(nn.Upsample(scale_factor=1), model)
    found = []
    for index in range(picture.shape[1]):
        only = nn.Sequential(Keep(index), whole)
        found.append(float(method(only).explain(picture, 0).sum()))
    return found


class Keep(nn.Module):
    """Lets all colours through, the others as constants: relevance that reaches them goes nowhere."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, picture: Tensor) -> Tensor:
        parts = [part if i == self.index else part.detach() for i, part in enumerate(picture.split(1, 1))]
        return torch.cat(parts, 1)


def test_epsilon_rule_by_hand() -> None:
    picture = torch.tensor([2.0, 1.0]).double().reshape(1, 2, 1, 1)
    model = single([3.0, -1.0], 1.0, linear=True)  # z = 6 − 1 + 1 = 6
    torch.testing.assert_close(torch.tensor(colours(model, picture)), torch.tensor([6.0, -1.0]), rtol=1e-5, atol=0)


def test_z_plus_rule_by_hand_with_a_negative_input_and_a_bias() -> None:
    picture = torch.tensor([2.0, -1.0]).double().reshape(1, 2, 1, 1)
    model = single([3.0, -1.0], 1.0, linear=False)  # score 6 + 1 + 1 = 8; z⁺ = 6 + 1 + 1
    torch.testing.assert_close(torch.tensor(colours(model, picture)), torch.tensor([6.0, 1.0]), rtol=1e-5, atol=0)
    model = single([3.0, 1.0], -4.0, linear=False)  # score 6 − 1 − 4 = 1; z⁺ = 6: all of 1 to the first
    torch.testing.assert_close(torch.tensor(colours(model, picture)), torch.tensor([1.0, 0.0]), rtol=1e-5, atol=0)


def test_pools_residuals_and_gates_by_hand() -> None:
    class Ways(nn.Module):
        def forward(self, picture: Tensor) -> Tensor:
            one, two = picture[:, :1], picture[:, 1:2]
            both = F.max_pool2d(one, 2) + F.avg_pool2d(two, 2)  # 4 and 2
            return (both * torch.sigmoid(picture.mean((2, 3), keepdim=True)[:, :1])).flatten(1)

    picture = torch.tensor([[[1.0, 4.0], [3.0, 0.0]], [[2.0, 0.0], [5.0, 1.0]]]).double()[None]
    score = 6 * torch.sigmoid(torch.tensor(2.0)).item()
    expected = score * torch.tensor([[2 / 4, 4.0], [5 / 4, 1 / 4]]) / 6
    maps = LRPEpsilonPlus(Ways()).explain(picture, 0)[0]
    torch.testing.assert_close(maps, expected, rtol=1e-5, atol=1e-7)


def test_relevance_is_the_score_where_biases_take_nothing() -> None:
    model = block(bias=False)
    for norm in (model.norm, model.alone):
        nn.init.zeros_(norm.bias)
        nn.init.zeros_(norm.running_mean)
    pictures, targets = images(3, 9), torch.tensor([0, 1, 2])
    scores = model(pictures).gather(1, targets[:, None])[:, 0].float()
    maps = LRPEpsilonPlus(model).explain(pictures, targets)
    torch.testing.assert_close(maps.sum((1, 2)), scores, rtol=1e-3, atol=1e-5)
    between = LRPEpsilonPlus(model, layer="deep").explain(pictures, targets)
    assert between.shape == (3, 5, 5)
    side = LRPEpsilonPlus(model, layer="norm").explain(pictures, targets).sum((1, 2))
    torch.testing.assert_close(side, scores, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("training", [False, True])
def test_a_merged_batch_normalisation_is_the_convolution_that_does_the_same(method: type, training: bool) -> None:
    torch.manual_seed(2)
    conv, norm, head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)
    nn.init.normal_(norm.weight)  # scales of both signs
    nn.init.normal_(norm.bias)
    model = nn.Sequential(conv, norm, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).double()
    pictures, targets = images(), torch.tensor([0, 1, 0])
    with torch.no_grad():
        values = conv(pictures)
    mean, variance = values.mean((0, 2, 3)), values.var((0, 2, 3), unbiased=False)
    if not training:
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
    model.train(training)
    scale = norm.weight.detach() / (variance + norm.eps).sqrt()
    same = nn.Conv2d(3, 4, 3).double()
    same.weight.data = conv.weight.data * scale[:, None, None, None]
    same.bias.data = (conv.bias.data - mean) * scale + norm.bias.data
    merged = nn.Sequential(same, *list(model)[2:])
    _, maps = method(model).forward(pictures, targets, create_graph=False)
    torch.testing.assert_close(maps, method(merged).forward(pictures, targets, create_graph=False)[1])


@pytest.mark.parametrize("preset", ["default", "harmony"])
@pytest.mark.parametrize("method", METHODS)
def test_gradient_by_every_parameter_is_that_of_finite_differences(method: type, preset: str) -> None:
    model, pictures, targets = block(), images(2, 9), torch.tensor([0, 2])

    def value(keep: bool) -> Tensor:
        _, maps = method(model, preset=preset).forward(pictures, targets, create_graph=keep)
        cells = maps.flatten(1)
        return (cells * torch.linspace(-1, 2, cells.shape[1], dtype=cells.dtype)).sum() * 1000

    assert_exact(model, value)


def test_harmony_is_the_contrast_of_two_starts() -> None:
    model, pictures, targets = block(), images(2, 9), torch.tensor([1, 2])
    contrast = LRPEpsilonPlus(model, preset="harmony", layer="deep").explain(pictures, targets)
    assert contrast.shape == (2, 224, 224)
    assert contrast.min() == 0
    assert contrast.max() > 0
    several = torch.tensor([[1, 0], [2, 1]])
    both = LRPEpsilonPlus(model, preset="harmony", layer="deep").explain(pictures, several)
    torch.testing.assert_close(both[:, 0], contrast)


def test_several_classes_share_one_pass_and_stay_themselves() -> None:
    model, pictures = block(), images(2, 9)
    both = LRPEpsilonPlus(model).explain(pictures, torch.tensor([[0, 1], [2, 0]]))
    torch.testing.assert_close(both[:, 1], LRPEpsilonPlus(model).explain(pictures, torch.tensor([1, 0])))


@pytest.mark.parametrize("method", METHODS)
def test_nan_and_constant_pictures_are_told_apart_from_others(method: type) -> None:
    model, pictures = block(), images(3, 9)
    alone = method(model).explain(pictures[2:], 1)
    pictures[0, 0, 3, 3], pictures[1] = float("nan"), 0.25
    maps = method(model).explain(pictures, 1)
    assert torch.isnan(maps[0]).all()
    assert torch.isfinite(maps[1:]).all()
    torch.testing.assert_close(maps[2:], alone)


def small_densenet() -> nn.Module:
    return torchvision.models.DenseNet(4, (2, 2), 8, num_classes=3)


def small_convnext() -> nn.Module:
    block = torchvision.models.convnext.CNBlockConfig
    return torchvision.models.ConvNeXt([block(8, 12, 1), block(12, None, 1)], layer_scale=0.5, num_classes=3)


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "densenet": small_densenet,
    "convnext": small_convnext,
    "mobilenet": lambda: build("mobilenet_v3_small", 3),
    "shufflenet": lambda: build("shufflenet_v2_x0_5", 3),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_torchvision_families_have_rules_for_all_they_do(family: str) -> None:
    torch.manual_seed(0)
    model, pictures = FAMILIES[family]().train(), images(2, 32, torch.float32)
    with torch.no_grad():
        model(pictures)  # statistics of the data, or a random network fades to nothing
    logits, maps = LRPEpsilonPlus(model.eval()).forward(pictures, 1, create_graph=False)
    assert torch.equal(logits, model(pictures))
    assert maps.shape == (2, 32, 32)
    assert maps.abs().amax() > 0


def test_transformers_and_unknown_words_are_refused() -> None:
    small = torchvision.models.VisionTransformer(32, 16, 1, 2, 16, 32, num_classes=3)
    with pytest.raises(ValueError, match="no rule for multi_head_attention_forward; it explains convolutional"):
        LRPEpsilonPlus(small).explain(images(1, 32, torch.float32), 0)
    with pytest.raises(ValueError, match="presets default and harmony, not “gradia”"):
        LRPEpsilonPlus(block(), preset="gradia")
    with pytest.raises(ValueError, match="There is no layer “layer9” in Block"):
        LRPEpsilonPlus(block(), layer="layer9")
    with pytest.raises(ValueError, match="ε is 0 or more"):
        LRPEpsilonPlus(block(), epsilon=-1.0)
