"""Every family of torchvision: where its map is taken, whether it has a closed form, and what the map is worth."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.grad_cam import GradCAM
from mlcore.attribution.head import closed_form_head
from mlcore.attribution.layer_cam import LayerCAM
from mlcore.attribution.layers import capture, default_layer
from mlcore.training.classifiers import build
from mlcore.training.vision import torchvision
from tests.mlcore.attribution.nets import images

models: Any = torchvision.models


@pytest.mark.parametrize(
    ("architecture", "layer", "kind"),
    [
        ("resnet18", "layer4", "pool_linear"),
        ("squeezenet1_1", "features", "conv_relu_pool"),
        ("mobilenet_v2", "features", "pool_linear"),
        ("mobilenet_v3_small", "features", None),  # two linear layers
        ("vgg11", "features", None),  # no global pool
        ("alexnet", "features", None),
        ("densenet121", "features", "relu_pool_linear"),
        ("efficientnet_b0", "features", "pool_linear"),
        ("convnext_tiny", "features", None),  # a LayerNorm after the pool
        ("googlenet", "inception5b", "pool_linear"),
        ("inception_v3", "Mixed_7c", "pool_linear"),
        ("shufflenet_v2_x0_5", "conv5", "pool_linear"),
        ("mnasnet0_5", "layers", "pool_linear"),
        ("sixconv", "features", "pool_linear"),
        ("vit_b_32", "encoder.layers.encoder_layer_11.ln_1", None),
        ("swin_t", "permute", "pool_linear"),
    ],
)
def test_layer_and_head_of_every_family(architecture: str, layer: str, kind: str | None) -> None:
    with torch.device("meta"):  # the numbers do not matter
        model = build(architecture, 3)
    assert default_layer(model) == layer
    head = closed_form_head(model, layer)
    assert (head.kind if head else None) == kind


def test_regnet_whose_shape_is_computed() -> None:
    model = build("regnet_y_400mf", 3)
    assert default_layer(model) == "trunk_output"
    head = closed_form_head(model, "trunk_output")
    assert head is not None
    assert head.kind == "pool_linear"


def tiny_swin(version: int) -> nn.Module:
    parts: dict[str, Any] = {"patch_size": [4, 4], "embed_dim": 8, "depths": [1, 2], "num_heads": [1, 2]}
    if version == 2:
        swin = models.swin_transformer
        parts |= {"block": swin.SwinTransformerBlockV2, "downsample_layer": swin.PatchMergingV2}
    return models.SwinTransformer(**parts, window_size=[2, 2], num_classes=4, stochastic_depth_prob=0.0)


def tiny_convnext() -> nn.Module:
    setting = models.convnext.CNBlockConfig
    return models.ConvNeXt([setting(8, 12, 1), setting(12, None, 1)], num_classes=4, layer_scale=1.0)


# ResNet, SqueezeNet and MobileNetV2 are compared with captum in test_grad_cam.
TINY: dict[str, tuple[Callable[[], nn.Module], str, str | None]] = {
    "densenet": (partial(models.DenseNet, 4, (2, 2), 8, 2, num_classes=4), "features", "relu_pool_linear"),
    "mobilenet v3": (partial(build, "mobilenet_v3_small", 4), "features", None),
    "convnext": (tiny_convnext, "features", None),
    "shufflenet": (
        partial(models.ShuffleNetV2, [1, 1, 1], [8, 8, 16, 32, 64], num_classes=4), "conv5", "pool_linear",
    ),
    "mnasnet": (partial(models.MNASNet, 0.35, num_classes=4), "layers", "pool_linear"),
    "maxvit": (partial(models.MaxVit, (32, 32), 4, 2, [4, 8], [1, 1], 4, 0.0, num_classes=4), "blocks.1", None),
    "vit": (
        partial(models.VisionTransformer, 32, 8, 2, 2, 16, 24, num_classes=4),
        "encoder.layers.encoder_layer_1.ln_1", None,
    ),
    "swin": (partial(tiny_swin, 1), "permute", "pool_linear"),
    "swin v2": (partial(tiny_swin, 2), "permute", "pool_linear"),
}  # fmt: skip


@pytest.mark.parametrize("family", TINY)
def test_maps_of_every_family_by_a_hook_of_their_own(family: str) -> None:
    torch.manual_seed(0)
    make, layer, kind = TINY[family]
    model = make().double()
    assert default_layer(model) == layer
    with torch.no_grad():
        for parameter in model.parameters():  # heads start at zero in some families
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
        pictures, targets = images(2, 32), torch.tensor([1, 3])
        model(pictures)  # BatchNorm statistics of the pictures, or a random network fades to nothing
    model.eval()
    features, logits = hooked(model, layer, pictures)
    (gradient,) = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), features)
    expected = by_hand(family, features.detach(), gradient)
    assert expected.abs().amax(dim=(1, 2)).min() > 0
    head = closed_form_head(model, layer)
    assert (head.kind if head else None) == kind
    for form in ["autograd", "closed"] if kind else ["autograd"]:
        seen, maps = GradCAM(model, form=form, relu=False).forward(pictures, targets, create_graph=True)
        assert torch.allclose(seen, logits, rtol=1e-9, atol=1e-12)
        assert torch.allclose(maps, expected, rtol=1e-6, atol=1e-9 * float(expected.abs().max()))
    explained = GradCAM(model, relu=False).explain(pictures, targets).double()
    assert torch.allclose(explained, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def by_hand(family: str, features: Tensor, gradient: Tensor) -> Tensor:
    """Grad-CAM without its ReLU, from what the layer gave."""
    if family == "vit":  # the class token is no cell
        alpha = gradient[:, 1:].mean(dim=1, keepdim=True)
        return (features[:, 1:] * alpha).sum(dim=2).reshape(2, 4, 4)
    return (features * gradient.mean(dim=(2, 3), keepdim=True)).sum(dim=1)


def hooked(model: nn.Module, layer: str, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """What the layer gives, as it gives it, and the class scores that came of it."""
    found: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        found.append(output)
        return output.clone()

    handle = model.get_submodule(layer).register_forward_hook(keep)
    logits = model(pictures)
    handle.remove()
    return found[0], logits


@pytest.mark.parametrize("layer", ["features", "features.1.0", "features.0.0", "norm", "features.1.0.attn"])
def test_inside_swin_cells_come_channels_first(layer: str) -> None:
    torch.manual_seed(0)
    model = tiny_swin(1).double().eval()
    given, logits = hooked(model, layer, images(2, 32))
    with capture(model, layer) as captured:
        assert torch.equal(model(images(2, 32)), logits)
    wanted = given if layer == "features.0.0" else given.permute(0, 3, 1, 2)
    assert torch.equal(captured.output, wanted)
    assert GradCAM(model, layer).explain(images(2, 32), 1).shape == wanted.shape[:1] + wanted.shape[2:]


def test_inside_convnext_a_norm_and_a_linear_layer_act_on_the_last_axis() -> None:
    model = tiny_convnext().double().eval()
    for layer, channels in (("features.1.0.block.2", 8), ("features.1.0.block.3", 32), ("features.1", 8)):
        assert capture_of(model, layer, images(2, 32)).shape == (2, channels, 8, 8)


def capture_of(model: nn.Module, layer: str, pictures: Tensor, **options: Any) -> Tensor:
    with capture(model, layer, **options) as captured:
        model(pictures)
    return captured.output


class Laid(nn.Module):
    """Four channels on 4 × 4 cells, laid out in one way by `features` and read by a head with a bend."""

    def __init__(self, layout: str, extra: int = 0) -> None:
        super().__init__()
        self.layout, self.extra = layout, extra
        self.stem = nn.Conv2d(3, 4, 5, stride=5)
        self.features = nn.Identity()
        self.fc = nn.Linear(4, 4)

    def forward(self, pictures: Tensor) -> Tensor:
        cells = self.stem(pictures)
        if self.layout == "channels_first":
            cells = self.features(cells)
        elif self.layout == "channels_last":
            cells = self.features(cells.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        else:
            tokens = F.pad(cells.flatten(2).transpose(1, 2), (0, 0, self.extra, 0))
            cells = self.features(tokens)[:, self.extra :].transpose(1, 2).unflatten(2, (4, 4))
        return self.fc(cells.square().mean((2, 3)))


@pytest.mark.parametrize(("layout", "extra"), [("channels_last", 0), ("tokens", 0), ("tokens", 1)])
def test_a_layout_by_name_gives_the_same_maps(layout: str, extra: int) -> None:
    torch.manual_seed(2)
    plain = Laid("channels_first").double().eval()
    other = Laid(layout, extra).double().eval()
    other.load_state_dict(plain.state_dict())
    for method in (GradCAM, LayerCAM):
        expected = method(plain, "features").explain(images(), 1)
        assert torch.allclose(method(other, "features", layout=layout).explain(images(), 1), expected)
    with pytest.raises(ValueError, match="one of auto, channels_first, channels_last, tokens, not “rows”"):
        GradCAM(plain, "features", layout="rows")  # type: ignore[arg-type]


def test_what_cannot_be_laid_out_is_refused_in_a_sentence() -> None:
    tokens = Laid("tokens", 2).eval().double()
    with pytest.raises(ValueError, match="18 tokens; a map needs a square number of them"):
        capture_of(tokens, "features", images(), layout="tokens")
    with pytest.raises(ValueError, match=r"shape \(3, 18, 4\); a map needs \(B, C, h, w\), or layout “tokens”"):
        capture_of(tokens, "features", images())
    with pytest.raises(ValueError, match=r"needs \(B, tokens, C\)"):
        capture_of(Laid("channels_first").double(), "features", images(), layout="tokens")


def test_the_class_token_keeps_its_gradient_while_training() -> None:
    torch.manual_seed(0)
    model = TINY["vit"][0]()
    model.heads.head.weight.data.normal_()
    logits, maps = GradCAM(model, relu=False).forward(images(2, 32, torch.float32), 1, create_graph=True)
    (logits.sum() + maps.sum()).backward()
    assert model.class_token.grad.abs().sum() > 0
    assert model.conv_proj.weight.grad.abs().sum() > 0
