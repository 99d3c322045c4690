"""Focus, worked out by hand (definitions §5)."""

import pytest
import torch
from torch import Tensor

from mlcore.metrics import score
from mlcore.metrics.focus import Focus, mosaics, quarters
from tests.mlcore.metrics.asking import ChannelMeans, own_channel, pictures


def coloured(*channels: int, value: float = 1.0) -> Tensor:
    """Pictures (B, 3, 4, 4), each with one channel that is not 0."""
    images = torch.zeros(len(channels), 3, 4, 4)
    for index, channel in enumerate(channels):
        images[index, channel] = value
    return images


def test_mosaics_and_quarters() -> None:
    images = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 2, 2)
    first, second = mosaics(images)
    assert first[0].tolist() == [[0.0, 2.0], [4.0, 6.0]]
    assert second[0].tolist() == [[1.0, 3.0], [5.0, 7.0]]
    assert quarters(first).tolist() == [[0.0, 2.0, 4.0, 6.0]]


def test_the_quadrant_is_of_the_image_that_shows_the_mosaics_class_best() -> None:
    images = coloured(0, 1, 2, 2)
    images[3] *= 3  # class 2 wins on the mosaic; image 3 shows it best
    metric = Focus(ChannelMeans(), own_channel)
    metric.update(images, list("abcd"))
    assert metric.per_image == {name: pytest.approx(3 / 4) for name in "abcd"}
    assert metric.compute()["mosaics"] == 1
    assert metric.compute()["low"] is None  # one mosaic is one sample


def test_what_is_over_waits_and_is_left_out_at_the_end() -> None:
    images = coloured(0, 1, 2, 2, 0, 1)
    metric = Focus(ChannelMeans(), own_channel)
    metric.update(images[:3], list("abc"))
    assert metric.per_image == {}
    metric.update(images[3:], list("def"))
    together = Focus(ChannelMeans(), own_channel)
    together.update(images, list("abcdef"))
    assert metric.per_image == together.per_image
    assert set(metric.per_image) == set("abcd")
    assert metric.compute()["left_out"] == {"not four images for a mosaic": 2}
    metric.update(coloured(0, 0), list("gh"))
    result = metric.compute()
    assert result["left_out"] == {}
    assert result["n"] == 8
    assert result["mosaics"] == 2
    metric.reset()
    assert metric.compute()["n"] == 0
    assert not metric.waiting


def test_maps_and_images_that_cannot_be_measured_are_named() -> None:
    for heat, reason in ((0.0, "zero map"), (-1.0, "zero map"), (2.0, "constant map"), (torch.nan, "non-finite map")):
        metric = Focus(ChannelMeans(), lambda images, _, heat=heat: torch.full((len(images), 2, 2), heat))
        metric.update(pictures(4, 6), list("abcd"))
        assert metric.left_out == {reason: list("abcd")}
        assert metric.compute()["mosaics"] == 0
    images = pictures(5, 6)
    images[2] = float("nan")
    metric = Focus(ChannelMeans(), own_channel)
    metric.update(images, list("abcde"))
    assert metric.left_out == {"non-finite image": ["c"]}
    assert set(metric.per_image) == set("abde")


def test_sizes_and_shapes_are_checked() -> None:
    metric = Focus(ChannelMeans(), own_channel)
    metric.update(pictures(1, 6), ["a"])
    with pytest.raises(ValueError, match="one size"):
        metric.update(pictures(1, 8), ["b"])
    with pytest.raises(ValueError, match="Images come as"):
        metric.update(torch.zeros(1, 3), ["b"])


def test_it_is_scored_by_name() -> None:
    result = score("focus", images=coloured(0, 1, 2, 2), names=list("abcd"), model=ChannelMeans(), explain=own_channel)
    assert result["n"] == 4
    assert result["value"] == pytest.approx(1 / 2)
