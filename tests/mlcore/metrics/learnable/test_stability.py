"""Terms of input stability and relative input stability, worked out by hand; their scores are the plain metrics'.

That the plain RIS is Quantus' is tested in tests/oracles/test_metrics_quantus.py
(test_relative_input_stability_to_1e_3); IS is HARMONY's own (definitions §5).
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mlcore.metrics import stability as plain
from mlcore.metrics.learnable.stability import InputStability, RelativeInputStability, _Stability
from tests.mlcore.metrics.learnable.tuning import (
    channel_step,
    edges,
    explainer,
    photographs,
    score,
    toy,
    tuned,
)

KINDS = pytest.mark.parametrize("make", [InputStability, RelativeInputStability], ids=["is", "ris"])
Make = Callable[..., _Stability]
CLASSES_OF = torch.tensor([0, 2, 1])


def clean_maps(images: Tensor) -> Tensor:
    return images[torch.arange(3), CLASSES_OF].clamp(min=0)


def by_hand(make: Make, images: Tensor, copies: Tensor, rows: tuple[int, ...] = (0, 1, 2)) -> float:
    """The mean of one copy's changes for `ChannelMeans`, whose maps are the class's channel."""
    changes = []
    for row in rows:
        x, copy, target = images[row], copies[row], int(CLASSES_OF[row])
        r = x[target].clamp(min=0) / x[target].clamp(min=0).sum()
        noisy = copy[target].clamp(min=0) / copy[target].clamp(min=0).sum()
        if make is InputStability:
            above = ((noisy - r) / (r + 1e-9)).abs().sum()
            changes.append(float(above / (((copy - x) / (x + 1e-9)).abs().sum() + 1e-9)))
        else:
            above = ((noisy - r) / torch.where(r == 0, 1e-6, r)).square().sum().sqrt()
            changes.append(float(above / ((copy - x) / torch.where(x == 0, 1e-6, x)).square().sum().sqrt()))
    return sum(changes) / len(changes)


@KINDS
def test_the_term_by_hand(make: Make) -> None:
    images, metric = photographs(3), make()
    step = channel_step(images, CLASSES_OF, clean_maps(images), agreement=0.3)
    found = metric.loss(step)
    copies = metric.perturb(images, clean_maps(images), torch.Generator().manual_seed(5))
    assert found.item() == pytest.approx(by_hand(make, images, copies), rel=1e-9)


def test_noise_is_as_published() -> None:
    images = torch.zeros(2, 3, 64, 64)
    noise = InputStability().perturb(images, images[:, 0], torch.Generator().manual_seed(0))
    assert float(noise.std()) == pytest.approx(0.05, rel=0.03)
    assert float(noise.mean()) == pytest.approx(0, abs=1e-3)
    noise = RelativeInputStability().perturb(images, images[:, 0], torch.Generator().manual_seed(0))
    assert 0.02 <= float(noise.min()) < 0.021
    assert 0.199 < float(noise.max()) <= 0.2
    assert not torch.equal(noise[0], noise[1])


@KINDS
def test_zeros_of_images_and_maps_are_divided_by_epsilon(make: Make) -> None:
    images = photographs(3).clamp(min=-0.5)
    images[:, :, 2:4, 3] = 0.0
    metric = make()
    step = channel_step(images, CLASSES_OF, clean_maps(images))
    copies = metric.perturb(images, step.maps, torch.Generator().manual_seed(5))
    assert metric.loss(step).item() == pytest.approx(by_hand(make, images, copies), rel=1e-9)


@KINDS
def test_the_gradient_runs_through_the_noisy_copy_alone(make: Make) -> None:
    """r̃ of a method with a bend, r fixed: by differences of the one parameter."""
    images, metric = photographs(3), make()

    def step_at(power: Tensor) -> tuple[_Stability, Tensor]:
        maps = clean_maps(images).requires_grad_()
        step = channel_step(images, CLASSES_OF, maps)
        step.explain = lambda asked, classes: asked[torch.arange(3), classes].clamp(min=1e-3) ** power
        return metric.loss(step), maps

    power = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    found, maps = step_at(power)
    found.backward()
    assert maps.grad is None
    assert not metric.trains_maps
    with torch.no_grad():
        around = [step_at(power + at)[0].item() for at in (-1e-6, 1e-6)]
    assert power.grad.item() == pytest.approx((around[1] - around[0]) / 2e-6, rel=1e-4)


@KINDS
def test_the_same_chance_gives_the_same_value(make: Make) -> None:
    images = photographs(3)
    step = channel_step(images, CLASSES_OF, clean_maps(images))
    again = channel_step(images, CLASSES_OF, clean_maps(images))
    first = make().loss(step).item()
    assert make().loss(again).item() == first
    assert make().loss(again).item() != first  # the generator has gone on


@KINDS
def test_maps_that_say_nothing_count_as_nothing(make: Make) -> None:
    images, metric = photographs(3), make()
    maps = clean_maps(images)
    maps[1] = 0.0
    step = channel_step(images, CLASSES_OF, maps)
    copies = metric.perturb(images, maps, torch.Generator().manual_seed(5))
    assert metric.loss(step).item() == pytest.approx(by_hand(make, images, copies, rows=(0, 2)), rel=1e-9)
    for nothing in (torch.zeros_like(maps), torch.full_like(maps, torch.nan)):
        step = channel_step(images, CLASSES_OF, nothing)
        term = metric.loss(step)
        assert (term.item(), term.shape) == (0.0, ())


@KINDS
def test_a_copys_map_may_be_zero(make: Make) -> None:
    """r̃ = 0 stays 0: the change is that of the whole map, and the gradient is finite."""
    images, metric = photographs(3), make()
    step = channel_step(images, CLASSES_OF, clean_maps(images))
    scale = nn.Parameter(torch.tensor(-1.0, dtype=torch.float64))
    step.explain = lambda asked, classes: (scale * asked[torch.arange(3), classes].abs()).clamp(min=0)
    term = metric.loss(step)
    term.backward()
    assert bool(torch.isfinite(term))
    assert scale.grad.item() == 0.0


@KINDS
def test_a_method_that_never_changes_is_perfectly_stable(make: Make) -> None:
    images = photographs(3)
    step = channel_step(images, CLASSES_OF, clean_maps(images))
    held = clean_maps(images).requires_grad_()
    step.explain = lambda asked, classes: held
    term = make().loss(step)
    term.backward()
    assert term.item() == 0.0
    assert bool(torch.isfinite(held.grad).all())


@KINDS
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_float32_in_any_layout_gives_the_same(make: Make, layout: torch.memory_format) -> None:
    images = photographs(3).abs() + 0.3  # no pixel that is divided by is near 0
    expected = make().loss(channel_step(images, CLASSES_OF, clean_maps(images))).item()
    single = images.float().contiguous(memory_format=layout)
    found = make().loss(channel_step(single, CLASSES_OF, clean_maps(single)))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected, rel=1e-4)


@KINDS
def test_the_score_is_the_plain_metrics(make: Make) -> None:
    model, images = toy(), photographs()
    targets, explain = model(images).argmax(1), explainer(model)
    metric = make(copies=3, seed=4)
    metric_of = getattr(plain, make.__name__)
    known = metric_of(model, explain, copies=3, seed=4)
    known.update(explain(images, targets), images, targets, list("abcdef"))
    found = metric.evaluate(model, images, targets, explain)
    assert (found.dtype, found.requires_grad) == (torch.float64, False)
    assert found.tolist() == list(known.per_image.values())
    assert metric.name == known.name
    assert metric.better_higher is known.higher_is_better
    assert (make().copies, make().seed) == (metric_of(model, explain).copies, 0)

    def silent(asked: Tensor, classes: Tensor) -> Tensor:
        maps = explain(asked, classes)
        return maps * 0 if len(asked) < 6 else maps * (torch.arange(6) != 2)[:, None, None]

    assert metric.evaluate(model, images, targets, silent).isnan().tolist() == [False] * 2 + [True] + [False] * 3


@pytest.mark.parametrize(
    ("make", "net", "weight"),
    [(InputStability, edges, 0.1), (RelativeInputStability, lambda: toy(1), 1e-3)],
    ids=["is", "ris"],
)
def test_ten_steps_of_tuning_improve_the_score(make: Make, net: Callable[[], nn.Module], weight: float) -> None:
    """c is larger than the published 5e-6, and the rate too, for ten steps are not 20,000.

    The clean map has no gradient, so the term is no gradient of the score: with other weights it may get worse.
    """
    original, images, metric = net(), photographs(), make(copies=4)
    before = {name: value.clone() for name, value in original.state_dict().items()}
    model = tuned(original, metric, images, weight=weight, rate=5e-3)
    first, _ = score(metric, original, original, images)
    last, agreement = score(metric, model, original, images)
    assert last < 0.95 * first
    assert agreement == 1.0
    assert all(torch.equal(value, before[name]) for name, value in original.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items() if "running" in name)


def test_options_are_checked() -> None:
    for make in (InputStability, RelativeInputStability):
        with pytest.raises(ValueError, match="1 noisy copy"):
            make(copies=0)
    with pytest.raises(ValueError, match="deviation"):
        InputStability(noise=-0.1)
