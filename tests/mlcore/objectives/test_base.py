"""What all objectives share: batches, the registry, denominators over several processes."""

import copy
import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from mlcore.objectives import OBJECTIVES
from mlcore.objectives.base import Objective, count_reduce
from mlcore.objectives.batch import Batch
from mlcore.objectives.gradia import Gradia
from mlcore.objectives.supervised import Supervised
from tests.mlcore.attribution.nets import PoolLinear, Straight, Transparent, drawn_batch


def test_supervised_by_hand() -> None:
    pictures = torch.zeros(2, 3, 2, 2)
    pictures[0, 0], pictures[1, 1] = 4.0, 2.0
    pictures[:, 2] = -1000.0
    batch = Batch.plain(pictures, torch.tensor([0, 0]))
    batch.w_p = torch.tensor([0.4, 1.0])
    batch.w_a = torch.ones(2)
    step = Supervised().loss(Transparent(), batch)
    expected = (0.4 * math.log1p(math.exp(-4)) + math.log1p(math.exp(2))) / 2
    assert float(step.total.detach()) == pytest.approx(expected, rel=1e-5)
    assert float(step.terms["classification"]) == float(step.total.detach())


def test_every_objective_follows_its_recipe_and_trains() -> None:
    assert set(OBJECTIVES) >= {"supervised", "gradia", "res", "energy"}
    for name in ("supervised", "gradia", "res", "energy"):
        objective = OBJECTIVES[name].from_recipe({"objective": name, "epochs": 1, "attention_weight": 0.5})
        assert isinstance(objective, Objective)
        model = PoolLinear()
        objective.prepare(model)
        assert list(objective.parameters()) == [], "the classifier is not the objective's own"
        step = objective.loss(model, drawn_batch(dtype=torch.float32))
        step.total.backward()
        assert step.logits.shape == (3, 4)
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())
        copy.deepcopy(objective)


def test_nan_in_the_network_reaches_the_loss_and_is_not_hidden() -> None:
    model = PoolLinear()
    with torch.no_grad():
        model.fc.weight[0, 0] = float("nan")
    step = Gradia().loss(model, drawn_batch(dtype=torch.float32))
    assert not torch.isfinite(step.total)


def test_batch_moves_as_a_whole() -> None:
    batch = drawn_batch().to("meta")
    assert {value.device.type for value in vars(batch).values() if isinstance(value, Tensor)} == {"meta"}
    assert len(batch) == 3
    assert Batch.plain(torch.zeros(2, 3, 4, 4), torch.zeros(2)).to("meta").maps is None


def test_one_process_counts_for_itself() -> None:
    assert float(count_reduce(torch.tensor(3.0))) == 3


def _part_of_a_batch(rank: int, store: str, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(6)
    model, batch = Straight().double(), uneven_batch()
    names = ("images", "labels", "maps", "has_map", "w_p", "w_a")
    mine = slice(0, 3) if rank == 0 else slice(3, 5)
    part = Batch(*(getattr(batch, name)[mine] for name in names))
    Gradia(stop_gradient_weights=False).loss(model, part).total.backward()
    gradients = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    dist.all_reduce(gradients)
    torch.save(gradients / 2, f"{folder}/{rank}.pt")
    dist.barrier()  # nobody leaves while another still reads
    dist.destroy_process_group()


def uneven_batch() -> Batch:
    """Five images, of which the second process's have no weight: the parts differ in every count."""
    batch = drawn_batch(5)
    batch.w_a[3:] = 0
    return batch


def test_two_processes_give_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    mp.spawn(_part_of_a_batch, args=(str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    torch.manual_seed(6)
    model = Straight().double()
    Gradia(stop_gradient_weights=False).loss(model, uneven_batch()).total.backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    for rank in range(2):
        assert torch.allclose(torch.load(tmp_path / f"{rank}.pt"), expected, atol=1e-10)
