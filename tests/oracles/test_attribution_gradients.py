"""Methods that are gradients at the picture beside captum 0.9.0; what captum computes for us beside plain loops."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from captum.attr import GuidedBackprop, GuidedGradCam, InputXGradient
from torch import Tensor, nn

from mlcore.attribution import explain
from mlcore.attribution.layers import default_layer
from tests.oracles.nets import Plain, Residual, images, seeded

CLOSE = 1e-6  # of the map's largest value, in double precision
CLASSES = torch.tensor([2, 0, 3])


def separate(model: nn.Module) -> nn.Module:
    """A copy whose ReLUs work out of place: captum's hooks refuse others."""
    model = deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model


def close(ours: Tensor, theirs: Tensor, tolerance: float = CLOSE) -> None:
    scale = float(theirs.abs().max())
    assert scale > 0
    torch.testing.assert_close(ours.double() / scale, theirs.detach().double() / scale, atol=tolerance, rtol=0)


@pytest.fixture(params=["small", "residual", "photograph"])
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor, Tensor, str]:
    """Model, pictures, classes, layer."""
    if request.param == "small":
        return seeded(Plain()), images(), CLASSES, "features.4"
    if request.param == "residual":
        return seeded(Residual()), images(), CLASSES, "second"
    pictures, classes = request.getfixturevalue("photographs")
    model = deepcopy(request.getfixturevalue("squeezenet")).double()
    return model, pictures[:1, :, 64:160, 64:160].double(), classes[:1], default_layer(model)


Case = tuple[nn.Module, Tensor, Tensor, str]


def test_guided_backprop_is_captums(case: Case) -> None:
    model, pictures, classes, _ = case
    theirs = GuidedBackprop(separate(model)).attribute(pictures.clone().requires_grad_(), target=classes)
    close(explain(model, pictures, classes, "guided_backprop"), theirs.sum(dim=1))


def test_guided_grad_cam_is_captums(case: Case) -> None:
    model, pictures, classes, layer = case
    twin = separate(model)
    method = GuidedGradCam(twin, twin.get_submodule(layer))
    theirs = method.attribute(pictures.clone().requires_grad_(), target=classes, interpolate_mode="bilinear")
    close(explain(model, pictures, classes, "guided_grad_cam", layer=layer), theirs.sum(dim=1))


def test_input_x_gradient_is_captums(case: Case) -> None:
    model, pictures, classes, _ = case
    theirs = InputXGradient(separate(model)).attribute(pictures.clone().requires_grad_(), target=classes)
    close(explain(model, pictures, classes, "input_x_gradient"), theirs.sum(dim=1))


def gradient(model: nn.Module, pictures: Tensor, classes: Tensor) -> Tensor:
    pictures = pictures.clone().requires_grad_()
    return torch.autograd.grad(model(pictures).gather(1, classes[:, None]).sum(), pictures)[0]


def test_integrated_gradients_are_the_sum_over_the_points_of_gauss_and_legendre(case: Case) -> None:
    model, pictures, classes, _ = case
    nodes, weights = np.polynomial.legendre.leggauss(12)
    total = torch.zeros_like(pictures)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        total += weight * gradient(model, pictures * node, classes)
    ours = explain(model, pictures, classes, "integrated_gradients", steps=12)
    close(ours, (pictures * total).sum(dim=1))


def test_smooth_grad_without_noise_is_the_gradient(case: Case) -> None:
    model, pictures, classes, _ = case
    ours = explain(model, pictures, classes, "smooth_grad", samples=2, noise=0.0)
    close(ours, gradient(model, pictures, classes).abs().sum(dim=1))


def test_smooth_grad_is_the_mean_over_noisy_copies() -> None:
    """Other noise, so the same up to chance: 100 copies on both sides, seeded."""
    model, picture, label = seeded(Plain()), images(1), CLASSES[:1]
    generator = torch.Generator().manual_seed(7)
    noise = torch.randn(100, *picture.shape[1:], generator=generator, dtype=picture.dtype)
    copies = picture + 0.1 * float(picture.amax() - picture.amin()) * noise
    written = gradient(model, copies, label.expand(100)).mean(dim=0).abs().sum(dim=0)
    ours = explain(model, picture, label, "smooth_grad", samples=100, noise=0.1)[0]
    assert float(torch.corrcoef(torch.stack([ours.flatten().double(), written.flatten()]))[0, 1]) > 0.9
