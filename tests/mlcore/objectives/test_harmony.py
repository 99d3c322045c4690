"""HARMONY: keep and term by hand, what is asked how often, what a resumed run goes on from (definitions §5)."""

import copy
import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from mlcore.attribution.maps import upsample
from mlcore.catalogue import LEARNABLE
from mlcore.catalogue.objectives import TUNED_THROUGH
from mlcore.metrics.content_heat_map import ContentHeatMap
from mlcore.metrics.learnable.toy import classifier, pictures
from mlcore.objectives import OBJECTIVES
from mlcore.objectives.batch import Batch
from mlcore.objectives.harmony import Harmony, outputs_apart
from tests.mlcore.attribution.nets import Curved, Straight, Transparent, drawn_batch, finite_differences
from tests.mlcore.attribution.test_side_effects import assert_same, traces


class TinyVGG(nn.Module):
    """Convolutions with BatchNorm, ReLUs in place, pooling and dropout, as VGG with BatchNorm has them."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Linear(8 * 4, 10), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(10, classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        features = nn.functional.adaptive_avg_pool2d(self.features(images), 2)
        return self.classifier(features.flatten(1))


def tiny() -> TinyVGG:
    """In eval mode; its classes are told apart, and no statistic of its BatchNorm is 0 or 1."""
    model = TinyVGG().train()
    pictures = drawn_batch(count=8, dtype=torch.float32).images
    with torch.no_grad():
        for _ in range(20):
            model(pictures)
        model.eval().classifier[3].weight *= 100
        model.classifier[3].bias -= model(pictures).mean(0)
    return model


def count_passes(module: nn.Module) -> list[int]:
    """How many images each forward pass from now on has."""
    seen: list[int] = []
    module.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    return seen


def masked(count: int = 2, size: int = 2) -> Batch:
    """Pictures that are their own map of class 0 for `Transparent`; the object is the first column."""
    pictures = torch.zeros(count, 3, size, size, dtype=torch.float64)
    pictures[:, 0] = torch.tensor([[4.0, 2.0], [-1.0, 1.0]])
    batch = Batch.plain(pictures, torch.zeros(count, dtype=torch.int64))
    batch.maps = torch.zeros(count, size, size, dtype=torch.int8)
    batch.maps[:, :, 0] = 1
    batch.has_map = torch.ones(count, dtype=torch.bool)
    return batch


def test_the_recipe_names_it() -> None:
    recipe = {"metric": "rma", "method": "grad_cam", "term_weight": 0.0, "keep_weight": 2.0, "object_source": "maps"}
    objective = OBJECTIVES["harmony"].from_recipe(recipe | {"metric_options": "", "layer": "", "epochs": 3})
    assert (objective.mode, objective.term_weight, objective.keep_weight) == ("eval", 0.05, 2.0)
    assert objective.term_weight == LEARNABLE["rma"].term_weight
    assert objective.higher_is_better
    assert Harmony(metric="rma", term_weight=3).term_weight == 3


def test_keep_and_term_by_hand() -> None:
    model = Transparent().double().eval()
    objective = Harmony(metric="rma", keep_weight=2.0)
    objective.prepare(model)
    with torch.no_grad():
        model.fc.weight[0, 0] = 3.0
        model.fc.weight[1, 0] = 4.0
    batch = masked()
    batch.images[1, 0] = 0.0
    batch.images[1, 2] = 1.0  # both classifiers see class 2
    step = objective.loss(model, batch)
    # Logits (1.5, 0, 0) → (4.5, 6, 0): cosine 0.6. The second picture's do not change.
    assert float(step.terms["keep"]) == pytest.approx((1 - (0.6 + 1) / 2) / 2)
    # Maps: ×3/4 of 4, 2, 0, 1, of which 4 lies inside; even, of which half does.
    shares = [3.0 / (0.75 * 7 + 4e-9), 0.5 / (1 + 4e-9)]
    assert float(step.terms["term"]) == pytest.approx(1 - sum(shares) / 2, abs=1e-12)
    assert float(step.terms["agreement"]) == 0.5
    assert (int(step.terms["images_without_mask"]), int(step.terms["dark_maps"])) == (0, 0)
    total = 2 * float(step.terms["keep"]) + 0.05 * float(step.terms["term"])
    assert float(step.total.detach()) == pytest.approx(total)
    assert torch.equal(step.logits, model(batch.images))
    step.total.backward()
    assert float(model.fc.weight.grad.abs().sum()) > 0


def test_outputs_apart_by_hand() -> None:
    original = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    tuned = torch.tensor([[5.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    assert outputs_apart(original, tuned).tolist() == pytest.approx([0.0, 0.5, 1.0])
    assert outputs_apart(original.bfloat16(), tuned.bfloat16()).dtype == torch.float32


def test_images_without_an_object_count_for_nothing_but_the_outputs() -> None:
    model = Transparent().double().eval()
    whole, some = masked(1), masked(4)
    some.maps[1] = 0
    some.maps[2] = -1
    some.has_map[3] = False
    step = Harmony(metric="rma").loss(model, some)
    assert int(step.terms["images_without_mask"]) == 3
    assert float(step.terms["term"]) == float(Harmony(metric="rma").loss(model, whole).terms["term"])
    found = Harmony(metric="rma").measure(model, some)["score"]
    assert found.isnan().tolist() == [False, True, True, True]
    some.maps = None
    objective = Harmony(metric="rma")
    step = objective.loss(model, some)
    assert (float(step.terms["term"]), int(step.terms["images_without_mask"])) == (0.0, 4)
    step.total.backward()
    assert objective.measure(model, some)["score"].isnan().all()


def test_a_map_of_nothing_is_counted_and_poisons_no_gradient() -> None:
    model, batch = Transparent().double().eval(), masked()
    batch.images[1] = -1.0
    step = Harmony(metric="rma").loss(model, batch)
    assert int(step.terms["dark_maps"]) == 1
    assert float(step.terms["term"]) == pytest.approx(1 - 4 / 7)
    step.total.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize("kind", [Straight, Curved])
def test_the_gradient_is_that_of_the_loss(kind: type[nn.Module]) -> None:
    torch.manual_seed(4)
    model, batch = kind().double().eval(), drawn_batch()
    objective = Harmony(metric="rma", term_weight=1.0)
    objective.prepare(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, dtype=torch.float64)
    objective.loss(model, batch).total.backward()
    for name, parameter in model.named_parameters():
        expected = finite_differences(lambda: float(objective.loss(model, batch).total.detach()), parameter)
        assert torch.allclose(parameter.grad, expected, rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize("method", TUNED_THROUGH)
def test_every_method_can_be_tuned_through(method: str) -> None:
    model = tiny()
    batch = drawn_batch(dtype=torch.float32)
    objective = Harmony(metric="rma", method=method, keep_weight=0.0)
    objective.prepare(model)
    step = objective.loss(model, batch)
    assert 0 < float(step.terms["term"]) < 1
    step.total.backward()
    found = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in found)
    assert sum(float(gradient.abs().sum()) for gradient in found) > 0
    assert 0 <= float(objective.measure(model, batch)["score"].mean()) <= 1


@pytest.mark.parametrize("method", TUNED_THROUGH)
@pytest.mark.parametrize("metric", [name for name in LEARNABLE if name != "rma"])
def test_every_metric_can_be_tuned_for_through_every_method_in_mixed_precision(metric: str, method: str) -> None:
    images, labels, masks = pictures(4)
    model, batch = classifier().float(), Batch.plain(images.float(), labels)
    batch.maps, batch.has_map = masks.to(torch.int8), torch.ones(4, dtype=torch.bool)
    options = {"input_stability": "copies=2", "relative_input_stability": "copies=2"}.get(metric, "")
    objective = Harmony(metric=metric, method=method, metric_options=options, keep_weight=0.0)
    objective.prepare(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        step = objective.loss(model, batch)
    step.total.backward()
    found = sum(float(parameter.grad.abs().sum()) for parameter in model.parameters() if parameter.grad is not None)
    assert 0 < found < math.inf
    assert torch.isfinite(objective.measure(model, batch)["score"]).all()


@pytest.mark.parametrize("method", TUNED_THROUGH)
def test_a_batch_costs_one_pass_of_each_classifier(method: str) -> None:
    model, batch = tiny(), drawn_batch(dtype=torch.float32)
    objective = Harmony(metric="rma", method=method)
    objective.prepare(model)
    tuned, original = count_passes(model), count_passes(objective.original)
    objective.loss(model, batch)
    assert (tuned, original) == ([3], [1, 1, 1]), "the original is asked once an image, by itself"
    objective.measure(model, batch)
    assert (tuned, original) == ([3, 3], [1, 1, 1]), "and not again about images that it has seen"


def test_the_original_is_never_trained_and_never_saved() -> None:
    model, batch = tiny(), drawn_batch(dtype=torch.float32)
    model.classifier[0].weight.grad = torch.ones_like(model.classifier[0].weight)
    objective = Harmony(metric="rma")
    objective.prepare(model)
    before = copy.deepcopy(objective.original.state_dict())
    optimizer = torch.optim.Adam([*model.parameters(), *objective.parameters()], lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        objective.loss(model, batch).total.backward()
        optimizer.step()
    objective.train()
    for name, value in objective.original.state_dict().items():
        assert torch.equal(value, before[name])
    assert not torch.equal(model.classifier[0].weight, before["classifier.0.weight"])
    assert not any(parameter.requires_grad for parameter in objective.original.parameters())
    assert all(parameter.grad is None for parameter in objective.original.parameters())
    assert not objective.original.training
    assert list(objective.parameters()) == []
    assert set(objective.state_dict()) == {"seed", "steps", "previous"}


def test_measuring_is_the_plain_metrics_value_and_leaves_no_trace() -> None:
    model, batch = tiny(), drawn_batch(dtype=torch.float32)
    objective = Harmony(metric="rma")
    objective.prepare(model)
    model.eval()(batch.images).sum().backward()
    model.train()
    with torch.no_grad():
        model.classifier[3].bias += torch.tensor([2.0, 0.0, 0.0])
    before = traces(model)
    found = objective.measure(model, batch)
    assert_same(before, traces(model))
    model.eval()
    targets = objective.original(batch.images).argmax(1)
    attribution = objective._attribution
    assert attribution is not None
    maps = upsample(attribution.explain(batch.images, targets).clamp(min=0), (20, 20))
    plain = ContentHeatMap()
    plain.update(maps, batch.maps > 0, list("abc"))
    assert found["score"].tolist() == list(plain.per_image.values())
    assert (found["score"].dtype, found["agreement"].dtype) == (torch.float64, torch.float64)
    assert found["agreement"].tolist() == (model(batch.images).argmax(1) == targets).double().tolist()
    assert 0 < float(found["agreement"].mean()) < 1


class Chance(nn.Module):
    """What the metric of a step was given."""

    def __init__(self, objective: Harmony) -> None:
        super().__init__()
        self.drawn: list[float] = []
        self.agreed: list[float] = []
        self.inner = objective.metric.loss
        objective.metric.loss = self  # type: ignore[method-assign,assignment]

    def forward(self, step) -> Tensor:
        self.drawn.append(float(torch.rand((), generator=step.generator)))
        self.agreed.append(step.agreement)
        return self.inner(step)


def test_a_resumed_run_goes_on_with_the_same_chance_and_agreement() -> None:
    model, batch = tiny(), drawn_batch(dtype=torch.float32)
    torch.manual_seed(11)
    objective = Harmony(metric="rma")
    objective.prepare(model)
    whole = Chance(objective)
    objective.loss(model, batch)
    with torch.no_grad():
        model.classifier[3].bias += torch.tensor([2.0, 0.0, 0.0])
    objective.loss(model, batch)
    kept = copy.deepcopy(objective.state_dict())
    objective.loss(model, batch)
    torch.manual_seed(99)
    resumed = Harmony(metric="rma")
    resumed.prepare(objective.original)
    later = Chance(resumed)
    resumed.load_state_dict(kept)
    resumed.loss(model, batch)
    assert len(set(whole.drawn)) == 3
    assert later.drawn == whole.drawn[2:]
    assert whole.agreed[:2] == [1.0, 1.0]
    assert later.agreed == whole.agreed[2:]
    assert 0 < later.agreed[0] < 1
    again = Harmony(metric="rma", seed=11)
    again.prepare(objective.original)
    third = Chance(again)
    again.loss(model, batch)
    assert third.drawn == whole.drawn[:1]


def test_ten_steps_improve_the_score_while_both_agree() -> None:
    model = tiny()
    batch = drawn_batch(count=8, dtype=torch.float32)
    objective = Harmony(metric="rma", term_weight=1.0)
    objective.prepare(model)
    before = objective.measure(model, batch)["score"].nanmean()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(10):
        optimizer.zero_grad()
        objective.loss(model, batch).total.backward()
        optimizer.step()
    after = objective.measure(model, batch)
    assert float(after["score"].nanmean()) > float(before) + 0.01
    assert float(after["agreement"].mean()) == 1.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metric": "luck"}, "There is no learnable metric “luck”; there are combined, "),
        ({"method": "luck"}, "There is no attribution method “luck”"),
        ({"method": "rise"}, "RISE cannot be trained through; these can: grad_cam"),
        ({"method": "input_x_gradient", "layer": "features"}, "looks at the picture itself: leave the layer empty"),
        ({"term_weight": -1.0}, "Weights are 0 or more"),
        ({"keep_weight": math.nan}, "Weights are 0 or more"),
        ({"metric": "rma", "metric_options": "noise"}, "“noise” is not an option: write name=value"),
        ({"metric": "rma", "metric_options": "noise=1"}, "has no option “noise”. It has none."),
    ],
)
def test_what_does_not_fit_is_refused_by_a_sentence(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Harmony(**options)


def test_a_layer_that_is_not_there_is_refused_before_the_first_step() -> None:
    with pytest.raises(ValueError, match="There is no layer “head”"):
        Harmony(metric="rma", layer="head").prepare(TinyVGG())
    with pytest.raises(ValueError, match="refuses its options"):
        Harmony(metric="rma", method_options={"colour": 1}).prepare(TinyVGG())
    with pytest.raises(ValueError, match="only after `prepare`"):
        _ = Harmony(metric="rma").original


def test_nan_in_the_network_reaches_the_loss_and_is_not_hidden() -> None:
    model, batch = tiny(), drawn_batch(dtype=torch.float32)
    objective = Harmony(metric="rma")
    objective.prepare(model)
    with torch.no_grad():
        model.classifier[3].weight[0, 0] = math.nan
    assert not torch.isfinite(objective.loss(model, batch).total)


def uneven_batch() -> Batch:
    """Five images, of which the second process's have no object; both classifiers agree on some of them."""
    batch = drawn_batch(5)
    batch.maps[3:] = 0
    return batch


def two_classifiers() -> tuple[nn.Module, Harmony]:
    torch.manual_seed(6)
    model = Straight().double().eval()
    objective = Harmony(metric="rma", term_weight=1.0, seed=4)
    objective.prepare(model)
    with torch.no_grad():
        model.fc.bias += torch.tensor([0.0, 0.06, 0.0])
    return model, objective


def _part_of_a_batch(rank: int, store: str, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    model, objective = two_classifiers()
    batch = uneven_batch()
    mine = slice(0, 3) if rank == 0 else slice(3, 5)
    names = ("images", "labels", "maps", "has_map", "w_p", "w_a")
    chance = float(torch.rand((), generator=objective._generator()))
    step = objective.loss(model, Batch(*(getattr(batch, name)[mine] for name in names)))
    step.total.backward()
    gradients = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    dist.all_reduce(gradients)
    found = {"gradients": gradients / 2, "agreement": step.terms["agreement"], "chance": chance}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.barrier()  # nobody leaves while another still reads
    dist.destroy_process_group()


def test_two_processes_give_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    mp.spawn(_part_of_a_batch, args=(str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    model, objective = two_classifiers()
    step = objective.loss(model, uneven_batch())
    step.total.backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for one in found:
        assert torch.allclose(one["gradients"], expected, atol=1e-10)
        assert float(one["agreement"]) == float(step.terms["agreement"])
    assert float(step.terms["agreement"]) == pytest.approx(3 / 5)
    assert found[0]["chance"] != found[1]["chance"]
