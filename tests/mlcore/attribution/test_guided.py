"""Guided backprop: captum's numbers, every way of writing a ReLU, and a derivative by the parameters that is exact."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from captum.attr import GuidedBackprop as CaptumGuided
from captum.attr import GuidedGradCam as CaptumGuidedGradCam
from torch import Tensor, nn

from mlcore.attribution.guided_backprop import GuidedBackprop
from mlcore.attribution.guided_grad_cam import GuidedGradCAM
from mlcore.attribution.maps import upsample
from mlcore.training.classifiers import build
from mlcore.training.vision import torchvision
from tests.mlcore.attribution.derivatives import assert_exact
from tests.mlcore.attribution.nets import images


class Net(nn.Module):
    """ReLUs as captum can see them (modules, each used once), batch normalisation, a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1))
        self.last = nn.ReLU()
        self.fc = nn.Linear(4, 3)

    def middle(self, pictures: Tensor) -> Tensor:
        values = self.features(pictures)
        return values + torch.tanh(values)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.fc(self.last(self.middle(pictures)).mean((2, 3)))


class Written(Net):
    """The same by functional calls and in place, with the changed tensor used by its old name."""

    def forward(self, pictures: Tensor) -> Tensor:
        first = self.features[1](self.features[0](pictures))
        first.relu_()
        values = self.features[3](first)
        values = values + torch.tanh(values)
        return self.fc(F.relu(values, inplace=True).mean((2, 3)))


def net(kind: type = Net) -> nn.Module:
    torch.manual_seed(3)
    model = kind().double()
    model(images(8))
    return model.eval()


def captum(method: type, *args: object, **options: object) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum says that it sets hooks
        return method(*args).attribute(images().requires_grad_(), target=torch.tensor([0, 1, 2]), **options)


@pytest.mark.parametrize("kind", [Net, Written])
def test_equals_captum_however_the_relus_are_written(kind: type) -> None:
    oracle = captum(CaptumGuided, net())
    targets = torch.tensor([0, 1, 2])
    plain = torch.autograd.grad(net()(x := images().requires_grad_()).gather(1, targets[:, None]).sum(), x)[0]
    assert (oracle - plain).abs().max() > 0.1 * oracle.abs().max(), "the oracle must differ from the plain gradient"
    for channels, expected in (("sum", oracle.sum(1)), ("max_abs", oracle.abs().amax(1))):
        ours = GuidedBackprop(net(kind), channels=channels).explain(images(), targets)
        torch.testing.assert_close(ours, expected.float())
    harmony = GuidedBackprop(net(kind), preset="harmony").explain(images(), targets)
    torch.testing.assert_close(harmony, upsample(oracle.sum(1).clamp(min=0), (224, 224)).float())


def test_guided_grad_cam_equals_captum() -> None:
    model = net()
    oracle = captum(CaptumGuidedGradCam, model, model.features, interpolate_mode="bilinear")
    targets = torch.tensor([0, 1, 2])
    for channels, expected in (("sum", oracle.sum(1)), ("abs_sum", oracle.abs().sum(1))):
        ours = GuidedGradCAM(model, layer="features", channels=channels).explain(images(), targets)
        torch.testing.assert_close(ours, expected.float())
    several = GuidedGradCAM(model, layer="features").explain(images(), torch.stack([targets, targets.flip(0)], 1))
    torch.testing.assert_close(several[:, 0], oracle.sum(1).float())


@pytest.mark.parametrize("training", [False, True])
def test_gradient_by_every_parameter_is_that_of_finite_differences(training: bool) -> None:
    """A backward pass that is changed for good fails here: values would be differentiated by the guided rule too."""
    model, pictures, targets = net().train(training), images(2, 8), torch.tensor([0, 2])
    model.features[1].momentum = 0.0
    weights = torch.linspace(-1, 2, 64, dtype=torch.float64).reshape(8, 8)

    def value(keep: bool) -> Tensor:
        logits, maps = GuidedBackprop(model).forward(pictures, targets, create_graph=keep)
        return (maps * weights).sum() * 100 + logits.square().sum()

    assert_exact(model, value)


def test_logits_are_the_models_own_and_learn_by_the_ordinary_rule() -> None:
    model, other = net(), net()
    logits, _ = GuidedBackprop(model).forward(images(), 1, create_graph=True)
    expected = other(images())
    assert torch.equal(logits, expected)
    logits.square().sum().backward()
    expected.square().sum().backward()
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_vision_transformer_has_its_plain_gradient() -> None:
    torch.manual_seed(0)
    model = torchvision.models.VisionTransformer(32, 16, 2, 2, 16, 32, num_classes=3).eval()
    nn.init.normal_(model.heads.head.weight)  # torchvision starts it at zero
    pictures = images(2, 32, torch.float32).requires_grad_()
    plain = torch.autograd.grad(model(pictures)[:, 1].sum(), pictures)[0].sum(1)
    assert plain.abs().max() > 0
    torch.testing.assert_close(GuidedBackprop(model).explain(pictures, 1), plain)


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenet_v2"])
def test_relus_used_twice_and_classifiers_without_one(architecture: str) -> None:
    torch.manual_seed(0)
    model = build(architecture, 3).eval()
    maps = GuidedBackprop(model).explain(images(1, 32, torch.float32), 1)
    assert maps.shape == (1, 32, 32)
    assert torch.isfinite(maps).all()
