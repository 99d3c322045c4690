"""LRP ε+ and excitation backpropagation beside zennit 0.5.1, BatchNorm merged by its canonizers.

In double precision; values within a hundred-thousandth of the largest (our maps are float32). zennit works on modules:
where torchvision calls a function instead (MobileNetV2's pool and residual sums), a module is put in its place for
zennit alone.
"""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from zennit.attribution import Gradient
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import EpsilonPlus, ExcitationBackprop
from zennit.core import Composite
from zennit.layer import Sum

from mlcore.attribution import explain
from tests.oracles.nets import Plain, Residual, images, seeded

CLOSE = 1e-5
CLASSES = torch.tensor([2, 0, 3])


class ZennitAdd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.sum = Sum()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.sum(torch.stack([first, second], dim=-1))


class ZennitBlock(nn.Module):
    """MobileNetV2's inverted residual, its sum a module."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.conv = block.conv
        self.add = ZennitAdd()

    def forward(self, features: Tensor) -> Tensor:
        return self.add(features, self.conv(features))


def for_zennit(model: nn.Module) -> nn.Module:
    """A copy that computes the same, with modules for what zennit must see.

    zennit's merged BatchNorm still divides by √(1 + ε), 5e-6 a layer; with ε inside the variance it does not.
    """
    model = deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None
            module.running_var += module.eps
            module.eps = 0.0
    if isinstance(model, Residual):
        model.add = ZennitAdd()
    if type(model).__name__ != "MobileNetV2":
        return model
    blocks = [ZennitBlock(block) if getattr(block, "use_res_connect", False) else block for block in model.features]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.classifier).eval()


def zennit(model: nn.Module, composite: Composite, pictures: Tensor, classes: Tensor, *, ones: bool) -> Tensor:
    """Relevance summed over colours (B, H, W), started from the class's score, or from one."""
    chosen = torch.eye(len(model(pictures[:1])[0]), dtype=pictures.dtype)[classes]
    with Gradient(model=for_zennit(model), composite=composite) as method:
        _, found = method(pictures.clone().requires_grad_(), lambda scores: chosen if ones else scores * chosen)
    return found.sum(dim=1).detach()


def close(ours: Tensor, theirs: Tensor) -> None:
    scale = float(theirs.abs().max())
    assert scale > 0
    torch.testing.assert_close(ours.double() / scale, theirs / scale, atol=CLOSE, rtol=0)


@pytest.fixture(params=[Plain, Residual])
def toy(request: pytest.FixtureRequest) -> nn.Module:
    return seeded(request.param())


@pytest.fixture
def crop(photographs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The middle of a photograph, small enough for double precision."""
    return photographs[0][:1, :, 64:160, 64:160].double(), photographs[1][:1]


def test_lrp_is_zennits_epsilon_plus_on_small_networks(toy: nn.Module) -> None:
    theirs = zennit(toy, EpsilonPlus(canonizers=[SequentialMergeBatchNorm()]), images(), CLASSES, ones=False)
    close(explain(toy, images(), CLASSES, "lrp"), theirs)


def test_lrp_is_zennits_epsilon_plus_on_a_photograph(classifier: nn.Module, crop: tuple[Tensor, Tensor]) -> None:
    model = deepcopy(classifier).double()
    theirs = zennit(model, EpsilonPlus(canonizers=[SequentialMergeBatchNorm()]), *crop, ones=False)
    close(explain(model, *crop, "lrp"), theirs)


def test_excitation_backprop_is_zennits_without_biases_on_a_small_network() -> None:
    """The paper's neurons win by their inputs alone; zennit gives biases a share unless they are set to zero.

    Its means and sums share among signed values, ours among positive ones: the same behind a ReLU. A residual sum takes
    a branch without one: preset "harmony" shares as zennit does.
    """
    model = seeded(Plain())
    composite = ExcitationBackprop(stabilizer=1e-12, zero_params=["bias"], canonizers=[SequentialMergeBatchNorm()])
    ours = explain(model, images(), CLASSES, "excitation_backprop")
    close(ours, zennit(model, composite, images(), CLASSES, ones=True))


def test_excitation_backprop_as_harmony_has_it_is_zennits_contrast(toy: nn.Module) -> None:
    """R(z ⊙ one-hot)/Σ|·| − R(z)/Σ|·|, both by zennit with its defaults, clamped at 0 and enlarged to 224 px."""
    composite = ExcitationBackprop(canonizers=[SequentialMergeBatchNorm()])
    twin = for_zennit(toy)
    chosen = torch.eye(4, dtype=torch.float64)[CLASSES]
    found = []
    for start in (lambda scores: scores * chosen, lambda scores: scores):
        with Gradient(model=twin, composite=composite) as method:
            relevance = method(images().requires_grad_(), start)[1].detach()
        found.append(relevance / (relevance.abs().sum(dim=(1, 2, 3), keepdim=True) + 1e-9))
    contrast = (found[0] - found[1]).sum(dim=1, keepdim=True).clamp(min=0)
    theirs = nn.functional.interpolate(contrast, size=(224, 224), mode="bilinear", align_corners=False)[:, 0]
    close(explain(toy, images(), CLASSES, "excitation_backprop", preset="harmony"), theirs)


def test_excitation_backprop_is_zennits_on_a_photograph(squeezenet: nn.Module, crop: tuple[Tensor, Tensor]) -> None:
    model = deepcopy(squeezenet).double()
    composite = ExcitationBackprop(stabilizer=1e-12, zero_params=["bias"], canonizers=[SequentialMergeBatchNorm()])
    close(explain(model, *crop, "excitation_backprop"), zennit(model, composite, *crop, ones=True))
