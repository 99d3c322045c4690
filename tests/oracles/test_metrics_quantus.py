"""Quantus gives the same numbers where its definitions are ours; every tolerance stands in its test."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlcore.metrics.imputation import impute
from mlcore.metrics.insertion_deletion import Deletion
from mlcore.metrics.irof import IROF
from mlcore.metrics.perturbation import content_seed, ranks
from mlcore.metrics.road import ROAD, SHARES
from mlcore.metrics.stability import RelativeInputStability
from mlcore.training.vision import torchvision  # noqa: F401 -- before a library that imports it by itself

quantus = pytest.importorskip("quantus", reason="The oracles' environment is not this one.")

Array = NDArray[np.float64]
SIZE = 32


class Small(nn.Module):
    """A classifier of four classes with a bend in it."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(channels, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Tanh())
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        return 6 * self.head(self.features(images).mean(dim=(2, 3)))


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Images of mean 0 by channel, so that Quantus' fill is the number 0; maps without ties; classes."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 3, SIZE, SIZE, generator=generator)
    images -= images.mean(dim=(2, 3), keepdim=True)
    return images, torch.rand(3, SIZE, SIZE, generator=generator), torch.tensor([0, 1, 3])


@pytest.fixture(autouse=True)
def _old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantus 0.6 calls numpy's trapezoid by the name that numpy 2.4 took away."""
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)


def blank(arr: Array, mask: Array, **_: object) -> Array:
    return np.where(mask, 0.0, arr)


def test_roads_imputation_to_1e_5(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    from quantus.functions.perturb_func import noisy_linear_imputation

    images, maps, _ = batch
    for share in SHARES:
        removed = ranks(maps) < SIZE * SIZE * share // 100
        ours = impute(images, removed)
        for image, gone, filled in zip(images, removed, ours, strict=True):
            indices = gone.flatten().nonzero()[:, 0].numpy()
            theirs = noisy_linear_imputation(image.double().numpy(), indices, noise=0.0)
            assert float((filled - torch.from_numpy(theirs)).abs().max()) < 1e-5


def test_road_keeps_what_ours_changes(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    """Grey pictures: Quantus takes the ranking of all channels' features for one of pixels."""
    images, maps, targets = batch
    images, model = images[:, :1].contiguous(), Small(1).eval()
    ours = ROAD(model, noise=0.0)
    ours.update(maps, images, targets, list("abc"))
    theirs = quantus.ROAD(
        percentages=list(SHARES), noise=0.0, normalise=False, abs=False, disable_warnings=True,
        display_progressbar=False,
    )  # fmt: skip
    kept = theirs(model, images.numpy(), targets.numpy(), maps[:, None].numpy(), device="cpu")
    # Theirs is the share that keeps the class, over images, for each share of pixels.
    changed = 1 - np.mean([float(value) for value in kept.values()])
    assert ours.compute()["value"] == pytest.approx(changed, abs=1e-6)


def test_deletion_is_pixel_flipping_to_1e_5(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    """Grey pictures: a pixel is one feature there."""
    images, maps, targets = batch
    images, model = images[:, :1].contiguous(), Small(1).eval()
    ours = Deletion(model, steps=8).curve(maps, images, targets)[:, 1:]

    def zero(arr: Array, indices: Array, **_: object) -> Array:
        arr = arr.copy()
        arr[np.arange(len(arr))[:, None], indices] = 0.0
        return arr

    theirs = quantus.PixelFlipping(
        features_in_step=SIZE * SIZE // 8, normalise=False, abs=False, perturb_func=zero, disable_warnings=True,
        display_progressbar=False,
    )  # fmt: skip
    found = theirs(model, images.numpy(), targets.numpy(), maps[:, None].numpy(), device="cpu", softmax=True)
    assert torch.allclose(ours, torch.tensor(np.asarray(found), dtype=torch.float32), atol=1e-5)


def test_irofs_curve_to_1e_4(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    images, maps, targets = batch
    model = Small().eval()
    metric = IROF(model)
    curve = metric.curve(maps, images, targets)
    whole = metric.unaltered(images, targets)
    theirs = quantus.IROF(perturb_func=blank, normalise=False, abs=False, return_aggregate=False,
                          disable_warnings=True, display_progressbar=False)  # fmt: skip
    for index in range(3):
        one = slice(index, index + 1)
        found = theirs(
            model, images[one].numpy(), targets[one].numpy(), maps[one, None].numpy(), device="cpu", softmax=True
        )
        row = curve[index][~curve[index].isnan()] / whole[index]
        assert float(found[0]) == pytest.approx(len(row) - float(torch.trapezoid(row)), rel=1e-4)


def test_relative_input_stability_to_1e_3(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    images, _, targets = batch
    model = Small().eval()
    copies = 6

    def explain(asked: Tensor, classes: Tensor) -> Tensor:
        return asked[torch.arange(len(asked)), classes % 3].abs()

    ours = RelativeInputStability(model, explain, copies=copies)
    ours.update(explain(images, targets), images, targets, list("abc"))
    noise = torch.stack(
        [
            ours.draw(copies, image.shape, torch.Generator().manual_seed(content_seed(image, 0, ours.purpose)))
            for image in images
        ],
        dim=1,
    )
    left = iter(noise.flatten(2).numpy())

    def replay(arr: Array, indices: Array, **_: object) -> Array:
        return arr + next(left)

    def theirs_explain(model: nn.Module, inputs: Array, targets: Array, **_: object) -> Array:
        return explain(torch.as_tensor(inputs), torch.as_tensor(targets))[:, None].double().numpy()

    theirs = quantus.RelativeInputStability(
        nr_samples=copies, perturb_func=replay, normalise=False, abs=False, return_nan_when_prediction_changes=False,
        disable_warnings=True, display_progressbar=False,
    )  # fmt: skip
    found = theirs(model, images.numpy(), targets.numpy(), explain_func=theirs_explain, device="cpu")
    assert [ours.per_image[name] for name in "abc"] == pytest.approx(list(map(float, found)), rel=1e-3)
