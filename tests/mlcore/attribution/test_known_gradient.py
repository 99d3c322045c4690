"""Where the gradient at the last layer is known, nothing behind it need run: the gradients at the picture are equal."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mlcore.attribution.guided_backprop import GuidedBackprop
from mlcore.attribution.guided_grad_cam import GuidedGradCAM
from mlcore.attribution.input_x_gradient import InputXGradient
from tests.mlcore.attribution.nets import ConvPool, PoolConv, PoolLinear, ReluPool, images


class LastInPlace(PoolLinear):
    """The last layer ends with a ReLU in place whose result is known by its old name."""

    def __init__(self) -> None:
        super().__init__()
        self.features = Ends()


class Ends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3)

    def forward(self, pictures: Tensor) -> Tensor:
        values = self.second(self.first(pictures).relu_())
        values.relu_()
        return values


NETS: dict[str, Callable[[], nn.Module]] = {
    "pool, linear": PoolLinear,
    "convolution, pool": lambda: ConvPool(relu=False),
    "convolution, ReLU, pool": lambda: ConvPool(relu=True),
    "pool, convolution": PoolConv,
    "ReLU, pool, linear": ReluPool,
    "ends in place": LastInPlace,
}
METHODS = [InputXGradient, GuidedBackprop, GuidedGradCAM]


def net(kind: str) -> nn.Module:
    torch.manual_seed(4)
    model = NETS[kind]().double().eval()
    for value in model.parameters():
        nn.init.normal_(value)
    return model


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("targets", [torch.tensor([0, 1, 3]), torch.tensor([[0, 1], [1, 2], [3, 3]])])
def test_equals_the_gradient_of_the_whole_network(kind: str, method: type, targets: Tensor) -> None:
    explainer = method(net(kind))
    whole = torch.stack(
        [explainer.explain(images(), lambda logits, t=column: t) for column in targets.reshape(3, -1).unbind(1)], 1
    )
    assert whole.abs().max() > 0.01
    torch.testing.assert_close(explainer.explain(images(), targets), whole if targets.dim() == 2 else whole[:, 0])
    if targets.dim() == 1:
        torch.testing.assert_close(explainer.explain(images(), 1), explainer.explain(images(), lambda logits: 1))


def test_the_head_does_not_run_but_its_classes_are_checked() -> None:
    model = net("pool, linear")
    ran = []
    model.fc.register_forward_hook(lambda *_: ran.append(1))
    explainer = InputXGradient(model)
    explainer.explain(images(), 1)
    assert not ran
    explainer.explain(images(), lambda logits: logits.argmax(1))
    assert ran == [1]
    with pytest.raises(ValueError, match="classes 0 to 3"):
        explainer.explain(images(), 4)


@pytest.mark.parametrize("method", [InputXGradient, GuidedBackprop])
def test_an_image_whose_features_are_not_finite_gets_nan_and_spoils_no_other(method: type) -> None:
    model = net("pool, linear")
    batch = images().clone()
    batch[1, 0, 0, 0] = torch.inf
    maps = method(model).explain(batch, torch.tensor([0, 1, 3]))
    assert maps[1].isnan().all()
    torch.testing.assert_close(maps[[0, 2]], method(model).explain(images(), torch.tensor([0, 1, 3]))[[0, 2]])


def test_frozen_features_without_a_graph_have_no_gradient() -> None:
    model = net("pool, linear")
    model.features.forward = torch.no_grad()(model.features.forward)
    assert not InputXGradient(model).explain(images(), 1).any()
