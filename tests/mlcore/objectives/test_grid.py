"""Grid consistency: the loss by hand, its gradient, what is left out, chance and several processes (definitions §3)."""

import copy
import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.objectives import OBJECTIVES
from mlcore.objectives.batch import Batch
from mlcore.objectives.collage import plan_collages
from mlcore.objectives.grid import GridConsistency
from mlcore.objectives.supervised import Supervised
from tests.mlcore.attribution.nets import Curved, Straight, Transparent, finite_differences


class Doubling(nn.Module):
    """A map of exactly half the side, so that the collage's is twice the image's. Smooth."""

    def __init__(self, *, curved: bool) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.Tanh(), nn.Conv2d(4, 3, 1))
        self.hidden = nn.Linear(3, 4) if curved else nn.Identity()
        self.fc = nn.Linear(4 if curved else 3, 3)

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.features(images).mean((2, 3))
        return self.fc(torch.tanh(self.hidden(pooled)) if isinstance(self.hidden, nn.Linear) else pooled)


class Pooling(Transparent):
    """Sizes like AlexNet's: 28 pixels give 6 cells, 56 give 13."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.MaxPool2d(3, 2), nn.MaxPool2d(3, 2), self.features)


def pictures(count: int = 4, size: int = 4, labels: list[int] | None = None) -> Batch:
    images = torch.randn(count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    said = torch.tensor(labels) if labels else torch.arange(count) % 3
    batch = Batch.plain(images, said, [f"image {number}" for number in range(count)])
    batch.w_p = torch.linspace(0.4, 1.0, count, dtype=torch.float64)
    return batch


def two_by_hand() -> Batch:
    """Of class 0: 4, 2, −1, 1 in its own channel. Of class 1: 2 in its own, 1 in the other's."""
    images = torch.zeros(2, 3, 2, 2, dtype=torch.float64)
    images[0, 0] = torch.tensor([[4.0, 2.0], [-1.0, 1.0]])
    images[1, 1, 0, 0] = 2.0
    images[1, 0, 0, 1] = 1.0
    return Batch.plain(images, torch.tensor([0, 1]), ["a", "b"])


def reference(model: nn.Module, batch: Batch, *, seed: int, detach: bool = False) -> Tensor:
    """The consistency term image by image, from its definition: own collage, own gradients, own sums."""

    def heat(picture: Tensor, label: int) -> Tensor:
        seen: list[Tensor] = []
        handle = model.features.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        score = model(picture[None])[0, label]
        handle.remove()
        (gradient,) = torch.autograd.grad(score, seen[0], create_graph=True)
        positive = (gradient * seen[0]).sum(1)[0].relu()
        lit.append(float(positive.detach().sum()) > 0)
        return positive / (positive.sum() + 1e-8) + 1e-8

    lit: list[bool] = []
    plan = plan_collages(batch.labels, batch.ids, seed=seed, step=0)
    distances = []
    for row, quadrant, sources in zip(plan.rows.tolist(), plan.quadrants.tolist(), plan.sources.tolist(), strict=True):
        quarters = [batch.images[one] for one in sources]
        rows = [torch.cat(quarters[:2], dim=2), torch.cat(quarters[2:], dim=2)]
        label = int(batch.labels[row])
        single, tiled = heat(batch.images[row], label), heat(torch.cat(rows, dim=1), label)
        if tiled.shape[0] != 2 * single.shape[0]:
            side = batch.images.shape[2]
            single = F.interpolate(single[None, None], size=(side, side), mode="bilinear")[0, 0]
            tiled = F.interpolate(tiled[None, None], size=(2 * side, 2 * side), mode="bilinear")[0, 0]
        if detach:
            single = single.detach()
        height, width = single.shape
        difference = tiled.clone()
        top, left = (quadrant // 2) * height, (quadrant % 2) * width
        difference[top : top + height, left : left + width] -= single
        if all(lit[-2:]):
            distances.append(difference.abs().sum() / difference.numel())
    assert len(distances) > 1
    return torch.stack(distances).mean()


def gradients(model: nn.Module) -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


def test_the_recipe_names_it() -> None:
    recipe = {"grid_weight": 3.0, "detach_target": True, "preset": "grid", "layer": "", "epochs": 3}
    objective = OBJECTIVES["grid"].from_recipe(recipe)
    assert isinstance(objective, GridConsistency)
    assert (objective.grid_weight, objective.detach_target, objective.preset) == (3.0, True, "grid")
    assert (objective.mode, objective.layer, GridConsistency().grid_weight) == ("train", None, 25.0)


@pytest.mark.parametrize("seed", range(6))
def test_the_loss_by_hand(seed: int) -> None:
    """Whatever the quadrants: of a map's 7 the collage adds 3, one of each neighbour; the other map stays whole."""
    model, batch = Transparent().double().eval(), two_by_hand()
    step = GridConsistency(grid_weight=2.0, seed=seed).loss(model, batch)
    # 7·(1/7 − 1/10) in the quadrant and 3/10 beside it, over 16 cells; nothing for the second; mean of both.
    assert float(step.terms["consistency"]) == pytest.approx((0.6 / 16) / 2, abs=1e-7)
    # Class scores (1.5, 0, 0) and (0.25, 0.5, 0).
    first = math.log(math.exp(1.5) + 2) - 1.5
    second = math.log(math.exp(0.25) + math.exp(0.5) + 1) - 0.5
    assert float(step.terms["classification"]) == pytest.approx((first + second) / 2)
    assert float(step.total.detach()) == pytest.approx((first + second) / 2 + 2 * 0.3 / 16, abs=1e-6)
    assert torch.equal(step.logits, model(batch.images))
    assert [int(step.terms[name]) for name in ("images_in_collage", "images_without_collage", "dark_maps")] == [2, 0, 0]


def test_a_map_that_stays_in_its_quadrant_costs_nothing() -> None:
    """Neighbours without anything of the class: at a wrong place the distance would be 2 over 16 cells."""
    model, batch = Transparent().double().eval(), two_by_hand()
    batch.images[1, 0] = 0.0
    shown = set()
    for seed in range(20):
        assert float(GridConsistency(seed=seed).loss(model, batch).terms["consistency"]) == pytest.approx(0, abs=1e-7)
        shown.update(plan_collages(batch.labels, batch.ids, seed=seed, step=0).quadrants.tolist())
    assert shown == {0, 1, 2, 3}


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("kind", ["straight", "curved", "straight, odd", "curved, odd"])
def test_it_is_the_definition_and_so_is_its_gradient(kind: str, detach: bool) -> None:
    torch.manual_seed(4)
    curved = "curved" in kind
    odd = "odd" in kind  # 10 pixels: 3 cells, the collage 8
    model = ((Curved() if curved else Straight()) if odd else Doubling(curved=curved)).double().eval()
    batch = pictures(size=10 if odd else 4)
    expected = reference(model, batch, seed=3, detach=detach)
    expected.backward()
    wanted = gradients(model)
    model.zero_grad()
    objective = GridConsistency(grid_weight=1.0, detach_target=detach, seed=3)
    step = objective.loss(model, batch)
    plain = Supervised().loss(model, batch)
    (step.total - plain.total).backward()
    assert float(step.terms["consistency"]) == pytest.approx(float(expected.detach()), rel=1e-9)
    # A bias that the maps do not depend on has no gradient in the one and a zero in the other.
    found = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert torch.allclose(found[found.abs() > 1e-12], wanted[wanted.abs() > 1e-12], rtol=1e-6, atol=1e-12)
    assert float(wanted.abs().sum()) > 0


@pytest.mark.parametrize("curved", [False, True])
def test_the_gradient_is_that_of_the_loss(curved: bool) -> None:
    torch.manual_seed(4)
    model, batch = Doubling(curved=curved).double().eval(), pictures()
    objective = GridConsistency(seed=3)

    def value() -> float:
        objective.steps.zero_()
        return float(objective.loss(model, batch).total.detach())

    objective.loss(model, batch).total.backward()
    for _, parameter in model.named_parameters():
        assert torch.allclose(parameter.grad, finite_differences(value, parameter), rtol=1e-4, atol=1e-6)


def test_the_closed_form_and_the_double_backward_agree() -> None:
    torch.manual_seed(4)
    model, batch = Doubling(curved=False).double().eval(), pictures()
    found = []
    for form in ("closed", "autograd"):
        model.zero_grad()
        step = GridConsistency(form=form, seed=3).loss(model, batch)
        step.total.backward()
        found.append((float(step.total.detach()), gradients(model)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-10)


def test_maps_that_do_not_double_are_compared_at_the_size_of_the_input() -> None:
    model, batch = Pooling().double().eval(), pictures(size=28)
    sizes = [model.features(torch.zeros(1, 3, side, side, dtype=torch.float64)).shape[-1] for side in (28, 56)]
    assert sizes == [6, 13]
    step = GridConsistency(seed=3).loss(model, batch)
    assert float(step.terms["consistency"]) == pytest.approx(float(reference(model, batch, seed=3).detach()), rel=1e-9)


def test_mirroring_every_image_changes_nothing_for_a_network_that_is_blind_to_sides() -> None:
    """Each image is mirrored in its own quadrant; its map with it."""
    model, batch = Transparent().double().eval(), pictures(size=4)
    step = GridConsistency(seed=3).loss(model, batch)
    batch.images = batch.images.flip(3)
    mirrored = GridConsistency(seed=3).loss(model, batch)
    assert float(step.total.detach()) == pytest.approx(float(mirrored.total.detach()), rel=1e-12)


def test_the_order_of_the_batch_has_no_say() -> None:
    torch.manual_seed(4)
    model, batch = Doubling(curved=False).double().eval(), pictures(6)
    step = GridConsistency(seed=3).loss(model, batch)
    order = [4, 0, 5, 2, 1, 3]
    names = ("images", "labels", "w_p")
    other = Batch.plain(*(getattr(batch, name)[order] for name in names[:2]), [batch.ids[one] for one in order])
    other.w_p = batch.w_p[order]
    assert float(GridConsistency(seed=3).loss(model, other).total.detach()) == pytest.approx(float(step.total.detach()))


def test_a_dark_map_is_counted_and_left_out_or_kept_as_published() -> None:
    model, batch = Transparent().double().eval(), two_by_hand()
    batch.images[1, 1] = -1.0  # nothing of its class
    step = GridConsistency(seed=1).loss(model, batch)
    assert (int(step.terms["dark_maps"]), int(step.terms["images_in_collage"])) == (1, 2)
    assert float(step.terms["consistency"]) == pytest.approx(0.6 / 16, abs=1e-7), "the mean of the one that is left"
    step.total.backward()
    assert torch.isfinite(gradients(model)).all()
    model.zero_grad()
    published = GridConsistency(seed=1, preset="grid").loss(model, batch)
    assert int(published.terms["dark_maps"]) == 1
    # Its own map and its collage's are zero, so 1e-8 everywhere, and 1e-8 against nothing beside it.
    assert float(published.terms["consistency"]) == pytest.approx(0.6 / 16 / 2, abs=1e-7)
    published.total.backward()
    assert torch.isfinite(gradients(model)).all()
    assert float(gradients(model).abs().max()) < 1e3


def test_a_batch_without_a_map_or_without_a_second_class_still_trains() -> None:
    model, batch = Transparent().double().eval(), two_by_hand()
    batch.images[:] = -1.0
    step = GridConsistency().loss(model, batch)
    assert (float(step.terms["consistency"]), int(step.terms["dark_maps"])) == (0.0, 2)
    step.total.backward()
    batch = pictures(3, labels=[1, 1, 1])
    step = GridConsistency().loss(model, batch)
    assert int(step.terms["images_without_collage"]) == 3
    assert float(step.total.detach()) == float(Supervised().loss(model, batch).total.detach())
    step.total.backward()


def test_a_batch_without_names_has_collages_too() -> None:
    model, batch = Transparent().double().eval(), pictures(3, labels=[1, 1, 0])
    batch.ids = []
    assert int(GridConsistency().loss(model, batch).terms["images_in_collage"]) == 3
    assert torch.isfinite(GridConsistency().loss(model, batch).total)


def test_two_passes_a_step_and_none_for_nothing() -> None:
    model, batch = Doubling(curved=False).double(), pictures()
    seen: list[tuple[int, ...]] = []
    model.features.register_forward_hook(lambda _module, inputs, _output: seen.append(tuple(inputs[0].shape)))
    GridConsistency(seed=0).loss(model, batch)
    assert seen == [(4, 3, 4, 4), (4, 3, 8, 8)]
    GridConsistency(seed=0).loss(model, pictures(2, labels=[1, 1]))
    assert seen[2:] == [(2, 3, 4, 4)]


@pytest.mark.parametrize("curved", [False, True])
def test_it_trains_in_mixed_precision(curved: bool) -> None:
    torch.manual_seed(4)
    model, batch = Doubling(curved=curved), pictures()
    batch.images, batch.w_p = batch.images.float(), batch.w_p.float()
    objective = GridConsistency(seed=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        step = objective.loss(model, batch)
    step.total.backward()
    assert 0 < float(gradients(model).abs().sum()) < math.inf
    assert step.terms["consistency"].dtype == torch.float32


def test_a_resumed_run_draws_the_same_collages() -> None:
    model, batch = Doubling(curved=False).double().eval(), pictures(6)
    torch.manual_seed(11)
    objective = GridConsistency()
    objective.prepare(model)
    whole = [float(objective.loss(model, batch).total.detach()) for _ in range(2)]
    kept = copy.deepcopy(objective.state_dict())
    whole.append(float(objective.loss(model, batch).total.detach()))
    torch.manual_seed(99)
    resumed = GridConsistency()
    resumed.prepare(model)
    resumed.load_state_dict(kept)
    assert float(resumed.loss(model, batch).total.detach()) == whole[2]
    assert len(set(whole)) == 3
    assert set(kept) == {"seed", "steps"}
    assert list(objective.parameters()) == []
    again = GridConsistency(seed=11)
    assert float(again.loss(model, batch).total.detach()) == whole[0]


def test_steps_draw_the_map_of_the_collage_to_that_of_the_image() -> None:
    torch.manual_seed(4)
    model, batch = Doubling(curved=False).double(), pictures(6)
    objective = GridConsistency(seed=3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    found = []
    for _ in range(60):
        objective.steps.zero_()
        optimizer.zero_grad()
        step = objective.loss(model, batch)
        step.total.backward()
        optimizer.step()
        found.append(float(step.terms["consistency"]))
    assert found[-1] < 0.7 * found[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"grid_weight": -1.0}, "must be 0 or more, not -1"),
        ({"grid_weight": math.nan}, "must be 0 or more, not nan"),
        ({"preset": "gradia"}, "has the presets default and grid, not “gradia”"),
    ],
)
def test_what_does_not_fit_is_refused_by_a_sentence(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GridConsistency(**options)
    with pytest.raises(ValueError, match="There is no layer “head”"):
        GridConsistency(layer="head").prepare(Transparent())


def test_nan_in_the_network_reaches_the_loss_and_is_not_hidden() -> None:
    model, batch = Transparent().double().eval(), pictures()
    with torch.no_grad():
        model.fc.weight[0, 0] = math.nan
    assert not torch.isfinite(GridConsistency().loss(model, batch).total)


def shared_batch() -> Batch:
    """Five images of two classes, all of a class alike: whoever is the distractor, the collage is the same."""
    batch = pictures(5, labels=[0, 1, 0, 1, 0])
    batch.images = batch.images[:2][batch.labels]
    return batch


def classifier() -> nn.Module:
    torch.manual_seed(6)
    return Doubling(curved=True).double().eval()


def _part_of_a_batch(rank: int, store: str, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    model, batch = classifier(), shared_batch()
    mine = slice(0, 3) if rank == 0 else slice(3, 5)
    part = Batch.plain(batch.images[mine], batch.labels[mine], batch.ids[mine])
    part.w_p = batch.w_p[mine]
    GridConsistency(seed=3).loss(model, part).total.backward()
    found = gradients(model)
    dist.all_reduce(found)
    # A part without a second class makes as many passes and adds nothing.
    passes: list[int] = []
    model.features.register_forward_hook(lambda _module, inputs, _output: passes.append(len(inputs[0])))
    one_class = Batch.plain(batch.images[[0, 2]], batch.labels[[0, 2]], ["x", "y"])
    last = GridConsistency(seed=3).loss(model, one_class if rank else part)
    terms = {name: float(value) for name, value in last.terms.items()}
    torch.save({"gradients": found / 2, "passes": passes, "terms": terms}, f"{folder}/{rank}.pt")
    dist.barrier()  # nobody leaves while another still reads
    dist.destroy_process_group()


def test_two_processes_give_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    mp.spawn(_part_of_a_batch, args=(str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    model = classifier()
    GridConsistency(seed=3).loss(model, shared_batch()).total.backward()
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for one in found:
        assert torch.allclose(one["gradients"], gradients(model), atol=1e-10)
    assert [one["passes"] for one in found] == [[3, 3], [2, 1]]
    assert found[1]["terms"]["consistency"] == 0
    assert (found[1]["terms"]["images_in_collage"], found[1]["terms"]["images_without_collage"]) == (0, 2)
