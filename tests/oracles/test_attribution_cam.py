"""Maps of the CAM family beside pytorch-grad-cam 1.5.7 and torch-cam 0.5.0 (docs/agreement.md names the differences).

pytorch-grad-cam gives only maps that are min–maxed, so ours are too before they are compared; it divides by
max + 1e-7. It enlarges them by OpenCV; that step is taken out here. torch-cam gives raw maps.
"""

from collections import OrderedDict
from typing import Any

import pytest
import torch
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchcam import methods as torchcam

from mlcore.attribution import explain
from mlcore.attribution.layers import capture, default_layer
from mlcore.attribution.maps import minmax
from tests.oracles.nets import Plain, Residual, images, seeded

SCALED = 2e-5  # maps in [0, 1], float32
RAW = 1e-5  # of the largest value

PEERS = {"grad_cam": GradCAM, "hires_cam": HiResCAM, "layer_cam": LayerCAM}
CLASSES = torch.tensor([2, 0, 3])


def pytorch_grad_cam(peer: Any, model: nn.Module, layer: str, pictures: Tensor, classes: Tensor) -> Tensor:
    """Its maps before they are enlarged, each min–maxed: (B, h, w)."""
    with peer(model=model, target_layers=[model.get_submodule(layer)]) as method:
        method.get_target_width_height = lambda _input: None
        maps = method(input_tensor=pictures, targets=[ClassifierOutputTarget(int(c)) for c in classes])
    return torch.from_numpy(maps)


def torch_cam(peer: Any, model: nn.Module, layer: str, pictures: Tensor, classes: Tensor) -> Tensor:
    """Its maps as they are computed: (B, h, w)."""
    with peer(model, layer) as method:
        scores = model(pictures)
        return method(class_idx=classes.tolist(), scores=scores, normalized=False)[0].detach()


def close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    assert ours.flatten(1).std(dim=1).min() > 0
    scale = float(theirs.abs().max())
    torch.testing.assert_close(ours.double() / scale, theirs.double() / scale, atol=tolerance, rtol=0)


def features_and_gradient(model: nn.Module, layer: str, pictures: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """What the layer gave (B, C, h, w) and the gradient of the class scores there."""
    with torch.enable_grad(), capture(model, layer, require_grad=True) as captured:
        scores = model(pictures)
        (gradient,) = torch.autograd.grad(scores.gather(1, classes[:, None]).sum(), captured.output)
    return captured.output.detach(), gradient


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, values: Tensor) -> Tensor:
        return values * self.factor


def scaled_inside(model: nn.Module, factor: float) -> nn.Module:
    """The same function of the picture, whose features are `factor` times as large in "small" and back behind it."""
    return nn.Sequential(
        OrderedDict(
            features=model.features,
            small=Times(factor),
            back=Times(1 / factor),
            pool=nn.AdaptiveAvgPool2d(1) if isinstance(model.classifier[-1], nn.Linear) else nn.Identity(),
            flat=nn.Flatten() if isinstance(model.classifier[-1], nn.Linear) else nn.Identity(),
            classifier=model.classifier,
            end=nn.Flatten(),
        )
    ).eval()


@pytest.fixture(params=[Plain, Residual])
def toy(request: pytest.FixtureRequest) -> tuple[nn.Module, str]:
    return seeded(request.param()), "features.4" if request.param is Plain else "second"


@pytest.mark.parametrize("name", list(PEERS))
def test_pytorch_grad_cam_draws_the_same_maps_on_small_networks(name: str, toy: tuple[nn.Module, str]) -> None:
    model, layer = toy
    ours = explain(model, images(), CLASSES, name, layer=layer)
    close(minmax(ours), pytorch_grad_cam(PEERS[name], model, layer, images(), CLASSES), SCALED)


@pytest.mark.parametrize("name", list(PEERS))
def test_pytorch_grad_cam_draws_the_same_maps_on_photographs(
    name: str, classifier: nn.Module, photographs: tuple[Tensor, Tensor]
) -> None:
    layer = default_layer(classifier)
    ours = explain(classifier, *photographs, name)
    close(minmax(ours), pytorch_grad_cam(PEERS[name], classifier, layer, *photographs), SCALED)


@pytest.mark.parametrize(("name", "peer"), [("grad_cam", torchcam.GradCAM), ("layer_cam", torchcam.LayerCAM)])
def test_torch_cam_computes_the_same_values_on_small_networks(name: str, peer: Any, toy: tuple[nn.Module, str]) -> None:
    model, layer = toy
    ours = explain(model, images(), CLASSES, name, layer=layer)
    close(ours, torch_cam(peer, model, layer, images(), CLASSES), RAW)


@pytest.mark.parametrize(("name", "peer"), [("grad_cam", torchcam.GradCAM), ("layer_cam", torchcam.LayerCAM)])
def test_torch_cam_computes_the_same_values_on_photographs(
    name: str, peer: Any, classifier: nn.Module, photographs: tuple[Tensor, Tensor]
) -> None:
    ours = explain(classifier, *photographs, name)
    close(ours, torch_cam(peer, classifier, default_layer(classifier), *photographs), RAW)


def test_grad_cam_plus_plus_is_that_of_pytorch_grad_cam_where_its_epsilon_does_not_matter(
    classifier: nn.Module, photographs: tuple[Tensor, Tensor]
) -> None:
    """It adds 1e-6 to 2g² + ΣA·g³. Features a ten-thousandth as large have gradients ten thousand times as large and
    the same α by the paper, so that the constant vanishes beside g²."""
    ours = explain(classifier, *photographs, "grad_cam_pp")
    theirs = pytorch_grad_cam(GradCAMPlusPlus, scaled_inside(classifier, 1e-4), "small", *photographs)
    close(minmax(ours), theirs, 1e-4)


def test_the_epsilon_of_pytorch_grad_cam_is_all_that_sets_its_grad_cam_plus_plus_apart(
    classifier: nn.Module, photographs: tuple[Tensor, Tensor]
) -> None:
    layer = default_layer(classifier)
    features, gradient = features_and_gradient(classifier, layer, *photographs)
    share = gradient**2 / (2 * gradient**2 + features.sum(dim=(2, 3), keepdim=True) * gradient**3 + 1e-6)
    weights = (torch.where(gradient != 0, share, 0) * gradient.clamp(min=0)).sum(dim=(2, 3), keepdim=True)
    written = (weights * features).sum(dim=1).clamp(min=0)
    close(minmax(written), pytorch_grad_cam(GradCAMPlusPlus, classifier, layer, *photographs), SCALED)


def test_torch_cam_never_divides_in_its_grad_cam_plus_plus(
    classifier: nn.Module, photographs: tuple[Tensor, Tensor]
) -> None:
    """Its division is done on a copy: α stays g². Named in docs/agreement.md; here so that a mended one is noticed."""
    layer = default_layer(classifier)
    features, gradient = features_and_gradient(classifier, layer, *photographs)
    weights = (gradient**2 * gradient.clamp(min=0)).sum(dim=(2, 3), keepdim=True)
    written = (weights * features).sum(dim=1).clamp(min=0)
    close(written, torch_cam(torchcam.GradCAMpp, classifier, layer, *photographs), RAW)


def enlarged_by_areas(size: tuple[int, int]) -> nn.Module:
    return nn.Upsample(size=size, mode="bilinear", align_corners=False)


def test_score_cam_is_that_of_pytorch_grad_cam_with_our_enlargement(monkeypatch: pytest.MonkeyPatch) -> None:
    """It enlarges channels with corners aligned; with pixel areas aligned, as everywhere here, the maps are equal."""
    monkeypatch.setattr(torch.nn, "UpsamplingBilinear2d", enlarged_by_areas)
    model = seeded(Plain())
    ours = explain(model, images(), CLASSES, "score_cam", layer="features.4")
    close(minmax(ours), pytorch_grad_cam(ScoreCAM, model, "features.4", images(), CLASSES), SCALED)


def test_score_cam_is_that_of_pytorch_grad_cam_on_a_photograph(
    squeezenet: nn.Module, photographs: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn, "UpsamplingBilinear2d", enlarged_by_areas)
    picture, label = photographs[0][:1, :, 64:160, 64:160], photographs[1][:1]
    ours = explain(squeezenet, picture, label, "score_cam", layer="features.3")
    close(minmax(ours), pytorch_grad_cam(ScoreCAM, squeezenet, "features.3", picture, label), 1e-4)


def test_score_cam_is_that_of_torch_cam_where_channels_are_as_large_as_the_picture() -> None:
    """It scales a channel before it enlarges it, we (as the paper) after; at the picture's own size both are one."""
    model = seeded(Plain())
    ours = explain(model, images(), CLASSES, "score_cam", layer="features.0")
    close(ours, torch_cam(torchcam.ScoreCAM, model, "features.0", images(), CLASSES), RAW)
