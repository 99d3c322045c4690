"""Maps that look at no classifier, and are the same for the same picture wherever it stands."""

import math

import pytest
import torch
from torch import Tensor, nn

from mlcore.attribution.baselines import Centre, Random
from tests.mlcore.attribution.nets import PoolLinear, images


class Deaf(nn.Module):
    def forward(self, pictures: Tensor) -> Tensor:
        raise AssertionError("a baseline looks at no classifier")


def test_centre_by_hand() -> None:
    maps = Centre(Deaf(), width=0.5).explain(images(2, 8)[:, :, :2, :4], torch.tensor([0, 1]))
    assert maps.shape == (2, 2, 4)
    # pixel centres lie at ±1/8 and ±3/8 of the width, ±1/4 of the height; 2·0.5² = 0.5
    near, far = math.exp(-(1 / 64 + 1 / 16) / 0.5), math.exp(-(9 / 64 + 1 / 16) / 0.5)
    expected = torch.tensor([[far, near, near, far]] * 2)
    assert torch.allclose(maps, expected.expand(2, 2, 4))
    with pytest.raises(ValueError, match="width is above 0, not 0"):
        Centre(Deaf(), width=0)


def test_noise_belongs_to_the_picture() -> None:
    pictures = images(4, 16, torch.float32)
    maps = Random(Deaf()).explain(pictures, 0)
    assert maps.shape == (4, 16, 16)
    assert maps.min() >= 0
    assert maps.max() < 1
    assert len({heat.numpy().tobytes() for heat in maps}) == 4
    order = torch.tensor([2, 0, 3, 1])
    assert torch.equal(Random(Deaf()).explain(pictures[order], 0), maps[order])
    assert torch.equal(Random(Deaf()).explain(pictures[1:2].to(memory_format=torch.channels_last), 0), maps[1:2])
    assert torch.equal(Random(Deaf()).explain(pictures, 0, internal_batch_size=3), maps)
    assert not torch.equal(Random(Deaf(), seed=1).explain(pictures, 0), maps)


def test_noise_neither_uses_nor_changes_other_chance() -> None:
    torch.manual_seed(1)
    first = Random(Deaf()).explain(images(), 0)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    assert torch.equal(Random(Deaf()).explain(images(), 0), first)


@pytest.mark.parametrize("method", [Centre, Random])
def test_targets_that_ask_the_classifier_are_told(method: type[Centre] | type[Random]) -> None:
    model, asked = PoolLinear().double(), []

    def remember(logits: Tensor) -> Tensor:
        asked.append(logits.shape)
        return logits.argmax(dim=1)

    maps = method(model).explain(images(), remember)
    assert asked == [(3, 4)]
    several = method(model).explain(images(), torch.zeros(3, 2, dtype=torch.long))
    assert torch.equal(several, torch.stack([maps, maps], dim=1))


@pytest.mark.parametrize("method", [Centre, Random])
def test_spoilt_pictures_have_a_map_too(method: type[Centre] | type[Random]) -> None:
    pictures = torch.full((1, 3, 6, 6), float("nan"))
    assert torch.isfinite(method(Deaf()).explain(pictures, 0)).all()
    assert method(Deaf()).explain(pictures[:0], 0).shape == (0, 6, 6)
