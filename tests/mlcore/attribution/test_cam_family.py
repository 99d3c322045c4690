"""Grad-CAM++, Layer-CAM and Score-CAM: values by hand, and what holds of all of them (definitions §1)."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlcore.attribution.base import Attribution
from mlcore.attribution.grad_cam import GradCAM
from mlcore.attribution.grad_cam_pp import GradCAMPlusPlus
from mlcore.attribution.hires_cam import HiResCAM
from mlcore.attribution.layer_cam import LayerCAM
from mlcore.attribution.score_cam import ScoreCAM
from tests.mlcore.attribution.nets import ConvPool, Curved, PoolLinear, ReluPool, Transparent, images

CAMS: dict[str, Callable[..., Attribution]] = {
    "grad_cam": GradCAM,
    "hires_cam": HiResCAM,
    "grad_cam_pp": GradCAMPlusPlus,
    "layer_cam": LayerCAM,
    "score_cam": ScoreCAM,
}
BY_GRADIENT = (GradCAMPlusPlus, LayerCAM)


def toy(kind: Callable[..., nn.Module], **options: Any) -> nn.Module:
    torch.manual_seed(3)
    model = kind(**options).double()
    model(images(8))
    return model.eval()


class TwoPlanes(nn.Module):
    """Features = two planes of the picture; the score is their product of means and sum of squares, with a bend."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Identity()

    def forward(self, pictures: Tensor) -> Tensor:
        planes = self.features(pictures[:, :2])
        return (planes.square().sum(dim=(2, 3)) * torch.tensor([1.0, -0.5])).sum(dim=1, keepdim=True)


PLANES = torch.tensor([[[[1.0, 0.0], [2.0, -1.0]], [[3.0, -2.0], [0.0, 1.0]], [[9.0, 9.0], [9.0, 9.0]]]])


@pytest.mark.parametrize("form", ["closed", "autograd"])
def test_by_hand_on_a_linear_head(form: str) -> None:
    model = Transparent()
    with torch.no_grad():
        model.fc.weight[0] = torch.tensor([8.0, -4.0, 0.0])
    # g = 8/4 = 2 on the first plane, −1 on the second, 0 on the third. Sums of the planes: 2, 2, 36.
    # α = 1 / (2 + 2·2) on the first; w = 4 cells · α · 2 = 8/6; the negative one and the zero one weigh nothing.
    pp = torch.tensor([[[8 / 6, 0.0], [16 / 6, 0.0]]])
    assert torch.allclose(GradCAMPlusPlus(model, form=form).explain(PLANES, 0), pp)
    assert torch.equal(LayerCAM(model, form=form).explain(PLANES, 0), torch.tensor([[[2.0, 0.0], [4.0, 0.0]]]))


def test_by_hand_where_the_gradient_differs_from_cell_to_cell() -> None:
    # g = 2A on the first plane, −A on the second; sums of the planes: 2 and 2.
    # First plane: g = 2, 0, 4, −2; α·ReLU(g) = 2/(2+4), 0, 4/(2+8), 0; w = 1/3 + 2/5 = 11/15.
    # Second: g = −3, 2, 0, −1; α·ReLU(g) = 0, 2/(2+4), 0, and where 2 + 2·(−1) = 0 nothing; w = 1/3.
    w1, w2 = 11 / 15, 1 / 3
    expected = torch.tensor([[[w1 + 3 * w2, 0.0], [2 * w1, 0.0]]])  # −2·w2 and −w1 + w2 are below 0
    model = TwoPlanes()
    assert torch.allclose(GradCAMPlusPlus(model, "features").explain(PLANES, 0), expected)
    # ReLU(g) ⊙ A: first 2, 0, 8, 0; second 0, −4, 0, 0
    assert torch.equal(LayerCAM(model, "features").explain(PLANES, 0), torch.tensor([[[2.0, 0.0], [8.0, 0.0]]]))


def test_grad_cam_pp_keeps_the_same_map_however_small_the_gradient() -> None:
    model = toy(Curved).float()
    expected = GradCAMPlusPlus(model).explain(images(dtype=torch.float32), 1)
    with torch.no_grad():
        model.fc.weight.mul_(1e-12)
    faint = GradCAMPlusPlus(model).explain(images(dtype=torch.float32), 1)
    assert faint.max() > 0
    # Without the second term of the denominator α is 1/2: the plain sum of positive gradients, to the last digit.
    assert torch.allclose(faint / faint.max(), plain_positive(model), atol=1e-5)
    assert not torch.allclose(faint / faint.max(), expected / expected.max(), atol=1e-5)


def plain_positive(model: nn.Module) -> Tensor:
    features = model.features(images(dtype=torch.float32)).detach().requires_grad_()
    score = model.fc(torch.tanh(model.hidden(features.mean((2, 3)))))[:, 1].sum()
    (gradient,) = torch.autograd.grad(score, features)
    maps = torch.einsum("bchw,bc->bhw", features.detach(), gradient.clamp(min=0).mean(dim=(2, 3))).clamp(min=0)
    return maps / maps.max()


def test_score_cam_by_hand() -> None:
    model = Transparent()
    with torch.no_grad():
        model.fc.weight[0] = torch.tensor([2.0, 1.0, 0.0])
    # Masks: (A − min) / (max − min). First plane: 2/3, 1/3, 1, 0; second: 1, 0, 0.4, 0.6; the third is constant.
    first = torch.tensor([[2 / 3, 1 / 3], [1.0, 0.0]])
    second = torch.tensor([[1.0, 0.0], [0.4, 0.6]])
    scores = torch.stack([2 * (PLANES[0, 0] * m).mean() + (PLANES[0, 1] * m).mean() for m in (first, second)])
    alpha = torch.softmax(scores, dim=0)
    expected = (alpha[0] * PLANES[0, 0] + alpha[1] * PLANES[0, 1]).clamp(min=0)
    assert torch.allclose(ScoreCAM(model).explain(PLANES, 0)[0], expected)


def test_score_cam_asks_nothing_of_channels_that_are_the_same_everywhere() -> None:
    model = Transparent()
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _module, inputs: seen.append(len(inputs[0])))
    flat = torch.full((1, 3, 4, 4), 0.3)
    assert torch.equal(ScoreCAM(model).explain(flat, 0), torch.zeros(1, 4, 4))
    assert seen == [1]
    ScoreCAM(model, chunk=2).explain(torch.cat([flat, images(2, 4, torch.float32)]), 0)
    assert seen[1:] == [3, 2, 2, 2]


@pytest.mark.parametrize("chunk", [1, 5, 64])
def test_score_cam_is_the_same_in_chunks_of_any_size(chunk: int) -> None:
    model, targets = toy(Curved), torch.tensor([0, 2, 1])
    expected = ScoreCAM(model, chunk=7).explain(images(), targets)
    assert torch.allclose(ScoreCAM(model, chunk=chunk).explain(images(), targets), expected)


@pytest.mark.parametrize("head", [PoolLinear, ReluPool, lambda: ConvPool(relu=True), lambda: ConvPool(relu=False)])
@pytest.mark.parametrize("method", BY_GRADIENT)
def test_closed_form_equals_autograd(method: Any, head: Callable[[], nn.Module]) -> None:
    model, targets = toy(head), torch.tensor([0, 2, 3])
    closed = method(model, form="closed").explain(images(), targets)
    assert closed.max() > 0
    assert torch.allclose(closed, method(model, form="autograd").explain(images(), targets), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", [PoolLinear, Curved])
@pytest.mark.parametrize("name", CAMS)
def test_batches_and_several_classes(name: str, kind: Callable[[], nn.Module]) -> None:
    model, several = toy(kind), torch.tensor([[0, 2], [2, 2], [1, 0]])
    method = CAMS[name](model)
    maps = method.explain(images(), several)
    assert maps.shape[:2] == (3, 2)
    assert maps.dtype == torch.float32
    for row in range(3):
        for column in range(2):
            single = method.explain(images()[row : row + 1], int(several[row, column]))
            assert torch.allclose(maps[row : row + 1, column], single, rtol=1e-5, atol=1e-8)
    assert torch.allclose(method.explain(images(), several, internal_batch_size=2), maps, rtol=1e-5, atol=1e-8)
    assert torch.equal(method.explain(images(), lambda _logits: several[:, 0]), maps[:, 0])


class Symmetric(Curved):
    """Cells that see their own patch only, on a picture that they tile: flipping the picture flips the cells."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.AvgPool2d(4), nn.Conv2d(3, 4, 1), nn.Tanh(), nn.Conv2d(4, 3, 1))


@pytest.mark.parametrize("name", CAMS)
def test_a_flipped_picture_has_the_flipped_map(name: str) -> None:
    method = CAMS[name](toy(Symmetric))
    maps = method.explain(images(), torch.tensor([0, 1, 2]))
    flipped = method.explain(images().flip(3), torch.tensor([0, 1, 2]))
    assert maps.amax(dim=(1, 2)).min() > 0
    assert torch.allclose(flipped, maps.flip(2), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", CAMS)
def test_pictures_without_information_give_maps_to_be_counted(name: str) -> None:
    pictures = images(3)
    pictures[0], pictures[1, 0, 3, 3] = 0.0, float("nan")
    maps = CAMS[name](toy(PoolLinear)).explain(pictures, torch.tensor([0, 1, 2]))
    assert torch.isfinite(maps[[0, 2]]).all()
    assert not torch.isfinite(maps[1]).all()
    constant = CAMS[name](Transparent()).explain(torch.full((1, 3, 4, 4), 0.5), 0)
    assert constant.min() == constant.max()


@pytest.mark.parametrize("name", CAMS)
def test_lower_precision_gives_float32_maps_that_are_close(name: str) -> None:
    model, targets = toy(PoolLinear).float(), torch.tensor([0, 1, 2])
    method = CAMS[name](model)
    exact = method.explain(images(dtype=torch.float32), targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = method.explain(images(dtype=torch.float32), targets)
    assert maps.dtype == torch.float32
    assert float((maps - exact).abs().max() / exact.abs().max()) < 0.05


def test_numbers_and_words_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="chunk is 1 or more, not 0"):
        ScoreCAM(Curved(), chunk=0)
    for method in BY_GRADIENT:
        with pytest.raises(ValueError, match=f"{method.__name__} has the forms auto, closed and autograd"):
            method(Curved(), form="fast")
        with pytest.raises(ValueError, match="no layer “layer9”"):
            method(Curved(), "layer9")
    with pytest.raises(ValueError, match="no layer “layer9”"):
        ScoreCAM(Curved(), "layer9")
