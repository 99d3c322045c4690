"""TAME's training loss by hand, by finite differences, and beside a transcription over all label pairs."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.attention_layers import capture_all
from mlcore.attribution.l_cam import LCAMAttention
from mlcore.attribution.tame import VARIANTS, TAMEAttention
from mlcore.objectives.batch import Batch
from mlcore.objectives.tame import TAMETraining, area_term, total_variation
from tests.mlcore.attribution.nets import Transparent, finite_differences, images

LAYERS = ("first", "second", "third")


class Stages(nn.Module):
    """Three layers of different sizes and channels, with BatchNorm and dropout, as a ResNet or VGG has them."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.second = nn.Sequential(nn.Conv2d(4, 5, 3, stride=2, padding=1), nn.Softplus())
        self.third = nn.Sequential(nn.Conv2d(5, 6, 3, padding=1), nn.Softplus())
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(6, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.fc(self.drop(self.third(self.second(self.first(pictures))).mean((2, 3))))


def prepared(variant: str = "default", **options: object) -> tuple[Stages, TAMETraining]:
    """A classifier that says different things of different images, in float64, with an untrained attention."""
    torch.manual_seed(3)
    model = Stages().double().eval()
    with torch.no_grad():
        model.fc.weight.mul_(40)
        features = model.third(model.second(model.first(images(4)))).mean((2, 3))
        model.fc.bias.copy_(-(model.fc.weight @ features.mean(0)))
    layers = ("second",) if variant == "l_cam" else LAYERS
    objective = TAMETraining(variant=variant, layers=layers, normalise="imagenet", **options)
    objective.prepare(model)
    return model, objective.double()


def batch_of(count: int = 4) -> Batch:
    return Batch.plain(images(count), torch.zeros(count, dtype=torch.int64))


def test_loss_by_hand() -> None:
    model = Transparent().double()
    attention = LCAMAttention("features", 3, 3).double()
    for parameter in attention.parameters():
        nn.init.zeros_(parameter)  # σ(0) = ½ everywhere
    pictures = torch.zeros(2, 3, 2, 2, dtype=torch.float64)
    pictures[0, 0], pictures[0, 1] = 0.8, 0.2
    pictures[1, 2] = 1.0
    objective = TAMETraining(attention=attention, normalise="none")
    objective.prepare(model)
    step = objective.loss(model, Batch.plain(pictures, torch.tensor([1, 1])))
    first = math.log(math.exp(0.4) + math.exp(0.1) + 1) - 0.4  # of class 0, which the classifier says
    second = math.log(math.exp(0.5) + 2) - 0.5  # of class 2
    area = (0.5 + 5e-4) ** 0.3
    variation = 2 * 0.3 * 8 * 0.25 / (2 * 2)  # no differences; four sides of two cells in each of two maps
    assert float(step.terms["classification"]) == pytest.approx((first + second) / 2)
    assert float(step.terms["area"]) == pytest.approx(area)
    assert float(step.terms["variation"]) == pytest.approx(variation)
    assert float(step.terms["kept"]) == 1.0
    expected = 1.5 * (first + second) / 2 + 2 * area + 0.01 * 2 * variation
    assert float(step.total.detach()) == pytest.approx(expected)
    torch.testing.assert_close(step.logits, torch.tensor([[0.8, 0.2, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64))


def test_variation_with_borders_by_hand() -> None:
    maps = torch.tensor([[[1.0, 2.0, 0.0], [3.0, 5.0, 1.0], [0.0, 1.0, 2.0]]])
    across = 1 + 4 + 4 + 16 + 1 + 1
    down = 4 + 9 + 9 + 16 + 1 + 1
    border = (1 + 4 + 0) + (0 + 1 + 4) + (1 + 9 + 0) + (0 + 1 + 4)  # the corners 1, 0, 0, 2 twice, the middle never
    assert float(total_variation(maps)) == pytest.approx((across + down + 0.3 * border) / 2)
    # Divided by the images, not by the maps: two images of two maps each.
    assert float(total_variation(maps.expand(2, 2, 3, 3))) == pytest.approx(across + down + 0.3 * border)


def test_area_by_hand() -> None:
    maps = torch.tensor([[[0.0, 1.0]], [[0.25, 0.5]]], dtype=torch.float64)
    expected = (5e-4**0.3 + 1.0005**0.3 + 0.2505**0.3 + 0.5005**0.3) / 4
    assert float(area_term(maps)) == pytest.approx(expected)


@pytest.mark.parametrize("preset", ["default", "tame"])
@pytest.mark.parametrize("variant", [*VARIANTS, "l_cam"])
def test_gradient_by_finite_differences(variant: str, preset: str) -> None:
    model, objective = prepared(variant, preset=preset)
    batch = batch_of(3)

    def value() -> Tensor:
        return objective.loss(model, batch).total

    value().backward()
    attention = objective.attention
    last = attention.conv if isinstance(attention, LCAMAttention) else attention.fuse
    first = last if isinstance(attention, LCAMAttention) else attention.branches[0].conv
    for parameter in {last.bias, first.bias, first.weight}:
        found = parameter.grad.clone()
        expected = finite_differences(lambda: float(value().detach()), parameter, 1e-5)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    assert float(last.bias.grad.abs().max()) > 1e-3


def released(model: nn.Module, attention: TAMEAttention, pictures: Tensor) -> Tensor:
    """The released loss, read out label pair by label pair from the maps of all classes."""
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=pictures.dtype)[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225], dtype=pictures.dtype)[:, None, None]
    with capture_all(model, LAYERS) as captured:
        labels = model(pictures).argmax(dim=1).tolist()
    every = torch.sigmoid(attention([layer.output.detach() for layer in captured]))
    shown = []
    for image, label, maps in zip(pictures, labels, every, strict=True):
        large = F.interpolate(maps[label][None, None], pictures.shape[-2:], mode="bilinear", align_corners=False)[0]
        shown.append((large * (image * deviation + mean) - mean) / deviation)
    scores = torch.log_softmax(model(torch.stack(shown)), dim=1)
    count = len(labels)
    classification = -sum(scores[i, labels[i]] for i in range(count)) / count
    area = variation = torch.zeros((), dtype=pictures.dtype)
    for i in range(count):
        for j in range(count):
            a = every[i, labels[j]]
            area = area + ((a + 5e-4) ** 0.3).mean() / count**2
            border = (a[0] ** 2).sum() + (a[-1] ** 2).sum() + (a[:, 0] ** 2).sum() + (a[:, -1] ** 2).sum()
            steps = ((a[1:] - a[:-1]) ** 2).sum() + ((a[:, 1:] - a[:, :-1]) ** 2).sum()
            variation = variation + (steps + 0.3 * border) / (2 * count)
    return 1.5 * classification + 2 * area + 0.01 * variation


@pytest.mark.parametrize("variant", VARIANTS)
def test_preset_tame_is_the_released_loss_over_all_label_pairs(variant: str) -> None:
    model, objective = prepared(variant, preset="tame")
    assert objective.mode == "train"
    model.train()
    twin, attention = copy.deepcopy(model), copy.deepcopy(objective.attention)
    pictures = images(4)
    torch.manual_seed(8)  # dropout
    step = objective.loss(model, Batch.plain(pictures, torch.zeros(4, dtype=torch.int64)))
    torch.manual_seed(8)
    expected = released(twin, attention, pictures)
    assert len(set(step.logits.argmax(dim=1).tolist())) > 1
    torch.testing.assert_close(step.total, expected, atol=1e-12, rtol=1e-12)
    step.total.backward()
    expected.backward()
    for name, parameter in objective.attention.named_parameters():
        torch.testing.assert_close(parameter.grad, dict(attention.named_parameters())[name].grad)
    for name, value in model.named_buffers():  # both passes moved the batch statistics
        torch.testing.assert_close(value, dict(twin.named_buffers())[name])
    assert int(model.first[1].num_batches_tracked) == 2


def test_one_label_alone_has_the_released_magnitude() -> None:
    model, objective = prepared()
    pictures = images(1).expand(3, -1, -1, -1)  # of equal images each pair's map is the image's own
    step = objective.loss(model, Batch.plain(pictures, torch.zeros(3, dtype=torch.int64)))
    torch.testing.assert_close(step.total, released(model, objective.attention, pictures), atol=1e-12, rtol=1e-12)


def test_the_frozen_classifier_is_left_as_it_was() -> None:
    model, objective = prepared()
    assert objective.mode == "eval"
    model.fc.bias.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.1)
    for _ in range(2):
        objective.loss(model, batch_of()).total.backward()
        optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [name for name, parameter in model.named_parameters() if not parameter.requires_grad] == ["fc.bias"]
    assert not [module for module in model.modules() if module._forward_hooks]


def test_the_classifier_wants_gradients_again_after_an_error() -> None:
    model, objective = prepared()
    model.fc = nn.Linear(7, 5).double()
    with pytest.raises(RuntimeError):
        objective.loss(model, batch_of())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_ten_steps_lower_the_loss() -> None:
    model, objective = prepared()
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.05)
    losses = []
    for _ in range(10):
        step = objective.loss(model, batch_of())
        losses.append(float(step.total.detach()))
        optimizer.zero_grad()
        step.total.backward()
        optimizer.step()
    assert float(objective.loss(model, batch_of()).total.detach()) < losses[0] - 0.05


def test_its_parameters_and_state_are_the_attentions() -> None:
    model, objective = prepared()
    assert {id(p) for p in objective.parameters()} == {id(p) for p in objective.attention.parameters()}
    again = TAMETraining(layers=LAYERS)
    again.prepare(model)
    again.double().load_state_dict(objective.state_dict())
    first, second = (one.loss(model, batch_of()).total for one in (objective, again))
    assert torch.equal(first, second)


def test_the_module_suggests_its_own_layers() -> None:
    from mlcore.training.classifiers import build

    model = build("resnet18", 3)
    tame, l_cam = TAMETraining(), TAMETraining(variant="l_cam")
    tame.prepare(model)
    l_cam.prepare(model)
    assert tame.attention.layers == ("layer2", "layer3", "layer4")
    assert l_cam.attention.layers == ("layer4",)


def test_what_does_not_fit_is_refused() -> None:
    model, _ = prepared()
    for wrong in ({"preset": "gradia"}, {"variant": "skip"}, {"normalise": "no"}):
        with pytest.raises(ValueError, match="not “"):
            TAMETraining(**wrong)
    with pytest.raises(ValueError, match="one layer, not 2"):
        TAMETraining(variant="l_cam", layers=("first", "second"))
    with pytest.raises(ValueError, match="made by `prepare`"):
        TAMETraining().loss(model, batch_of())
    with pytest.raises(ValueError, match="There is no layer “layer4”"):
        TAMETraining(attention=TAMEAttention(("first", "layer4"), (4, 6), 5)).prepare(model)
    other = TAMETraining(attention=TAMEAttention(("first", "second"), (4, 8), 5).double())
    other.prepare(model)
    with pytest.raises(ValueError, match="belongs to another classifier"):
        other.loss(model, batch_of())
