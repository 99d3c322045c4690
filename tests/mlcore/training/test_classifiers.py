"""Classifiers by name, their heads and their weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from mlcore.catalogue.architectures import ARCHITECTURES
from mlcore.training.classifiers import architectures, build, head_of, num_parameters
from mlcore.training.padding import SamePadConv2d, use_tensorflow_padding
from mlcore.training.weights import load_weights, save_weights


def test_the_catalogue_lists_exactly_what_can_be_built() -> None:
    assert sorted(ARCHITECTURES) == architectures()


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if not name.startswith("regnet")])
def test_every_architecture_builds_and_its_head_has_the_classes(name: str) -> None:
    with torch.device("meta"):
        model = build(name, 7)
    assert head_of(model)[1].weight.shape[0] == 7


@pytest.mark.parametrize("name", ["regnet_x_400mf", "regnet_y_400mf"])
def test_regnets_build(name: str) -> None:
    # They read numbers from tensors while they are built, so the meta device is not for them.
    assert head_of(build(name, 7))[1].weight.shape[0] == 7


def test_sixconv_gives_a_12_by_12_map_at_96_pixels() -> None:
    model = build("sixconv", 4).eval()
    features = model.features(torch.zeros(2, 3, 96, 96))
    assert features.shape == (2, 96, 12, 12)
    assert sum(isinstance(module, torch.nn.Conv2d) for module in model.modules()) == 6
    assert model(torch.zeros(2, 3, 96, 96)).shape == (2, 4)


def test_a_global_max_pool_takes_the_largest_of_each_channel_and_the_same_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = build("resnet18", 3).eval()
    save_weights(plain, tmp_path / "weights.safetensors")
    pooled = build("resnet18_max_pool", 3, weights=tmp_path / "weights.safetensors").eval()
    pictures = torch.randn(2, 3, 64, 64)
    features: list[torch.Tensor] = []
    plain.layer4.register_forward_hook(lambda _module, _inputs, output: features.append(output))
    with torch.no_grad():
        averaged = plain(pictures)
        assert torch.allclose(pooled(pictures), plain.fc(features[0].flatten(2).max(dim=2).values), atol=1e-6)
        assert not torch.allclose(pooled(pictures), averaged)


def test_num_parameters_counts_what_training_changes() -> None:
    model = build("sixconv", 4)
    whole = num_parameters(model)
    head = model.classifier
    head.weight.requires_grad_(False)
    assert whole - num_parameters(model) == 4 * 96


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt", ".pth"])
def test_weights_round_trip(tmp_path: Path, suffix: str) -> None:
    model = build("sixconv", 4).to(memory_format=torch.channels_last)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_weights(model, path)
    elif suffix == ".npz":
        np.savez(path, **{name: value.numpy() for name, value in model.state_dict().items()})
    else:
        wrapped = {"state_dict": {f"module.{name}": value for name, value in model.state_dict().items()}}
        torch.save(wrapped, path)
    other = build("sixconv", 4, weights=path)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_half_precision_arrays_become_float32(tmp_path: Path) -> None:
    np.savez(tmp_path / "half.npz", weight=np.array([0.5, 0.25], dtype=np.float16), count=np.array([3]))
    state = load_weights(tmp_path / "half.npz")
    assert state["weight"].dtype == torch.float32
    assert state["weight"].tolist() == [0.5, 0.25]
    assert state["count"].dtype == torch.int64


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path, ("/nowhere",)


def test_a_pickle_that_runs_code_is_refused_by_name(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2), "extra": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(ValueError, match=r"trap\.pt: refused"):
        load_weights(tmp_path / "trap.pt")


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.npz", "broken.pt"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"this is no weights file, whatever its name says")
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        load_weights(tmp_path / name)


def test_an_unknown_suffix_and_an_absent_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ending in"):
        load_weights(tmp_path / "weights.pkl")
    with pytest.raises(ValueError, match="does not exist"):
        load_weights(tmp_path / "weights.npz")


def test_weights_of_another_classifier_are_refused(tmp_path: Path) -> None:
    path = save_weights(build("sixconv", 4), tmp_path / "six.safetensors")
    with pytest.raises(ValueError, match="do not fit squeezenet1_1"):
        build("squeezenet1_1", 4, weights=path)


@pytest.mark.parametrize("name", ["sixconv", "squeezenet1_1", "mobilenet_v2"])
def test_the_head_is_replaced_only_when_asked_and_the_body_kept(tmp_path: Path, name: str) -> None:
    original = build(name, 5)
    path = save_weights(original, tmp_path / "five.safetensors")
    with pytest.raises(ValueError, match="for 5 classes, the run has 3"):
        build(name, 3, weights=path)
    model = build(name, 3, weights=path, replace_head=True).eval()
    head, module = head_of(model)
    assert module.weight.shape[0] == 3
    body = {key: value for key, value in original.state_dict().items() if not key.startswith(f"{head}.")}
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in body.items())
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_a_head_that_fits_is_loaded_even_when_it_might_be_replaced(tmp_path: Path) -> None:
    original = build("sixconv", 5)
    path = save_weights(original, tmp_path / "five.safetensors")
    model = build("sixconv", 5, weights=path, replace_head=True)
    assert torch.equal(model.classifier.weight, original.classifier.weight)


def test_tensorflow_padding_pads_right_and_bottom_at_even_sizes() -> None:
    model = build("mobilenet_v2", 4, padding="tensorflow")
    replaced = [module for module in model.modules() if isinstance(module, SamePadConv2d)]
    assert len(replaced) == 5
    convolution = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
    holder = torch.nn.Sequential(convolution)
    assert use_tensorflow_padding(holder) == 1
    images = torch.randn(2, 3, 10, 10)
    expected = functional.conv2d(functional.pad(images, (0, 1, 0, 1)), convolution.weight, convolution.bias, stride=2)
    assert torch.equal(holder(images), expected)
    # At odd sizes the two libraries agree.
    odd = torch.randn(2, 3, 11, 11)
    assert torch.allclose(holder(odd), convolution(odd), atol=1e-6)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="no classifier named"):
        build("resnet19", 4)
    with pytest.raises(ValueError, match="at least two classes"):
        build("sixconv", 1)
    with pytest.raises(ValueError, match="Padding"):
        build("sixconv", 4, padding="same")


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2"])
def test_published_weights_load_strictly(test_data: Path, name: str) -> None:
    path = test_data / "weights" / f"{name}_imagenet.npz"
    model = build(name, 1000, weights=path)
    stored = load_weights(path)
    state = model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in stored.items())
