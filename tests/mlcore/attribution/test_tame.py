"""TAME: the label's map alone, four variants, files, and what is refused (definitions §4)."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.attention_layers import attention_layers, capture_all
from mlcore.attribution.tame import TAME, VARIANTS, TAMEAttention
from mlcore.training.classifiers import build
from tests.mlcore.attribution.nets import images

TARGETS = torch.tensor([0, 3, 1])


class Stages(nn.Module):
    """Three layers of different sizes and channels, as a ResNet has them."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.second = nn.Sequential(nn.Conv2d(4, 5, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        self.third = nn.Sequential(nn.Conv2d(5, 6, 3, padding=1), nn.ReLU())
        self.fc = nn.Linear(6, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.fc(self.third(self.second(self.first(pictures))).mean((2, 3)))


LAYERS = ("first", "second", "third")


def pair(variant: str = "default") -> tuple[Stages, TAMEAttention]:
    torch.manual_seed(2)
    model = Stages().eval()
    attention = TAMEAttention(LAYERS, (4, 5, 6), 4, variant=variant).eval()
    for module in attention.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 2.0)
    return model, attention


def features_of(model: nn.Module, pictures: Tensor) -> list[Tensor]:
    with torch.no_grad(), capture_all(model, LAYERS) as captured:
        model(pictures)
    return [layer.output for layer in captured]


def by_the_definition(attention: TAMEAttention, features: list[Tensor], variant: str) -> Tensor:
    """c of every class, step by step as definitions §4 says it."""
    side = min(56, max(features[0].shape[-2:]))
    parts = []
    for branch, feature in zip(attention.branches, features, strict=True):
        seen = F.conv2d(feature, branch.conv.weight, branch.conv.bias)
        if variant != "no_skip_no_norm":
            norm = branch.norm
            shape = (1, -1, 1, 1)
            seen = (seen - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + norm.eps).sqrt()
            seen = seen * norm.weight.view(shape) + norm.bias.view(shape)
        if variant in ("default", "sigmoid"):
            seen = seen + feature
        seen = torch.sigmoid(seen) if variant == "sigmoid" else seen.clamp(min=0)
        parts.append(F.interpolate(seen, (side, side), mode="bilinear", align_corners=False))
    return F.conv2d(torch.cat(parts, dim=1), attention.fuse.weight, attention.fuse.bias)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_labels_map_alone_is_the_one_among_all_classes(variant: str) -> None:
    model, attention = pair(variant)
    pictures = images(dtype=torch.float32)
    features = features_of(model, pictures)
    with torch.no_grad():
        expected = by_the_definition(attention, features, variant)
        every = attention(features)
        alone = attention(features, TARGETS)
    assert every.shape == (3, 4, 10, 10)
    torch.testing.assert_close(every, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(alone, expected[torch.arange(3), TARGETS], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        TAME(model, attention).explain(pictures, TARGETS), torch.sigmoid(alone), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(TAME(model, attention, scores=True).explain(pictures, TARGETS), alone, atol=1e-5, rtol=0)


def test_the_variants_have_the_published_shapes() -> None:
    shapes = {
        variant: [tuple(branch.conv.weight.shape[:2]) for branch in pair(variant)[1].branches] for variant in VARIANTS
    }
    full = [(4, 4), (5, 5), (6, 6)]
    assert shapes == {
        "default": full, "no_skip": [(4, 4), (4, 5), (4, 6)], "no_skip_no_norm": full, "sigmoid": full,
    }  # fmt: skip
    assert tuple(pair("no_skip")[1].fuse.weight.shape) == (4, 12, 1, 1)
    assert tuple(pair("default")[1].fuse.weight.shape) == (4, 15, 1, 1)
    assert not [m for m in pair("no_skip_no_norm")[1].modules() if isinstance(m, nn.BatchNorm2d)]


def test_the_map_is_square_and_at_most_56_cells() -> None:
    model, attention = pair()
    assert TAME(model, attention).explain(torch.zeros(1, 3, 20, 36), 0).shape == (1, 18, 18)
    assert TAME(model, attention).explain(torch.zeros(1, 3, 128, 128), 0).shape == (1, 56, 56)


def test_training_reaches_the_attention_and_leaves_the_frozen_classifier_alone() -> None:
    model, attention = pair()
    model.requires_grad_(False)
    attention.train()
    logits, maps = TAME(model, attention).forward(images(dtype=torch.float32), TARGETS, create_graph=True)
    assert not logits.requires_grad
    maps.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in attention.parameters())
    assert all(p.grad is None for p in model.parameters())
    assert attention.branches[0].norm.num_batches_tracked == 1
    assert not TAME(model, attention).forward(images(dtype=torch.float32), TARGETS, create_graph=False)[1].requires_grad


def test_the_gradient_by_the_attention_is_right() -> None:
    model, attention = pair()
    model.double().requires_grad_(False)
    attention.double()
    names = list(dict(attention.named_parameters()))

    def maps(*values: Tensor) -> Tensor:
        features = features_of(model, images(2))
        return torch.func.functional_call(
            attention, dict(zip(names, values, strict=True)), (features, TARGETS[:2])
        )  # fmt: skip

    values = tuple(parameter.detach().clone().requires_grad_() for parameter in attention.parameters())
    assert torch.autograd.gradcheck(maps, values, fast_mode=True)


def test_explaining_leaves_the_attention_as_it_was() -> None:
    model, attention = pair()
    attention.train()
    attention.branches[1].eval()
    before = {name: value.clone() for name, value in attention.state_dict().items()}
    TAME(model, attention).explain(images(dtype=torch.float32), TARGETS)
    assert attention.training
    assert not attention.branches[1].training
    assert all(torch.equal(value, before[name]) for name, value in attention.state_dict().items())
    assert all(parameter.grad is None for parameter in attention.parameters())


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_saved_attention_comes_back(tmp_path: Path, variant: str) -> None:
    model, attention = pair(variant)
    path = attention.save(tmp_path / "attention.safetensors")
    pictures = images(dtype=torch.float32)
    again = TAME(model, path)
    assert (again.attention.variant, again.attention.layers, again.attention.classes) == (variant, LAYERS, 4)
    assert torch.equal(again.explain(pictures, TARGETS), TAME(model, attention).explain(pictures, TARGETS))
    assert [file.name for file in tmp_path.iterdir()] == ["attention.safetensors"]


def test_files_that_are_no_attention_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model, attention = pair()
    with pytest.raises(ValueError, match="does not exist"):
        TAME(model, tmp_path / "none.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match=r"damaged\.safetensors: the file is damaged"):
        TAME(model, tmp_path / "damaged.safetensors")
    save_file({"x": torch.zeros(2)}, tmp_path / "plain.safetensors")
    with pytest.raises(ValueError, match="says nothing of an attention module"):
        TAME(model, tmp_path / "plain.safetensors")
    from safetensors import safe_open

    path = attention.save(tmp_path / "attention.safetensors")
    with safe_open(path, "pt") as file:
        said = dict(file.metadata())
    save_file({"fuse.weight": torch.zeros(4, 15, 1, 1)}, tmp_path / "half.safetensors", metadata=said)
    with pytest.raises(ValueError, match="weights do not fit what the file says of itself"):
        TAME(model, tmp_path / "half.safetensors")
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors", metadata=said | {"kind": "l_cam"})
    with pytest.raises(ValueError, match="an attention of “l_cam”, not of “tame”"):
        TAME(model, tmp_path / "other.safetensors")
    save_file({"x": torch.zeros(2)}, tmp_path / "odd.safetensors", metadata=said | {"channels": "many"})
    with pytest.raises(ValueError, match="what the file says of itself cannot be read"):
        TAME(model, tmp_path / "odd.safetensors")


def test_an_attention_of_another_classifier_is_refused() -> None:
    model, attention = pair()
    with pytest.raises(ValueError, match="There is no layer “layer4”"):
        TAME(model, TAMEAttention(("first", "layer4"), (4, 6), 4))
    with pytest.raises(ValueError, match=r"“second” gives 5 channels.*made for 8"):
        TAME(model, TAMEAttention(("first", "second"), (4, 8), 4)).explain(images(dtype=torch.float32), 0)
    with pytest.raises(ValueError, match=r"classifier has 7 classes.*made for 4"):
        TAME(Stages(7), attention).explain(images(dtype=torch.float32), 0)
    with pytest.raises(ValueError, match="needs a trained attention module"):
        TAME(model, None)
    with pytest.raises(ValueError, match="not a Linear"):
        TAME(model, nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((("first",), (4,), 4), "2 to 4 layers"),
        ((("first", "first"), (4, 4), 4), "more than once"),
        ((("first", "second"), (4,), 4), "as many numbers of channels"),
        ((("first", "second"), (4, 0), 4), "at least one channel"),
    ],
)
def test_an_attention_that_cannot_be_is_refused(arguments: tuple, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TAMEAttention(*arguments)
    with pytest.raises(ValueError, match="has the variants default, no_skip"):
        TAMEAttention(("a", "b"), (1, 1), 2, variant="best")


def test_for_model_asks_the_classifier_and_leaves_no_trace() -> None:
    model = Stages().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attention = TAMEAttention.for_model(model, LAYERS, size=20)
    assert (attention.channels, attention.classes) == ((4, 5, 6), 4)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.first._forward_hooks


def test_layers_of_the_published_classifiers_and_of_others() -> None:
    with torch.device("meta"):
        assert attention_layers(build("vgg16", 3)) == ("features.16", "features.23", "features.30")
        assert attention_layers(build("resnet50", 3)) == ("layer2", "layer3", "layer4")
        assert attention_layers(build("squeezenet1_1", 3)) == ("features.5", "features.8", "features.12")
        with pytest.raises(ValueError, match="name 2 to 4 layers"):
            attention_layers(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)))


def test_any_other_classifier_is_read_where_its_resolution_ends() -> None:
    assert TAMEAttention.for_model(build("sixconv", 4)).layers == ("features.5", "features.11", "features")
    with pytest.raises(ValueError, match="name 2 to 4 layers"):
        TAMEAttention.for_model(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)))


def test_scaled_maps_are_c_between_its_least_and_greatest_value() -> None:
    torch.manual_seed(3)
    model, attention = pair()
    with torch.no_grad():
        attention.fuse.bias.fill_(40.0)  # σ is 1 everywhere
    shown, classes = images(3, dtype=torch.float32), torch.tensor([0, 1, 2])
    scores = TAME(model, attention, scores=True).explain(shown, classes)
    least, greatest = scores.amin((1, 2), keepdim=True), scores.amax((1, 2), keepdim=True)
    expected = (scores - least) / (greatest - least)
    torch.testing.assert_close(TAME(model, attention, scaled=True).explain(shown, classes), expected)
    assert float(TAME(model, attention).explain(shown, classes).std()) < 1e-6
