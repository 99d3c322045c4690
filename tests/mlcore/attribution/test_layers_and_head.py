"""Finding the last spatial layer, and recognising heads that need no backward pass."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.grad_cam import GradCAM
from mlcore.attribution.head import closed_form_head
from mlcore.attribution.layers import default_layer, find_layer, unwrap
from mlcore.training.classifiers import build
from tests.mlcore.attribution.nets import PoolLinear, images, trunk


class Odd(nn.Module):
    """A head to be recognised or not; what happens between features and scores is given."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.features = trunk()
        self.fc = nn.Linear(6, 4)

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.features(pictures)
        match self.kind:
            case "relu twice":
                return self.fc(F.relu(F.relu(features).mean((2, 3))))
            case "maximum":
                return self.fc(F.adaptive_max_pool2d(features, 1).flatten(1))
            case "two ways":
                return self.fc(features.mean((2, 3)) + features.amax((2, 3)))
            case "scaled":
                return self.fc(features.mean((2, 3))) * 2
            case "rows only":
                return self.fc(features.mean(2).mean(2))
            case "batch mean":
                return self.fc(features.mean((0, 2))).mean(0, keepdim=True).expand(len(pictures), 4)
            case "branches on data":
                return self.fc(features.mean((2, 3))) if features.sum() > 0 else self.fc(-features.mean((2, 3)))
            case _:
                return self.fc(features.mean((-2, -1)))


@pytest.mark.parametrize("kind", ["relu twice", "maximum", "two ways", "scaled", "rows only", "batch mean"])
def test_other_heads_are_not_taken_for_closed_forms(kind: str) -> None:
    assert closed_form_head(Odd(kind), "features") is None
    assert closed_form_head(Odd("plain"), "features") is not None


def test_a_network_that_cannot_be_followed_is_differentiated() -> None:
    model = Odd("branches on data").eval()
    assert closed_form_head(model, "features") is None
    maps = GradCAM(model, relu=False).explain(images(dtype=torch.float32), 1)
    assert torch.isfinite(maps).all()
    assert maps.abs().max() > 0


def test_what_cannot_be_followed_before_the_layer_does_not_matter() -> None:
    class Padded(nn.Module):
        def forward(self, pictures: Tensor) -> Tensor:
            return F.pad(pictures, (0, 1)) if pictures.sum() > 0 else pictures

    model = PoolLinear()
    model.features.insert(0, Padded())
    assert closed_form_head(model, "features") is not None


def test_layer_names_and_wrappers() -> None:
    model = build("resnet18", 3)
    assert find_layer(model, "layer4[1].conv2") is model.layer4[1].conv2
    wrapped = nn.DataParallel(model)
    assert unwrap(wrapped) is model
    assert default_layer(wrapped) == "layer4"
    assert closed_form_head(wrapped, "layer4") is not None


def test_unknown_networks_get_their_last_wide_convolution_or_a_sentence() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 2, 1))
    assert default_layer(model) == "2"
    with pytest.raises(ValueError, match="no convolution to explain"):
        default_layer(nn.Sequential(nn.Linear(2, 2)))
