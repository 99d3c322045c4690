"""Which layer is compared, and what it says of a picture."""

import pytest
import torch
from torch import nn

from mlcore.catalogue.architectures import ARCHITECTURES, FAMILIES
from mlcore.catalogue.gallery_size import last_layer_of, shape_of, size_of
from mlcore.correspondence.features import describe, describe_layers, last_spatial_layer, pool
from mlcore.training.classifiers import build, head_of

# Widths of RegNet are computed with tensors, which those without values cannot give; these are built for real.
WITH_VALUES = FAMILIES["RegNet"]


def pictures(count: int = 2, size: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name not in WITH_VALUES])
def test_forms_name_the_layer_that_the_classifier_has(architecture):
    with torch.device("meta"):
        model = build(architecture, 2)
    assert last_spatial_layer(model) == last_layer_of(architecture)


@pytest.mark.parametrize("architecture", ["regnet_x_400mf", "regnet_y_400mf"])
def test_forms_name_the_layer_of_a_regnet(architecture):
    assert last_spatial_layer(build(architecture, 2)) == last_layer_of(architecture) == last_layer_of("regnet_y_128gf")


def test_an_unknown_architecture_has_no_layer_by_itself():
    with pytest.raises(ValueError, match="“perceptron” is not known: name the layer"):
        last_layer_of("perceptron")


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        ("mobilenet_v2", (1280, 2, 2)),
        ("squeezenet1_1", (512, 3, 3)),
        ("resnet18", (512, 2, 2)),
        ("swin_t", (768, 2, 2)),
    ],
)
def test_the_last_layers_have_cells(architecture, shape):
    model = build(architecture, 4)
    cells = describe(model, last_spatial_layer(model), pictures())
    assert cells.shape == (2, *shape)
    assert cells.dtype == torch.float32
    assert not cells.requires_grad


def test_tokens_of_a_transformer_are_cells_without_the_class_token():
    model = build("vit_b_32", 3).eval()
    seen: list[torch.Tensor] = []
    model.encoder.ln.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    cells = describe(model, last_spatial_layer(model), pictures(1, 224))
    assert cells.shape == (1, 768, 7, 7)
    assert torch.equal(cells[0, :, 1, 2], seen[0][0, 1 + 7 + 2])


@pytest.mark.parametrize("architecture", ["mobilenet_v2", "resnet18", "googlenet"])
def test_pooled_features_are_what_the_head_is_given(architecture):
    model = build(architecture, 5).eval()
    given: list[torch.Tensor] = []
    head_of(model)[1].register_forward_pre_hook(lambda module, inputs: given.append(inputs[0].detach()))
    images = pictures()
    with torch.no_grad():
        model(images)
    torch.testing.assert_close(pool(describe(model, last_spatial_layer(model), images)), given[0])


def test_pooling_is_the_mean_of_the_cells():
    cells = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert pool(cells).tolist() == [[5.5, 17.5]]


def test_the_model_is_left_as_it_was_and_nothing_behind_the_layer_is_computed():
    model = build("resnet18", 3).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calls: list[int] = []
    model.fc.register_forward_hook(lambda module, inputs, output: calls.append(1))
    one, two = describe(model, "layer4", pictures()), describe(model, "layer4", pictures())
    assert torch.equal(one, two)
    assert calls == []
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_several_layers_in_one_pass():
    model = build("resnet18", 3)
    images = pictures()
    last, middle, again = describe_layers(model, ["layer4", "layer3", "layer4"], images)
    assert torch.equal(last, describe(model, "layer4", images))
    assert torch.equal(middle, describe(model, "layer3", images))
    assert torch.equal(again, last)
    (alone,) = describe_layers(model, ["layer4"], images)
    assert torch.equal(alone, last)


def test_what_has_no_cells_is_refused():
    model = build("resnet18", 3)
    with pytest.raises(ValueError, match="There is no layer “layer9”"):
        describe(model, "layer9", pictures())
    with pytest.raises(ValueError, match="a map needs"):
        describe(model, "fc", pictures())
    with pytest.raises(ValueError, match="no convolution"):
        last_spatial_layer(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))


def test_the_size_follows_from_the_listed_layers():
    layers = [
        {"name": "layer3", "channels": 256, "height": 14, "width": 14},
        {"name": "layer4", "channels": 512, "height": 7, "width": 7},
    ]
    assert shape_of(layers, "layer4") == (512, 7, 7)
    assert shape_of(layers, "fc") is None
    # 49 cells and their mean, two bytes each.
    assert size_of(1000, 512, 7, 7) == 1000 * (2 * 512 * 50 + 120)
