"""A step in parts: the gradient of the whole batch, less memory, counts that add up, with processes too."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import finalize

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from mlcore.objectives.base import Objective
from mlcore.objectives.batch import Batch
from mlcore.objectives.energy import Energy
from mlcore.objectives.gradia import Gradia
from mlcore.objectives.grid import GridConsistency
from mlcore.objectives.res import Res
from mlcore.objectives.supervised import Supervised
from mlcore.objectives.tame import TAMETraining
from mlcore.training import machine as machines
from mlcore.training.jobs import SUCCEEDED, run_job
from mlcore.training.sixconv import SixConv
from mlcore.training.stepping import Stepper, cut
from tests.mlcore.training.worlds import Events, make_items, make_job

SIZE = 32


def pictures(count: int, *, drawn: int) -> Batch:
    """The first `drawn` images carry a map with attention, unevenly weighted; three classes."""
    torch.manual_seed(2)
    batch = Batch.plain(torch.randn(count, 3, SIZE, SIZE), torch.arange(count) % 3)
    batch.maps = torch.zeros(count, SIZE, SIZE, dtype=torch.int8)
    batch.maps[:drawn, 4:12, 6:20] = 1
    batch.maps[:drawn, 20:, :8] = -1
    batch.has_map = torch.arange(count) < drawn
    batch.w_a = torch.where(batch.has_map, torch.linspace(0.4, 1.6, count), torch.zeros(count))
    batch.w_p = torch.linspace(0.2, 1.8, count)
    return batch


def network() -> SixConv:
    """BatchNorm's statistics are fixed: the images of a batch do not see one another."""
    torch.manual_seed(1)
    return SixConv(3).eval()


def stepper(model: nn.Module, objective: Objective, parts: int = 1) -> Stepper:
    objective.prepare(model)
    learning = nn.ModuleList([objective.trained(model), *([objective] if objective.trained(model) is model else [])])
    optimizer = torch.optim.SGD(learning.parameters(), lr=0.1)
    return Stepper(machines.prepare("cpu"), model, objective, optimizer, learning, parts=parts)


def gradient(learning: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in learning.parameters() if p.grad is not None])


EXACT: list[tuple[str, Callable[[], Objective]]] = [
    ("supervised", Supervised),
    ("gradia", lambda: Gradia(attention_weight=2.0)),
    ("gradia, second order", lambda: Gradia(stop_gradient_weights=False)),
    ("res within its slack", lambda: Res(eta=2.0)),  # its threshold is worked out of a part, and forgiven
    ("grid without collages", lambda: GridConsistency(grid_weight=0.0)),
    ("tame", lambda: TAMETraining(layers=["features.8", "features.17"])),
]


@pytest.mark.parametrize(("parts", "count"), [(2, 8), (3, 11), (16, 9)])
@pytest.mark.parametrize("make", [make for _, make in EXACT], ids=[name for name, _ in EXACT])
def test_parts_have_the_gradient_and_the_numbers_of_the_whole_batch(
    make: Callable[[], Objective], parts: int, count: int
) -> None:
    """All maps lie in the first parts: each part divides by what the whole batch has."""
    found = []
    for pieces in (1, parts):
        torch.manual_seed(4)
        taken = stepper(network(), make(), pieces)
        taken.objective.eval()  # an attention has BatchNorm too
        numbers = taken.gradients(pictures(count, drawn=4))
        found.append((gradient(taken.learning), numbers))
    (whole, told), (cut_up, told_of_parts) = found
    assert whole.abs().max() > 1e-4
    assert torch.allclose(cut_up, whole, atol=1e-6, rtol=1e-5)
    assert told_of_parts.loss == pytest.approx(told.loss, abs=1e-6)
    assert (told_of_parts.hits, told_of_parts.images) == (told.hits, told.images)
    if "images_with_map" in told.terms:
        assert told_of_parts.terms["images_with_map"] == told.terms["images_with_map"] == 4
        assert told_of_parts.terms["attention"] == pytest.approx(told.terms["attention"], abs=1e-6)


def test_a_batch_is_cut_evenly_with_all_that_belongs_to_it() -> None:
    batch = pictures(7, drawn=3)
    parts = list(cut(batch, 3))
    assert [len(part) for part in parts] == [2, 2, 3]
    assert [name for part in parts for name in part.ids] == batch.ids
    for name in ("images", "labels", "maps", "has_map", "w_p", "w_a"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch, name))
    assert next(iter(cut(Batch.plain(batch.images, batch.labels), 2))).maps is None


class Kept:
    """Bytes that graphs hold for their backward passes, at most."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def pack(self, tensor: Tensor) -> Any:
        box = [tensor]
        holder = _Holder(box)
        if tensor.is_leaf and tensor.requires_grad:
            return holder  # a weight is there anyway
        self.now += tensor.nbytes
        self.most = max(self.most, self.now)
        finalize(holder, self._gone, tensor.nbytes)
        return holder

    def _gone(self, size: int) -> None:
        self.now -= size


class _Holder:
    def __init__(self, box: list[Tensor]) -> None:
        self.box = box


def test_memory_falls_with_the_parts() -> None:
    kept = {}
    for parts in (1, 4):
        taken = stepper(network(), Gradia(), parts)
        found = Kept()
        with torch.autograd.graph.saved_tensors_hooks(found.pack, lambda holder: holder.box[0]):
            taken.gradients(pictures(16, drawn=16))
        kept[parts] = found.most
    assert kept[4] < 0.3 * kept[1]


def _meet(rank: int, store: str) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}  # asked for, not used: they meet in a file
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)


def _share_of_steps(rank: int, store: str, folder: str) -> None:
    # Four images here and five there.
    _meet(rank, store)
    found = {}
    for parts in (1, 2):
        torch.manual_seed(4)
        taken = stepper(network(), Gradia(), parts)
        halves = list(cut(pictures(9, drawn=6), 2))
        numbers = taken.gradients(halves[rank])
        taken.machine.average_gradients(taken.learning.parameters())
        found[parts] = {"gradient": gradient(taken.learning), "told": numbers.terms, "images": numbers.images}
    taken = tame_stepper()
    taken.gradients(list(cut(pictures(9, drawn=6), 2))[rank])
    taken.machine.average_gradients(taken.learning.parameters())
    found["tame"] = gradient(taken.learning)
    torch.save(found | {"unlike": _unlike(taken.machine)}, f"{folder}/{rank}")
    dist.barrier()
    dist.destroy_process_group()


def tame_stepper() -> Stepper:
    torch.manual_seed(4)
    taken = stepper(network(), TAMETraining(layers=["features.8", "features.17"]))
    taken.objective.eval()  # its BatchNorm would see a part
    return taken


WIDE = torch.arange(108.0).view(4, 3, 3, 3)


def _unlike(machine: machines.Machine) -> list[Any]:
    """Gradients after they were averaged: of both processes, of one, in another memory layout, and of none."""
    wide = WIDE.clone().to(memory_format=torch.channels_last)
    parameters = [nn.Parameter(value) for value in (torch.ones(2), torch.ones(3), wide, torch.ones(1))]
    parameters[0].grad = torch.full((2,), machine.rank + 1.0)
    if machine.rank:
        parameters[1].grad = torch.arange(3.0)
    parameters[2].grad = (WIDE * (machine.rank + 1)).to(memory_format=torch.channels_last)
    machines.BUCKET_BYTES = 20  # several messages
    machine.average_gradients(parameters)
    module = nn.Conv2d(2, 2, 2).to(memory_format=torch.channels_last)
    nn.init.constant_(module.weight, float(machine.rank))
    machine.share(module)
    return [parameter.grad for parameter in parameters] + [module.weight.detach()]


def test_two_processes_have_the_gradient_of_the_whole_batch_in_parts_and_not(tmp_path: Path) -> None:
    mp.spawn(_share_of_steps, args=(str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    torch.manual_seed(4)
    alone = stepper(network(), Gradia())
    told = alone.gradients(pictures(9, drawn=6))
    attention = tame_stepper()
    attention.gradients(pictures(9, drawn=6))
    for saved in (torch.load(tmp_path / str(rank)) for rank in (0, 1)):
        assert torch.allclose(saved["tame"], gradient(attention.learning), atol=1e-6, rtol=1e-5)
        for found in (saved[1], saved[2]):
            assert torch.allclose(found["gradient"], gradient(alone.learning), atol=1e-6, rtol=1e-5)
            assert found["images"] == 9
            assert found["told"]["images_with_map"] == 6
            assert found["told"]["attention"] == pytest.approx(told.terms["attention"], abs=1e-6)
        both, one, wide, none, shared = saved["unlike"]
        assert torch.equal(both, torch.full((2,), 1.5))
        assert torch.equal(one, torch.arange(3.0) / 2)
        assert torch.equal(wide, WIDE * 1.5)
        assert none is None  # no decay of weights pulls at what no process used
        assert torch.equal(shared, torch.zeros(2, 2, 2, 2))


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    made = {
        "train": make_items(tmp_path / "train", 22, prefix="t", seed=1),
        "validation": make_items(tmp_path / "validation", 6, prefix="v", seed=2),
    }
    for item in made["train"][:7]:
        item |= {"w_p": 0.4, "w_a": 1.6}
    return made


def curve(folder: Path, parts: dict[str, Any], **options: Any) -> list[float]:
    events = Events()
    assert run_job(make_job(folder, parts, **options), events) == SUCCEEDED, events[-1]
    return [value for _, value in events.metric("train", "loss")]


def test_a_run_in_parts_has_the_curve_of_the_whole_batch(
    tmp_path: Path, parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SqueezeNet has no BatchNorm; its dropout would draw otherwise."""
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, features: features)
    options = {"architecture": "squeezenet1_1", "objective": "gradia", "image_size": 40, "resize": "squash"}
    options |= {"optimizer": "sgd", "learning_rate": 0.01, "gradient_norm": 0.5}
    whole = curve(tmp_path / "whole", parts, **options)
    assert curve(tmp_path / "parts", parts, **options, accumulate=3) == pytest.approx(whole, abs=5e-5)


def marked(count: int) -> Batch:
    batch = pictures(count, drawn=count)
    batch.w_p = torch.ones(count)
    return batch


EVERY: list[tuple[str, Callable[[], Objective]]] = [
    ("supervised", Supervised),
    ("gradia", Gradia),
    ("gradia as released", lambda: Gradia(preset="gradia")),
    ("res", Res),
    ("res learned", lambda: Res(smoothing="learned")),
    ("energy", Energy),
    ("grid", lambda: GridConsistency(seed=1)),
    ("tame", lambda: TAMETraining(layers=["features.8", "features.17"])),
]


def one_step(
    make: Callable[[], Objective], *, precision: str = "no", channels_last: bool = False
) -> tuple[float, Tensor]:
    torch.manual_seed(1)
    model = SixConv(3)
    batch = marked(6)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        batch.images = batch.images.to(memory_format=torch.channels_last)
    objective = make()
    torch.manual_seed(4)
    taken = stepper(model, objective)
    taken.machine = machines.prepare("cpu", precision)
    model.train(objective.mode == "train")
    numbers = taken.gradients(batch)
    taken.apply()
    return numbers.loss, torch.cat([p.detach().flatten() for p in taken.learning.parameters()])


@pytest.mark.parametrize("make", [make for _, make in EVERY], ids=[name for name, _ in EVERY])
def test_every_objective_takes_a_step_in_bf16_and_in_channels_last(make: Callable[[], Objective]) -> None:
    plain, after = one_step(make)
    short, after_short = one_step(make, precision="bf16")
    assert torch.isfinite(after).all()
    assert torch.isfinite(after_short).all()
    assert short == pytest.approx(plain, rel=0.05)
    other, after_other = one_step(make, channels_last=True)
    assert other == pytest.approx(plain, rel=1e-4)
    assert torch.allclose(after_other, after, atol=1e-4)
