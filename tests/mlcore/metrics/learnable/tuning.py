"""A small classifier with a method, and a few steps of tuning it, as definitions §5 describes them."""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.grad_cam import GradCAM
from mlcore.attribution.maps import upsample
from mlcore.metrics.learnable.base import Explain, LearnableMetric, Step
from tests.mlcore.metrics.asking import ChannelMeans

SIZE = 16
CLASSES = 4


class Toy(nn.Module):
    """Two convolutions with BatchNorm in eval mode, whose statistics are not 0 and 1, then pool and linear."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.pool(self.features(images)).flatten(1))


def toy(seed: int = 0) -> Toy:
    """In eval mode and float64; its classes are told apart."""
    torch.manual_seed(seed)
    model = Toy().double()
    with torch.no_grad():
        model(torch.randn(16, 3, SIZE, SIZE, dtype=torch.float64))
        model.fc.weight.mul_(12)
    return model.eval()


class Edges(nn.Module):
    """Classes by colours around a place and by edges, which noise makes everywhere. Its maps are above 0."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.Softplus())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 2)
        laplace = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])
        with torch.no_grad():
            self.features[0].weight.zero_()
            for colour in (0, 1):
                self.features[0].weight[colour, colour] = 1 / 9
                self.features[0].weight[2 + colour, colour] = laplace
            self.features[0].bias.fill_(1.0)
            self.fc.weight.copy_(torch.tensor([[4.0, 1.0, 2.0, 1.0], [1.0, 4.0, 1.0, 2.0]]))
            self.fc.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.pool(self.features(images)).flatten(1))


def edges() -> Edges:
    return Edges().double().eval()


def photographs(count: int = 6, seed: int = 0) -> Tensor:
    """Smooth pictures (count, 3, SIZE, SIZE), float64."""
    cells = torch.randn(count, 3, 5, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return upsample(cells, (SIZE, SIZE))


def explainer(model: nn.Module) -> Explain:
    """Grad-CAM as `Step.explain` gives it: clamped at 0, bilinear at the images' size, with a graph."""
    method = GradCAM(model, "features")

    def explain(images: Tensor, targets: Tensor) -> Tensor:
        _, maps = method.forward(images, targets, create_graph=True)
        return upsample(maps.clamp(min=0), (images.shape[2], images.shape[3]))

    return explain


def step_of(model: nn.Module, original: nn.Module, images: Tensor, seed: int = 0, agreement: float = 1.0) -> Step:
    """One batch, as the objective hands it to a term."""
    with torch.no_grad():
        said = original(images)
    targets = said.argmax(1)
    explain = explainer(model)
    return Step(
        model, images, targets, said, model(images), explain(images, targets), explain,
        agreement=agreement, generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip


def channel_step(images: Tensor, targets: Tensor, maps: Tensor, *, scale: float = 1.0, agreement: float = 1.0) -> Step:
    """A step of `ChannelMeans` with given maps, whose method is the class's own channel times the scale."""
    model = ChannelMeans(scale).to(images.dtype).eval()

    def explain(asked: Tensor, classes: Tensor) -> Tensor:
        return (model.scale * asked[torch.arange(len(asked)), classes]).clamp(min=0)

    logits = model(images)
    return Step(
        model, images, targets, logits.detach(), logits, maps, explain,
        agreement=agreement, generator=torch.Generator().manual_seed(5),
    )  # fmt: skip


def tuned(
    original: nn.Module, metric: LearnableMetric, images: Tensor, *, weight: float, rate: float, steps: int = 10
) -> nn.Module:
    """A copy after `steps` steps of Adam on keep + weight · term over one batch."""
    model = deepcopy(original)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for number in range(steps):
        step = step_of(model, original, images, seed=number)
        keep = (1 - (F.cosine_similarity(step.original, step.logits) + 1) / 2).mean()
        optimizer.zero_grad()
        (keep + weight * metric.loss(step)).backward()
        optimizer.step()
    return model


def score(metric: LearnableMetric, model: nn.Module, original: nn.Module, images: Tensor) -> tuple[float, float]:
    """(mean score of the images, agreement with the original)."""
    targets = original(images).argmax(1)
    found = metric.evaluate(model, images, targets, explainer(model))
    return float(found.nanmean()), float((model(images).argmax(1) == targets).double().mean())
