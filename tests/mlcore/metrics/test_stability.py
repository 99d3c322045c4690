"""Input stability and relative input stability, worked out by hand (definitions §5)."""

import pytest
import torch
from torch import Tensor

from mlcore.metrics.perturbation import content_seed
from mlcore.metrics.stability import InputStability, RelativeInputStability, _Stability
from tests.mlcore.metrics.asking import ChannelMeans, own_channel, pictures


def copies_of(metric: _Stability, image: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(content_seed(image, metric.seed, metric.purpose))
    return image + metric.draw(metric.copies, image.shape, generator)


def test_input_stability_by_its_formula() -> None:
    image = pictures(1, 6)[0]
    metric = InputStability(ChannelMeans(), own_channel, copies=4, internal_batch_size=3)
    metric.update(image[:1], image[None], torch.tensor([0]), ["a"])
    x = image.double()
    r = x[0].clamp(min=0) / x[0].max()
    changes = []
    for copy in copies_of(metric, image).double():
        noisy = copy[0].clamp(min=0) / copy[0].max()
        change = ((noisy - r) / (r + 1e-9)).abs().sum()
        changes.append(float(change / (((copy - x) / (x + 1e-9)).abs().sum() + 1e-9)))
    assert metric.per_image["a"] == pytest.approx(max(changes), rel=1e-3)


def test_relative_input_stability_by_its_formula() -> None:
    image = pictures(1, 6)[0].abs() + 0.1
    image[1, 2, 2] = 0
    metric = RelativeInputStability(ChannelMeans(), own_channel, copies=5, internal_batch_size=2)
    metric.update(image[:1], image[None], torch.tensor([0]), ["a"])
    x, r = image.double(), image[0].double()
    copies = copies_of(metric, image)
    noise = copies - image
    assert float(noise.min()) + 1e-6 >= 0.02
    assert float(noise.max()) <= 0.2 + 1e-6
    changes = []
    for copy in copies.double():
        below = ((copy - x) / torch.where(x == 0, 1e-6, x)).norm()
        changes.append(float(((copy[0] - r) / torch.where(r == 0, 1e-6, r)).norm() / below))
    assert metric.per_image["a"] == pytest.approx(max(changes), rel=1e-3)


@pytest.mark.parametrize("kind", [InputStability, RelativeInputStability])
def test_a_method_that_never_changes_is_perfectly_stable(kind: type[_Stability]) -> None:
    heat = pictures(1, 6)[0, :1]
    metric = kind(ChannelMeans(), lambda images, _: heat.expand(len(images), -1, -1), copies=3)
    metric.update(heat, pictures(1, 6), torch.tensor([0]), ["a"])
    assert metric.per_image == {"a": 0.0}


@pytest.mark.parametrize("kind", [InputStability, RelativeInputStability])
def test_maps_are_enlarged_and_what_has_no_value_is_named(kind: type[_Stability]) -> None:
    metric = kind(ChannelMeans(), lambda images, targets: own_channel(images, targets)[:, ::3, ::3], copies=2)
    images = pictures(3, 6)
    maps = own_channel(images, torch.tensor([0, 1, 2]))[:, ::3, ::3].contiguous()
    maps[1] = torch.tensor([[-1.0, -2.0], [-1.0, -3.0]])  # nothing is left of it at 0 and above
    metric.update(maps, images, torch.tensor([0, 1, 2]), list("abc"))
    assert metric.left_out == {"zero map": ["b"]}
    assert set(metric.per_image) == {"a", "c"}
    broken = kind(ChannelMeans(), lambda images, _: torch.full((len(images), 2, 2), torch.nan), copies=2)
    broken.update(maps[:1], images[:1], torch.tensor([0]), ["a"])
    assert broken.left_out == {"non-finite map of a noisy copy": ["a"]}


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="1 noisy copy"):
        RelativeInputStability(ChannelMeans(), own_channel, copies=0)
    with pytest.raises(ValueError, match="deviation"):
        InputStability(ChannelMeans(), own_channel, noise=-0.1)
