"""What a frozen classifier said is remembered by content: the same numbers, one pass an image, bounded memory."""

import torch
from torch import Tensor, nn

from mlcore.objectives.known_logits import KnownLogits


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(12, 3)
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        return self.layer(images.flatten(1))


def pictures(count: int, start: int = 0) -> Tensor:
    return torch.arange(count * 12, dtype=torch.float32).view(count, 3, 2, 2) + start


def test_each_image_is_asked_once_whatever_stands_beside_it() -> None:
    model, known = Counting(), KnownLogits()
    images = pictures(3)
    first = known(model, images)
    assert torch.allclose(first, model.layer(images.flatten(1)), atol=1e-5)
    again = known(model, images[[2, 0]].contiguous(memory_format=torch.channels_last))
    assert torch.equal(again, first[[2, 0]]), "bit for bit"
    assert model.seen == [1, 1, 1]
    assert torch.equal(KnownLogits()(model, images[1:2]), first[1:2]), "nothing remembered, the same numbers"
    assert not first.requires_grad


def test_other_pixels_and_other_precision_are_other_images() -> None:
    model, known = Counting(), KnownLogits()
    images = pictures(1)
    known(model, images)
    known(model, images + 1e-3)
    assert len(model.seen) == 2
    with torch.autocast("cpu", torch.bfloat16):
        assert known(model, images).dtype == torch.bfloat16
    assert known(model, images).dtype == torch.float32
    assert len(model.seen) == 3


def test_what_was_not_used_for_long_is_forgotten_first() -> None:
    model, known = Counting(), KnownLogits(budget=2 * 3 * 4)
    one, two, three = pictures(1), pictures(1, 100), pictures(1, 200)
    for shown in (one, two, one, three, one, two):
        known(model, shown)
    assert len(model.seen) == 4, "two was forgotten for three, one was not"


def test_no_image_has_no_scores() -> None:
    model = Counting()
    assert KnownLogits()(model, pictures(1)[:0]).shape == (0, 3)
