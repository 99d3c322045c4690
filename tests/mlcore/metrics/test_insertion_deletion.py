"""Insertion and deletion, worked out by hand (definitions §7)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from mlcore.metrics.insertion_deletion import Deletion, Insertion, blur
from tests.mlcore.metrics.asking import Brightness, pictures

HEAT = torch.tensor([[[4.0, 3.0], [2.0, 1.0]]])
IMAGE = torch.tensor([[[[2.0, 1.0], [-1.0, 3.0]]]])


def test_deletion_by_hand() -> None:
    metric = Deletion(Brightness(torch.ones(1, 2, 2)), steps=4)
    scores = torch.tensor([5.0, 3.0, 2.0, 3.0, 0.0])  # after none, 2, 1, −1 and 3 are gone
    assert torch.allclose(metric.curve(HEAT, IMAGE, torch.tensor([0])), scores.sigmoid()[None])
    metric.update(HEAT, IMAGE, torch.tensor([0]), ["a"])
    curve = scores.sigmoid()
    assert metric.per_image["a"] == pytest.approx(float((curve[:-1] + curve[1:]).sum() / 8))
    two = Deletion(Brightness(torch.ones(1, 2, 2)), steps=2, fill="mean")
    means = torch.tensor([5.0, 1.25 * 2 + 2, 1.25 * 4]).sigmoid()
    assert torch.allclose(two.curve(HEAT, IMAGE, torch.tensor([0])), means[None])


def test_insertion_starts_blurred_and_ends_with_the_image() -> None:
    images = pictures(2, 14)
    model = Brightness(torch.randn(3, 14, 14, generator=torch.Generator().manual_seed(2)) / 20)
    metric = Insertion(model, steps=7)
    curve = metric.curve(torch.rand(2, 14, 14), images, torch.tensor([0, 0]))
    assert curve.shape == (2, 8)
    with torch.no_grad():
        model.eval()
        assert torch.allclose(curve[:, 0], model(blur(images)).softmax(1)[:, 0])
        assert torch.allclose(curve[:, -1], model(images).softmax(1)[:, 0])
    assert model.asked == 2 * 8 + 2 * 2  # every step once


def test_the_blur_is_the_published_one() -> None:
    unit = np.zeros((11, 11))
    unit[5, 5] = 1
    kernel = torch.from_numpy(gaussian_filter(unit, 5)).float().expand(3, 1, 11, 11)
    images = pictures(2, 20)
    assert torch.allclose(blur(images), F.conv2d(images, kernel, padding=5, groups=3), atol=1e-5)


def test_a_good_map_deletes_faster_and_inserts_faster_than_its_opposite() -> None:
    weight = torch.rand(1, 10, 10, generator=torch.Generator().manual_seed(0)) ** 4
    image = torch.ones(1, 1, 10, 10)
    for kind, better in ((Deletion, min), (Insertion, max)):
        metric = kind(Brightness(weight), steps=10)
        for name, heat in (("good", weight), ("bad", -weight)):
            metric.update(heat, image, torch.tensor([0]), [name])
        assert better(metric.per_image, key=metric.per_image.__getitem__) == "good"


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="2 steps"):
        Deletion(Brightness(IMAGE[0]), steps=1)
    with pytest.raises(ValueError, match="filled with"):
        Deletion(Brightness(IMAGE[0]), fill="noise")
