"""Which layers a map can be taken from: by hand on toy nets, by torchvision's own tracer on real ones."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import Tensor, nn

from mlcore.attribution.attention_layers import attention_layers
from mlcore.attribution.inspect_layers import Layer, suggested_layers, usable_layers
from mlcore.attribution.layers import capture, default_layer
from mlcore.attribution.tame import TAMEAttention
from mlcore.training.classifiers import build
from mlcore.training.vision import torchvision

feature_extraction = importlib.import_module(f"{torchvision.__name__}.models.feature_extraction")

# One of each family that is laid out in its own way; all of them are looked at in a few seconds on the meta device.
FAMILIES = (
    "sixconv", "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "maxvit_t",
    "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "resnet18", "resnet18_max_pool", "resnet50",
    "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg16", "vgg11_bn", "vit_b_16",
)  # fmt: skip


class Toy(nn.Module):
    """A convolution, a ReLU that is used twice, a pool to one cell, and an unused layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.again = nn.ReLU(inplace=True)
        self.body = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6))
        self.unused = nn.Conv2d(3, 3, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(6, 5)

    def forward(self, images: Tensor) -> Tensor:
        features = self.again(self.body(self.again(self.first(images))))
        return self.head(self.pool(features).flatten(1))


def empty(architecture: str) -> nn.Module:
    try:
        with torch.device("meta"):
            return build(architecture, 7)
    except NotImplementedError:  # RegNet counts with tensors while it is built
        return build(architecture, 7).to("meta")


def test_a_toy_by_hand() -> None:
    model = Toy().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = usable_layers(model, 32)
    assert found == [
        Layer("first", "Conv2d", 4, 16, 16),
        Layer("body.0", "Conv2d", 6, 8, 8),
        Layer("body.1", "BatchNorm2d", 6, 8, 8),
        Layer("body", "Sequential", 6, 8, 8),
    ]
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_cannot_read_the_picture_says_so_and_keeps_no_hook() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 6 * 6, 3))
    with pytest.raises(ValueError, match="cannot read a picture of 32×32 px"):
        usable_layers(model, 32)
    assert not any(module._forward_hooks for module in model.modules())
    assert [layer.name for layer in usable_layers(model, 8)] == ["0"]


@pytest.mark.parametrize("architecture", ["resnet18", "squeezenet1_1", "vgg11_bn", "mobilenet_v2"])
def test_the_same_layers_as_torchvisions_tracer(architecture: str) -> None:
    """Of the modules that it does not look into, ours are exactly those called once that give several cells."""
    model = build(architecture, 7).eval()
    _, nodes = feature_extraction.get_graph_node_names(model)
    modules = dict(model.named_modules())
    twice = {node.rpartition("_")[0] for node in nodes if node.rpartition("_")[0] in modules and node not in modules}
    once = [node for node in nodes if node in modules and node not in twice]
    extractor = feature_extraction.create_feature_extractor(model, once)
    with torch.no_grad():
        given = extractor(torch.zeros(1, 3, 96, 96))
    expected = {name: tuple(out.shape[1:]) for name, out in given.items() if out.dim() == 4 and out.shape[2] > 1}
    found = {
        layer.name: (layer.channels, layer.height, layer.width)
        for layer in usable_layers(model, 96)
        if layer.name in nodes
    }
    assert found == expected
    assert list(found) == list(expected)  # in the order of the forward pass


@pytest.mark.parametrize("architecture", FAMILIES)
def test_every_family_has_layers_to_start_with(architecture: str) -> None:
    model = empty(architecture)
    layers = usable_layers(model)
    suggested = suggested_layers(model, layers)
    shapes = {layer.name: layer.height for layer in layers}
    assert suggested["grad_cam"] == (default_layer(model),)
    assert len(suggested["tame"]) == 3
    sides = [shapes[name] for name in suggested["tame"]]
    assert sides == sorted(sides, reverse=True)  # the finest first
    assert sides[-1] == shapes[suggested["grad_cam"][0]]
    try:
        published = attention_layers(model)
    except ValueError:
        assert architecture == "vit_b_16" or len(set(sides)) == 3
    else:
        assert suggested["tame"] == published


@pytest.mark.parametrize("architecture", ["vit_b_32", "swin_t", "alexnet", "mobilenet_v2"])
def test_what_is_listed_can_be_read_and_trained_on(architecture: str) -> None:
    """The channels that are told are those that `capture` gives, and an attention module can be made of them."""
    model = build(architecture, 5).eval()
    layers = usable_layers(model)
    picture = torch.rand(1, 3, 224, 224)
    for layer in layers[:: max(len(layers) // 12, 1)]:
        with torch.no_grad(), capture(model, layer.name) as captured:
            model(picture)
        assert tuple(captured.output.shape) == (1, layer.channels, layer.height, layer.width), layer.name
    chosen = suggested_layers(model, layers)["tame"]
    by_name = {layer.name: layer.channels for layer in layers}
    made = TAMEAttention.for_model(model, chosen)
    assert made.channels == tuple(by_name[name] for name in chosen)


def test_meta_and_real_weights_list_the_same() -> None:
    assert usable_layers(empty("squeezenet1_1")) == usable_layers(build("squeezenet1_1", 7))
