"""RMA, Focus, Complexity and Combined: terms by hand, scores as the plain metrics', ten steps (definitions §5)."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlcore.catalogue import LEARNABLE
from mlcore.metrics import make as make_plain
from mlcore.metrics import score
from mlcore.metrics.base import feed
from mlcore.metrics.learnable.base import LearnableMetric, Step
from mlcore.metrics.learnable.combined import Combined
from mlcore.metrics.learnable.complexity import Complexity
from mlcore.metrics.learnable.focus import Focus
from mlcore.metrics.learnable.registry import make
from mlcore.metrics.learnable.rma import RMA
from mlcore.metrics.learnable.toy import classifier, pictures
from mlcore.objectives.batch import Batch
from mlcore.objectives.harmony import Harmony
from tests.mlcore.attribution.test_side_effects import assert_same, traces
from tests.mlcore.metrics.asking import ChannelMeans
from tests.mlcore.metrics.test_focus import coloured

OURS = ("rma", "focus", "complexity", "combined")


def toy_batch(count: int = 16) -> Batch:
    images, labels, masks = pictures(count)
    batch = Batch.plain(images, labels)
    batch.maps, batch.has_map = masks.to(torch.int8), torch.ones(count, dtype=torch.bool)
    return batch


def step_of_maps(maps: Tensor, masks: Tensor | None = None, **more: Any) -> Step:
    """A step of which only the maps and masks matter."""
    count = len(maps)
    images, logits = torch.zeros(count, 3, *maps.shape[1:]), torch.zeros(count, 2)
    given: dict[str, Any] = {
        "model": nn.Identity(), "images": images, "targets": torch.zeros(count, dtype=torch.int64),
        "original": logits, "logits": logits, "maps": maps, "explain": lambda *_: maps, "masks": masks,
    }  # fmt: skip
    return Step(**given | more)


def test_rma_by_hand() -> None:
    maps = torch.tensor([[[3.0, 1.0]], [[0.0, 4.0]], [[0.0, 0.0]], [[1.0, 1.0]], [[torch.nan, 1.0]]]).double()
    maps.requires_grad_()
    masks = torch.tensor([[[True, False]]] * 3 + [[[False, False]], [[True, True]]])
    term = RMA().loss(step_of_maps(maps, masks))
    # The third map shows nothing, the fourth picture has no object, the fifth map is broken.
    assert float(term.detach()) == pytest.approx(1 - (3 / (4 + 2e-9) + 0) / 2, abs=1e-12)
    term.backward()
    assert torch.isfinite(maps.grad).all()
    # ∂/∂r of −r·m/Σ: −(Σ − r₀)/Σ² inside, r₀/Σ² outside, a half each for the mean of two.
    assert maps.grad[0, 0].tolist() == pytest.approx([-1 / 16 / 2, 3 / 16 / 2], abs=1e-9)
    assert float(maps.grad[2:].abs().sum()) == 0
    for masks_missing in (lambda: RMA().loss(step_of_maps(maps)), lambda: evaluated("rma", maps.detach(), None)):
        with pytest.raises(ValueError, match="needs masks"):
            masks_missing()
    assert float(RMA().loss(step_of_maps(maps[2:].detach(), masks[2:]))) == 0.0


def evaluated(name: str, maps: Tensor, masks: Tensor | None) -> Tensor:
    images = torch.zeros(len(maps), 3, *maps.shape[1:])
    return make(name).evaluate(nn.Identity(), images, torch.zeros(len(maps)).long(), lambda *_: maps, masks=masks)


def test_complexity_by_hand() -> None:
    maps = torch.tensor([[[4.0, 1.0, 0.0, 1.0]], [[0.0, 0.0, 0.0, 2.0]], [[0.0] * 4], [[torch.inf, 0.0, 0.0, 0.0]]])
    maps = maps.double().requires_grad_()
    term = Complexity().loss(step_of_maps(maps))
    assert float(term.detach()) == pytest.approx((6 / 4 / 4 + 2 / 4 / 2) / 2)
    term.backward()
    assert torch.isfinite(maps.grad).all()
    # Of mean/max: 1/(4·max) where |r| has a slope, and −mean/max² more at the maximum.
    assert maps.grad[0, 0].tolist() == pytest.approx([(1 / 16 - 1.5 / 16) / 2, 1 / 32, 0, 1 / 32])
    found = evaluated("complexity", maps.detach(), None)
    assert found[:2].tolist() == [0.75, 0.25]
    assert found[2:].isnan().all()


class Channels:
    """`Step.explain` for `ChannelMeans`: the class's own channel, clamped; counts the pictures it was asked about."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.asked = model, 0

    def __call__(self, images: Tensor, targets: Any) -> Tensor:
        self.asked += len(images)
        classes = targets(self.model(images)) if callable(targets) else targets
        return self.model.scale * images[torch.arange(len(images)), classes].clamp(min=0)


def focus_step(images: Tensor) -> tuple[Step, Channels]:
    model = ChannelMeans()
    explain = Channels(model)
    logits = model(images)
    step = Step(model, images, logits.argmax(1), logits.detach(), logits, images[:, 0], explain)
    return step, explain


def test_focus_by_hand() -> None:
    images = coloured(0, 1, 2, 2)
    images[3] *= 3  # class 2 wins on the mosaic; the fourth image shows it best and holds 3/4 of its relevance
    step, explain = focus_step(images)
    term = Focus().loss(step)
    assert float(term.detach()) == pytest.approx(1 - 3 / 4, abs=1e-6)
    assert explain.asked == 1  # one pass for class and map
    term.backward()
    scores = Focus().evaluate(step.model, images, step.targets, explain)
    assert scores.tolist() == [pytest.approx(3 / 4)] * 4


def test_focus_leaves_out_what_makes_no_four() -> None:
    images = torch.cat([coloured(0, 1, 2, 2), coloured(1)])
    term = Focus().loss(focus_step(images)[0])
    assert float(term.detach()) == float(Focus().loss(focus_step(images[:4])[0]).detach())
    step, explain = focus_step(images)
    assert Focus().evaluate(step.model, images, step.targets, explain).isnan().tolist() == [False] * 4 + [True]
    few, explain = focus_step(images[:3])
    assert float(Focus().loss(few)) == 0.0
    assert explain.asked == 0
    # A mosaic whose map shows nothing is left out, and its gradient is no NaN.
    step, _ = focus_step(images[:4])
    step.explain = lambda pictures, choose: 0 * step.model.scale * (pictures[:, 0] + choose(step.logits[:1])[0])
    term = Focus().loss(step)
    term.backward()
    assert float(term.detach()) == 0.0
    assert torch.isfinite(step.model.scale.grad)


def test_combined_is_the_weighted_sum() -> None:
    batch, model = toy_batch(8), classifier()
    objectives = {name: Harmony(metric=name) for name in OURS}
    options = {"metric": "combined", "metric_options": "parts=rma=0.5,complexity=2"}
    objectives["two"] = Harmony(**options)
    found = {}
    for name, objective in objectives.items():
        objective.prepare(model)
        found[name] = (float(objective.loss(model, batch).terms["term"]), objective.measure(model, batch)["score"])
    assert found["combined"][0] == pytest.approx(0.05 * found["rma"][0] + 0.01 * found["focus"][0])
    assert torch.allclose(found["combined"][1], 0.05 * found["rma"][1] + 0.01 * found["focus"][1])
    assert found["two"][0] == pytest.approx(0.5 * found["rma"][0] + 2 * found["complexity"][0])
    assert torch.allclose(found["two"][1], 0.5 * found["rma"][1] - 2 * found["complexity"][1])
    assert objectives["combined"].term_weight == 1.0
    assert (Combined().needs_masks, Combined().group, Combined().trains_maps) == (True, 4, True)
    alone = Combined("focus=1")
    assert (alone.needs_masks, alone.trains_maps) == (False, False)
    with pytest.raises(ValueError, match="“luck=1” is no metric with its weight"):
        make("combined", "parts=luck=1")


def test_combined_asks_for_nothing_twice() -> None:
    batch, model = toy_batch(8), classifier()
    objective = Harmony(metric="combined", metric_options="parts=rma=1,complexity=1,focus=1")
    objective.prepare(model)
    tuned: list[int] = []
    original: list[int] = []
    model.register_forward_hook(lambda _module, inputs, _output: tuned.append(len(inputs[0])))
    objective.original.register_forward_hook(lambda _module, inputs, _output: original.append(len(inputs[0])))
    objective.loss(model, batch)
    assert (tuned, original) == ([8, 2], [1] * 8)  # the batch and its two mosaics; each image by itself


def test_maps_that_nobody_looks_at_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, model = toy_batch(8), classifier()
    for parts, expected in (("focus=1", [2]), ("focus=1,complexity=1", [8, 2])):
        objective = Harmony(metric="combined", metric_options=f"parts={parts}")
        objective.prepare(model)
        made, attribution = [], objective._attribution
        assert attribution is not None
        forward = attribution.forward

        def counted(images: Tensor, *given: Any, made=made, forward=forward, **more: Any) -> Any:
            made.append(len(images))
            return forward(images, *given, **more)

        monkeypatch.setattr(attribution, "forward", counted)
        terms = objective.loss(model, batch).terms
        assert made == expected
        assert ("dark_maps" in terms) == (len(expected) == 2)
        assert float(terms["term"]) > 0


@pytest.mark.parametrize("name", OURS)
def test_scores_are_the_plain_metrics(name: str) -> None:
    batch, model = toy_batch(8), classifier()
    objective = Harmony(metric=name)
    objective.prepare(model)
    with torch.no_grad():
        model.classifier[0].weight *= 1.1
    model(batch.images).sum().backward()
    before = traces(model)
    scores = objective.measure(model, batch)["score"]
    assert_same(before, traces(model))
    attribution = objective._attribution
    assert attribution is not None
    targets = objective.original(batch.images).argmax(1)
    names = [str(number) for number in range(8)]
    given = {
        "maps": torch.nn.functional.interpolate(
            attribution.explain(batch.images, targets).clamp(min=0)[:, None], size=(24, 24), mode="bilinear"
        )[:, 0],
        "names": names, "masks": batch.maps > 0, "images": batch.images, "targets": targets,
    }  # fmt: skip
    plain = make_plain(LEARNABLE[name].plain, model=model, explain=attribution.explain)
    feed(plain, given)
    assert scores.dtype == torch.float64
    assert scores.tolist() == pytest.approx([plain.per_image[one] for one in names], abs=1e-7)


@pytest.mark.parametrize("name", ["rma", "complexity"])
def test_a_batch_is_its_images_one_by_one(name: str) -> None:
    batch, model = toy_batch(4), classifier()
    objective = Harmony(metric=name)
    objective.prepare(model)
    whole = objective.measure(model, batch)["score"]
    terms = []
    for row in range(4):
        one = Batch.plain(batch.images[row : row + 1], batch.labels[row : row + 1])
        one.maps, one.has_map = batch.maps[row : row + 1], batch.has_map[row : row + 1]
        assert float(objective.measure(model, one)["score"]) == pytest.approx(float(whole[row]), abs=1e-7)
        terms.append(float(objective.loss(model, one).terms["term"]))
    assert float(objective.loss(model, batch).terms["term"]) == pytest.approx(sum(terms) / 4)


@pytest.mark.parametrize("name", OURS)
def test_ten_steps_improve_the_score_while_both_classifiers_agree(name: str) -> None:
    batch, model = toy_batch(), classifier()
    objective = Harmony(metric=name, term_weight=1.0)
    objective.prepare(model)
    before = float(objective.measure(model, batch)["score"].mean())
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(10):
        optimizer.zero_grad()
        objective.loss(model, batch).total.backward()
        optimizer.step()
    after = objective.measure(model, batch)
    gain = float(after["score"].mean()) - before
    assert (gain if objective.higher_is_better else -gain) > (0.004 if name == "combined" else 0.05)
    assert float(after["agreement"].mean()) == 1.0


@pytest.mark.parametrize("name", ["rma", "complexity", "focus"])
def test_the_terms_gradient_is_exact_through_grad_cam(name: str) -> None:
    """By finite differences of the head's and the last convolution's weights; smooth where no maximum changes."""
    batch, model = toy_batch(4), classifier()
    objective = Harmony(metric=name, keep_weight=0.0, term_weight=1.0)
    objective.prepare(model)
    weights = [model.classifier[3].weight, model.features[4].weight]
    gradients = torch.autograd.grad(objective.loss(model, batch).total, weights)
    generator = torch.Generator().manual_seed(1)
    for weight, gradient in zip(weights, gradients, strict=True):
        direction = torch.randn(weight.shape, dtype=torch.float64, generator=generator)
        values = []
        for sign in (1e-6, -2e-6):
            with torch.no_grad():
                weight += sign * direction
            values.append(float(objective.loss(model, batch).total.detach()))
        with torch.no_grad():
            weight += 1e-6 * direction
        expected = (values[0] - values[1]) / 2e-6
        assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-3, abs=1e-7)
        assert abs(expected) > 1e-5


def test_gradcheck_of_the_terms() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(3, 3, 3, dtype=torch.float64, generator=generator).add_(0.1).requires_grad_()
    masks = torch.rand(3, 3, 3, generator=generator) > 0.5
    for metric in (RMA(), Complexity()):
        assert torch.autograd.gradcheck(lambda given, m=metric: m.loss(step_of_maps(given, masks)), (maps,))


def test_nothing_but_the_images_is_shown_where_there_is_nothing_else() -> None:
    images, maps = torch.rand(5, 3, 4, 4), torch.rand(5, 4, 4)
    metrics: list[LearnableMetric] = [RMA(), Complexity(), Combined()]
    assert all(metric.perturb(images, maps) is images for metric in metrics)
    assert Focus().perturb(images, maps).shape == (1, 3, 4, 4)


def test_the_combined_metric_is_scored_by_name() -> None:
    images, _, masks = pictures(8)
    model = classifier()
    targets = model(images).argmax(1)
    objective = Harmony(metric="rma")
    objective.prepare(model)
    attribution = objective._attribution
    assert attribution is not None
    maps = attribution.explain(images, targets)
    given: dict[str, Any] = {"images": images, "targets": targets, "masks": masks, "model": model,
                             "explain": attribution.explain}  # fmt: skip
    found = score("combined", maps, **given)
    assert (found["n"], found["left_out"]) == (8, {})
    assert found["low"] < found["value"] < found["high"]
    only = score("combined", maps, **given, parts="rma=1")
    large = torch.nn.functional.interpolate(maps[:, None], size=(24, 24), mode="bilinear")[:, 0]
    plain = score("content_heat_map", large, masks=masks)
    assert only["per_image"] == pytest.approx(plain["per_image"], abs=1e-7)
    assert score("combined", maps[:6], **given | {"images": images[:6], "targets": targets[:6], "masks": masks[:6]})[
        "left_out"
    ] == {"too few images to be scored together": 2}
    with pytest.raises(ValueError, match="as large as the images"):
        score("combined", maps, **given | {"masks": masks[:, :12]})
