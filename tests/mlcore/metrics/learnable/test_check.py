"""The checker says what is wrong with a metric, and nothing of one that is right."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mlcore.metrics.learnable.base import LearnableMetric
from mlcore.metrics.learnable.check import problems
from mlcore.metrics.learnable.registry import LEARNABLE


class Outside(LearnableMetric):
    """Share of the map's mass in the right half: as it should be."""

    name = "outside"
    better_higher = False

    def perturb(self, images: Tensor, maps: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return images

    def evaluate(self, model, images, targets, explain, *, masks=None) -> Tensor:
        maps = explain(images, targets).double()
        return torch.where(maps.sum(dim=(1, 2)) > 0, self.share(maps), torch.nan)

    def loss(self, step) -> Tensor:
        seen = step.maps.detach().sum(dim=(1, 2)) > 0
        maps = torch.where(seen[:, None, None], step.maps, torch.ones_like(step.maps))
        return (self.share(maps) * seen).sum() / seen.sum().clamp(min=1)

    def share(self, maps: Tensor) -> Tensor:
        return maps[:, :, maps.shape[2] // 2 :].sum(dim=(1, 2)) / maps.sum(dim=(1, 2))


class Empty(LearnableMetric):
    pass


class NeedsOption(Outside):
    def __init__(self, width: int) -> None:
        super().__init__()


class Fails(Outside):
    def evaluate(self, *given: Any, **more: Any) -> Tensor:
        raise RuntimeError("out of luck\nand more")


class OneNumber(Outside):
    def evaluate(self, *given: Any, **more: Any) -> Tensor:
        return super().evaluate(*given, **more).mean()


class Single(Outside):
    def evaluate(self, *given: Any, **more: Any) -> Tensor:
        return super().evaluate(*given, **more).float()


class NotANumber(Outside):
    def evaluate(self, *given: Any, **more: Any) -> Tensor:
        return super().evaluate(*given, **more) * torch.nan


class Random(Outside):
    def evaluate(self, *given: Any, **more: Any) -> Tensor:
        found = super().evaluate(*given, **more)
        return found + torch.rand(len(found), dtype=torch.float64)


class OfTheBatch(Outside):
    def evaluate(self, *given: Any, **more: Any) -> Tensor:
        found = super().evaluate(*given, **more)
        return found - found.mean()


class OnlyMany(Outside):
    def evaluate(self, model, images, *given: Any, **more: Any) -> Tensor:
        if len(images) < 2:
            raise IndexError("two, please")
        return super().evaluate(model, images, *given, **more)


class Trains(Outside):
    def evaluate(self, model, images, *given: Any, **more: Any) -> Tensor:
        model.train()
        model(images)
        return super().evaluate(model, images, *given, **more)


class Backward(Outside):
    def loss(self, step) -> Tensor:
        step.logits.sum().backward(retain_graph=True)
        return super().loss(step)


class Detached(Outside):
    def loss(self, step) -> Tensor:
        step.maps = step.maps.detach()
        return super().loss(step)


class NotThroughMaps(Outside):
    def loss(self, step) -> Tensor:
        return step.logits.square().mean()


class Flat(Outside):
    trains_maps = False

    def loss(self, step) -> Tensor:
        return (step.logits * 0).sum()


class PerImage(Outside):
    def loss(self, step) -> Tensor:
        return self.share(step.maps)


class Divides(Outside):
    def loss(self, step) -> Tensor:
        return self.share(step.maps).mean()


class Masked(Outside):
    needs_masks = True

    def evaluate(self, model, images, targets, explain, *, masks=None) -> Tensor:
        maps = explain(images, targets).double()
        return (maps * (1 if masks is None else masks)).sum(dim=(1, 2)) / maps.sum(dim=(1, 2))


class Backwards(Outside):
    better_higher = True


@pytest.mark.parametrize(
    ("metric", "sentences"),
    [
        (dict, ["dict is no learnable metric: write class dict(LearnableMetric)."]),
        (3, ["3 is no learnable metric"]),
        (Empty, ["no evaluate(model", "no loss(step)", "no perturb(images", "does not say name", "say better_higher"]),
        (NeedsOption, ["NeedsOption cannot be made: TypeError: "]),
        (Fails, ["evaluate fails: RuntimeError: out of luck"]),
        (OneNumber, ["evaluate gives () for 8 images, not one score for each: (8,)."]),
        (Single, ["evaluate gives torch.float32, not torch.float64."]),
        (NotANumber, ["evaluate gives NaN or infinity for 8 of 8 ordinary images."]),
        (Random, ["evaluate gives other scores when it is asked again"]),
        (OfTheBatch, ["evaluate gives other scores for 8 images at once than for 1 at a time."]),
        (OnlyMany, ["evaluate fails for a batch of 1: IndexError: two, please"]),
        (Trains, ["evaluate changes the running statistics of", "evaluate changes the train or eval mode of"]),
        (Backward, ["loss changes the gradients (.grad) of the classifier."]),
        (Detached, ["loss has no graph"]),
        (NotThroughMaps, ["loss does not go back through step.maps"]),
        (Flat, ["The gradient of loss is zero for every weight"]),
        (PerImage, ["loss gives (8,), not a scalar."]),
        (Divides, ["loss or its gradient is not a number for an image whose map is zero everywhere"]),
        (Masked, ["evaluate gives a score to an image without an object", "evaluate must raise ValueError where"]),
        (Backwards, ["Warning: 10 steps on a small classifier do not improve the score: 0."]),
    ],
)  # fmt: skip
def test_each_fault_has_its_sentence(metric: Any, sentences: list[str]) -> None:
    chance = torch.get_rng_state()
    found = problems(metric)
    assert len(found) == len(sentences), found
    for said, words in zip(found, sentences, strict=True):
        assert words in said
    assert torch.equal(torch.get_rng_state(), chance)


def test_a_metric_that_is_right_has_none() -> None:
    assert problems(Outside) == []
    assert problems(NeedsOption, {"width": 3}, steps=0) == []


@pytest.mark.parametrize("name", LEARNABLE)
def test_ours_have_none(name: str) -> None:
    small = {"relative_input_stability": {"copies": 5}, "input_stability": {"copies": 5}}
    assert problems(LEARNABLE[name], small.get(name), steps=0) == []


def test_the_template_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = Path(__file__).resolve().parents[4] / "docs" / "templates" / "learnable_metric.py"
    monkeypatch.syspath_prepend(str(template.parent))
    import learnable_metric

    assert problems(learnable_metric.BorderMass) == []
    assert problems(learnable_metric.BorderMass, {"width": 0.3}, steps=0) == []
    assert learnable_metric.HARMONY["name"] == learnable_metric.BorderMass.name
