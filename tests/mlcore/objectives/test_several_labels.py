"""Images with several labels: the losses by hand, their gradients, and who may lie beside whom (definitions §3)."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mlcore.objectives.base import Objective
from mlcore.objectives.batch import Batch
from mlcore.objectives.classification import binary_cross_entropy, classification_loss
from mlcore.objectives.collage import plan_collages
from mlcore.objectives.grid import GridConsistency
from mlcore.objectives.supervised import Supervised
from tests.mlcore.attribution.nets import Transparent, finite_differences
from tests.mlcore.objectives.test_grid import Doubling, pictures, reference, two_by_hand


def both_kinds() -> Batch:
    """`two_by_hand`, where the first image has class 2 besides its class 0."""
    batch = two_by_hand()
    batch.targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    return batch


def labelled(count: int = 6, classes: int = 3) -> Batch:
    """Pictures with one or two labels each; the class of the annotation is one of them."""
    batch = pictures(count)
    targets = F.one_hot(batch.labels, classes).double()
    targets[1::2] += F.one_hot((batch.labels[1::2] + 1) % classes, classes)
    batch.targets = targets
    return batch


def softplus(value: float) -> float:
    return math.log(1 + math.exp(value))


def test_binary_cross_entropy_by_hand() -> None:
    logits, targets = torch.tensor([[2.0, -1.0], [0.0, 0.5]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    # −ln σ(z) = softplus(−z) where the label is there, −ln(1 − σ(z)) = softplus(z) where it is not.
    expected = [(softplus(-2.0) + softplus(-1.0)) / 2, (math.log(2) + softplus(-0.5)) / 2]
    assert binary_cross_entropy(logits, targets).tolist() == pytest.approx(expected)
    batch = Batch.plain(torch.zeros(2, 3, 1, 1), torch.tensor([0, 1]), targets=targets)
    assert float(classification_loss(logits, batch, 80.0)) == pytest.approx(80 * sum(expected) / 2)
    batch.w_p = torch.tensor([0.4, 1.0])
    weighted = float(classification_loss(logits, batch, 80.0))
    assert weighted == pytest.approx(80 * (0.4 * expected[0] + expected[1]) / 2)
    with pytest.raises(ValueError, match=r"\(2, 2\) logits, \(2, 3\) targets"):
        binary_cross_entropy(logits, torch.zeros(2, 3))


def test_half_precision_is_summed_in_single() -> None:
    logits, targets = torch.full((1, 3), 9.5, dtype=torch.bfloat16), torch.ones(1, 3)
    found = binary_cross_entropy(logits, targets)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(softplus(-9.5), rel=1e-4)


def test_supervised_by_hand() -> None:
    model, batch = Transparent().double().eval(), both_kinds()
    step = Supervised().loss(model, batch)
    # Class scores (1.5, 0, 0) and (0.25, 0.5, 0), see the test of one label.
    first = (softplus(-1.5) + math.log(2) + math.log(2)) / 3
    second = (softplus(0.25) + softplus(-0.5) + math.log(2)) / 3
    assert float(step.total.detach()) == pytest.approx(80 * (first + second) / 2)
    assert float(Supervised(bce_weight=1.0).loss(model, batch).total.detach()) == pytest.approx((first + second) / 2)


@pytest.mark.parametrize("seed", range(6))
def test_grid_by_hand(seed: int) -> None:
    """As with one label each: the neighbour has not the class whose map it is, whatever else is there."""
    model, batch = Transparent().double().eval(), both_kinds()
    step = GridConsistency(grid_weight=2.0, bce_weight=10.0, seed=seed).loss(model, batch)
    assert float(step.terms["consistency"]) == pytest.approx((0.6 / 16) / 2, abs=1e-7)
    first = (softplus(-1.5) + math.log(2) + math.log(2)) / 3
    second = (softplus(0.25) + softplus(-0.5) + math.log(2)) / 3
    assert float(step.terms["classification"]) == pytest.approx(10 * (first + second) / 2)
    assert float(step.total.detach()) == pytest.approx(10 * (first + second) / 2 + 2 * 0.3 / 16, abs=1e-6)


def test_an_image_whose_class_all_others_have_gets_no_collage() -> None:
    model, batch = Transparent().double().eval(), both_kinds()
    assert batch.targets is not None
    batch.targets[1, 0] = 1.0  # the second has the first one's class too, but not the other way round
    step = GridConsistency(seed=1).loss(model, batch)
    assert [int(step.terms[name]) for name in ("images_in_collage", "images_without_collage")] == [1, 1]
    assert float(step.terms["consistency"]) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("drawn", [0, 2])
def test_the_map_is_that_of_the_drawn_class(drawn: int) -> None:
    model, batch = Transparent().double().eval(), both_kinds()
    batch.labels = torch.tensor([drawn, 1])
    step = GridConsistency(seed=1).loss(model, batch)
    # Of class 2 nothing is lit: the first image's map is dark, and the second one's costs nothing.
    assert int(step.terms["dark_maps"]) == (1 if drawn == 2 else 0)
    assert (float(step.terms["consistency"]) > 0.01) == (drawn == 0)


@pytest.mark.parametrize("curved", [False, True])
def test_the_term_is_its_definition(curved: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Image by image, with the neighbours that the targets allow."""
    torch.manual_seed(4)
    model, batch = Doubling(curved=curved).double().eval(), labelled()
    plan = plan_collages(batch.labels, batch.ids, seed=3, step=0, targets=batch.targets)
    assert not torch.equal(plan.sources, plan_collages(batch.labels, batch.ids, seed=3, step=0).sources)
    monkeypatch.setattr("tests.mlcore.objectives.test_grid.plan_collages", lambda *_, **__: plan)
    step = GridConsistency(seed=3).loss(model, batch)
    assert float(step.terms["consistency"]) == pytest.approx(float(reference(model, batch, seed=3).detach()), rel=1e-9)


@pytest.mark.parametrize("objective", [Supervised(), GridConsistency(seed=3, grid_weight=7.0)])
@pytest.mark.parametrize("curved", [False, True])
def test_the_gradient_is_that_of_the_loss(objective: Objective, curved: bool) -> None:
    torch.manual_seed(4)
    model, batch = Doubling(curved=curved).double().eval(), labelled()

    def value() -> float:
        if isinstance(objective, GridConsistency):
            objective.steps.zero_()
        return float(objective.loss(model, batch).total.detach())

    value()
    model.zero_grad()
    if isinstance(objective, GridConsistency):
        objective.steps.zero_()
    objective.loss(model, batch).total.backward()
    for _, parameter in model.named_parameters():
        assert torch.allclose(parameter.grad, finite_differences(value, parameter), rtol=1e-4, atol=1e-5)


def test_gradcheck_of_the_classification_loss() -> None:
    batch = labelled()
    logits = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: classification_loss(given, batch, 80.0), (logits,))


def random_labels(seed: int) -> tuple[Tensor, Tensor]:
    """Labels (B,) and targets (B, K): some of the classes each, the label among them."""
    generator = torch.Generator().manual_seed(seed)
    count = int(torch.randint(1, 24, (), generator=generator))
    classes = int(torch.randint(1, 7, (), generator=generator))
    targets = (torch.rand(count, classes, generator=generator) < 0.35).float()
    labels = torch.randint(classes, (count,), generator=generator)
    targets[torch.arange(count), labels] = 1.0
    return labels, targets


@pytest.mark.parametrize("seed", range(40))
def test_a_distractor_never_has_the_category(seed: int) -> None:
    labels, targets = random_labels(seed)
    ids = [f"image {number}" for number in range(len(labels))]
    found = plan_collages(labels, ids, seed=seed, step=3, targets=targets)
    for row in range(len(labels)):
        free = [one for one in range(len(labels)) if targets[one, labels[row]] == 0]
        assert (row in found.rows.tolist()) == bool(free), "left out only where everyone has the class"
    for row, quadrant, sources in zip(found.rows, found.quadrants, found.sources, strict=True):
        assert sources[quadrant] == row
        beside = [int(one) for place, one in enumerate(sources) if place != quadrant]
        assert all(targets[one, labels[row]] == 0 for one in beside)
        others = int((targets[:, labels[row]] == 0).sum())
        assert len(set(beside)) == min(3, others), "different ones, where there are enough"


@pytest.mark.parametrize("seed", range(10))
def test_with_one_label_each_the_collages_are_those_of_the_labels(seed: int) -> None:
    labels, _ = random_labels(seed)
    ids = [f"image {number}" for number in range(len(labels))]
    alone = plan_collages(labels, ids, seed=seed, step=1)
    told = plan_collages(labels, ids, seed=seed, step=1, targets=F.one_hot(labels, 7))
    assert all(torch.equal(getattr(alone, name), getattr(told, name)) for name in ("rows", "quadrants", "sources"))


def test_steps_draw_the_map_of_the_collage_to_that_of_the_image() -> None:
    """Beside the same steps with λ = 0."""
    ends = []
    for weight in (0.0, 200.0):
        torch.manual_seed(4)
        model, batch = Doubling(curved=False).double(), labelled()
        objective = GridConsistency(seed=3, grid_weight=weight, bce_weight=8.0)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(60):
            objective.steps.zero_()
            optimizer.zero_grad()
            step = objective.loss(model, batch)
            step.total.backward()
            optimizer.step()
        ends.append((float(step.terms["consistency"]), float(step.terms["classification"])))
    assert ends[1][0] < 0.7 * ends[0][0]
    assert ends[1][1] < 8 * math.log(2), "it learned the labels too"
