"""A learnable metric as a metric of maps: who waits, who is left out and why, what a score run makes of it."""

import pickle

import pytest
import torch
from torch import Tensor, nn

from mlcore.catalogue import LearnableSpec, register, unregister
from mlcore.metrics import make
from mlcore.metrics.base import feed
from mlcore.metrics.learnable import plain
from mlcore.metrics.learnable.base import LearnableMetric
from mlcore.metrics.learnable.plain import PlainMetric

HERE = "tests.mlcore.metrics.learnable.test_plain"


class Pairs(LearnableMetric):
    """Mean of the mean of both maps of a pair, i and b + i of 2b; NaN where it is 0."""

    name = "pairs"
    better_higher = True
    group = 2

    def perturb(self, images: Tensor, maps: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return images

    def evaluate(self, model, images, targets, explain, *, masks=None) -> Tensor:
        both = explain(images, targets).double().mean(dim=(1, 2)).view(2, -1).mean(0).repeat(2)
        return torch.where(both > 0, both, torch.nan)

    def loss(self, step) -> Tensor:
        return step.maps.mean()


class Short(Pairs):
    name = "short"
    group = 1

    def evaluate(self, *given, **more) -> Tensor:
        return torch.ones(1, dtype=torch.float64)


@pytest.fixture(autouse=True)
def _registered():
    for name, made in (("pairs", "Pairs"), ("short", "Short")):
        register(LearnableSpec(name, made, f"{HERE}.{made}", "…", higher_is_better=True))
    yield
    for name in ("pairs", "short"):
        unregister(name)


def given(values: list[float], size: int = 2) -> dict:
    maps = torch.tensor(values)[:, None, None].expand(-1, size, size)
    return {
        "maps": maps, "images": torch.zeros(len(values), 3, 4, 4),
        "targets": torch.zeros(len(values), dtype=torch.int64), "names": [f"image {value:g}" for value in values],
    }  # fmt: skip


def pairs() -> PlainMetric:
    return make("pairs", model=nn.Identity(), explain=lambda images, _: images[:, 0])


def test_images_wait_for_each_other_and_the_interval_is_over_groups() -> None:
    metric = pairs()
    feed(metric, given([1, 2, 3]))
    assert metric.per_image == {"image 1": 1.5, "image 2": 1.5}
    feed(metric, given([5, 7, 9, 11]))
    # 3 and 5, … : waiting comes first; 3 with 7, 5 with 9; 11 waits.
    assert metric.per_image["image 3"] == metric.per_image["image 7"] == 5
    assert metric.per_image["image 5"] == metric.per_image["image 9"] == 7
    found = metric.compute()
    assert found["left_out"] == {"too few images to be scored together": 1}
    assert (found["n"], found["value"]) == (6, pytest.approx(4.5))
    half = 4.302652729911275 * torch.tensor([1.5, 5.0, 7.0]).std().item() / 3**0.5
    assert found["low"] == pytest.approx(4.5 - half, rel=1e-5)
    arrived = pickle.loads(pickle.dumps(metric.metric))
    assert arrived.group == 2
    metric.reset()
    assert metric.compute()["n"] == 0
    assert not metric.waiting


def test_an_image_given_again_waits_once() -> None:
    metric = pairs()
    feed(metric, given([1]))
    feed(metric, given([1]))
    assert [row[0] for row in metric.waiting] == ["image 1"]


def test_why_an_image_has_no_score() -> None:
    metric, batch = pairs(), given([1, 0, 2, 0])
    batch["names"] = list("abcd")
    batch["images"][0, 0, 0, 0] = torch.nan
    feed(metric, batch)  # without a: b with c, d waits
    assert metric.left_out == {"non-finite image": ["a"]}
    assert metric.per_image == {"b": 1.0, "c": 1.0}
    feed(metric, given([0]) | {"names": ["e"]})
    assert metric.left_out == {"non-finite image": ["a"], "zero map": ["d", "e"]}
    feed(metric, given([float("nan"), -1]) | {"names": ["f", "g"]})
    assert metric.left_out["non-finite map"] == ["f"]
    assert metric.left_out["zero map"] == ["d", "e", "g"]


def test_maps_are_measured_clamped_and_at_the_images_size() -> None:
    seen = []

    class Looks(Pairs):
        def evaluate(self, model, images, targets, explain, *, masks=None) -> Tensor:
            seen.append(explain(images, targets))
            seen.append(explain(images + 1, targets))
            return super().evaluate(model, images, targets, explain)

    metric = make("pairs", model=nn.Identity(), explain=lambda images, _: images[:, 0, :2, :2] - 0.5)
    metric.metric = Looks()
    batch = given([0, 0])
    batch["maps"] = torch.tensor([[[-4.0, 4.0]], [[2.0, 2.0]]])
    batch["names"] = ["a", "b"]
    feed(metric, batch)
    assert seen[0][0, 0].tolist() == [0.0, 1.0, 3.0, 4.0]
    assert seen[1].shape == (2, 4, 4)  # another picture: made by the method
    assert float(seen[1].mean()) == 0.5


def test_what_cannot_be_scored_is_an_error_in_a_sentence() -> None:
    metric = pairs()
    feed(metric, given([1]))
    wide = given([2]) | {"images": torch.zeros(1, 3, 6, 6)}
    with pytest.raises(ValueError, match="must have one size"):
        feed(metric, wide)
    with pytest.raises(ValueError, match="Images come as"):
        feed(pairs(), given([2]) | {"images": torch.zeros(1, 6, 6)})
    with pytest.raises(ValueError, match=r"2 images have as many scores, not \(1,\)"):
        feed(make("short", model=nn.Identity(), explain=lambda images, _: images[:, 0]), given([1, 2]))
    with pytest.raises(ValueError, match="refuses its options"):
        make("pairs", model=nn.Identity(), explain=len, width=3)


def test_classes_are_made_for_learnable_metrics_only() -> None:
    assert plain.of_pairs is plain.of_pairs
    assert plain.of_pairs.__doc__ == "…"
    for name in ("of_accuracy", "pairs", "of_"):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
            getattr(plain, name)
