"""A forward pass written down: what is seen, what runs out of place, what is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.lrp import LRPEpsilonPlus
from mlcore.attribution.tape import Tape
from tests.mlcore.attribution.nets import images


class Own(nn.Module):
    """A classifier made of one function of the pictures and two weights."""

    def __init__(self, how) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.kernel = nn.Parameter(torch.randn(4, 3, 3, 3, generator=generator, dtype=torch.float64))
        self.head = nn.Parameter(torch.randn(2, 4, generator=generator, dtype=torch.float64))
        self.how = how

    def forward(self, pictures: Tensor) -> Tensor:
        return self.how(self, pictures)


def plain(self: Own, pictures: Tensor) -> Tensor:
    return F.linear(F.relu(F.conv2d(pictures, self.kernel) + 0.5).mean((2, 3)), self.head)


def in_place(self: Own, pictures: Tensor) -> Tensor:
    values = F.conv2d(pictures, self.kernel)
    values.add_(0.5)  # its own result is not used
    F.relu(values, inplace=True)
    return F.linear(values.mean((2, 3)), self.head)


def by_methods(self: Own, pictures: Tensor) -> Tensor:
    values = torch.conv2d(pictures, self.kernel)
    values += 0.5
    torch.relu_(values)
    kept = values.contiguous().permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2)
    return F.linear(kept.mean(2), self.head)


def gathered(self: Own, pictures: Tensor) -> Tensor:
    values = torch.zeros(len(pictures), 4, 18, 18, dtype=torch.float64)
    values += F.conv2d(pictures, self.kernel)  # a tensor that knew nothing of the pictures
    one, two = (values + 0.5).relu_().chunk(2, dim=1)
    return F.linear(torch.cat([one, two], 1).mean((2, 3)), self.head)


@pytest.mark.parametrize("how", [in_place, by_methods, gathered])
def test_every_way_of_writing_a_network_gives_the_same_map_and_its_own_logits(how) -> None:  # type: ignore[no-untyped-def]
    pictures, targets = images(), torch.tensor([0, 1, 1])
    expected = LRPEpsilonPlus(Own(plain)).explain(pictures, targets)
    model = Own(how)
    assert expected.abs().amax(dim=(1, 2)).min() > 0
    torch.testing.assert_close(LRPEpsilonPlus(model).explain(pictures, targets), expected)
    logits, maps = LRPEpsilonPlus(model).forward(pictures, targets, create_graph=True)
    assert torch.equal(logits, model(pictures))
    assert maps.requires_grad


def test_the_pictures_themselves_are_never_written_over() -> None:
    def writes(self: Own, pictures: Tensor) -> Tensor:
        return plain(self, pictures.sub_(0.5))

    pictures = images()
    with torch.no_grad(), Tape(pictures) as tape:
        Own(writes)(pictures)
    assert torch.equal(pictures, images())
    assert [call.name for call in tape.calls] == ["sub", "conv2d", "add", "relu", "mean", "linear"]


def test_a_buffer_that_a_module_keeps_is_changed_as_always() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double().train()
    before = model[1].running_mean.clone()
    LRPEpsilonPlus(model).forward(images(), 1, create_graph=True)
    assert model[1].num_batches_tracked == 1
    assert not torch.equal(model[1].running_mean, before)


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (lambda z: z.softmax(1), "LRP ε\\+ has no rule for softmax; it explains convolutional"),
        (lambda z: z * z, "no rule for mul"),
        (lambda z: z.exp(), "no rule for exp"),
        (lambda z: z @ torch.eye(2, dtype=z.dtype), "no rule for matmul"),
    ],
)
def test_an_operation_without_a_rule_is_named(ending, said: str) -> None:  # type: ignore[no-untyped-def]
    model = Own(lambda self, pictures: ending(plain(self, pictures)))
    with pytest.raises(ValueError, match=said):
        LRPEpsilonPlus(model).explain(images(), 0)


def test_written_cells_and_scores_from_elsewhere_are_refused() -> None:
    def written(self: Own, pictures: Tensor) -> Tensor:
        scores = torch.zeros(len(pictures), 2, dtype=torch.float64)
        scores[:] = plain(self, pictures)
        return scores

    with pytest.raises(ValueError, match="no rule for __setitem__"):
        LRPEpsilonPlus(Own(written)).explain(images(), 0)
    with pytest.raises(ValueError, match="cannot follow the forward pass of Own"):
        LRPEpsilonPlus(Own(lambda self, pictures: plain(self, pictures).detach())).explain(images(), 0)


def test_what_relevance_does_not_reach_needs_no_rule() -> None:
    def beside(self: Own, pictures: Tensor) -> Tensor:
        pictures.exp().cumsum(1)
        gate = torch.sigmoid(pictures.logsumexp((1, 2, 3))[:, None])
        return plain(self, pictures) * gate

    model = Own(beside)
    assert LRPEpsilonPlus(model).explain(images(), 0).abs().sum() > 0
