"""Schedules as functions of the step alone, against PyTorch's own; groups with factors of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mlcore.training.errors import JobError
from mlcore.training.job import Job, parse
from mlcore.training.optimisation import optimizer_of, schedule_of
from tests.mlcore.training.worlds import make_items, make_job


def job(tmp_path: Path, **recipe: object) -> Job:
    return parse(make_job(tmp_path / "a", {"train": make_items(tmp_path / "train", 2)}, **recipe))


def groups(module: nn.Linear) -> list[dict]:
    return [{"params": [module.weight]}, {"params": [module.bias], "rate": 2.0, "decay": 0.0}]


@pytest.mark.parametrize("total", [1, 2, 3, 4, 7, 10, 11, 100, 333])
@pytest.mark.parametrize("momentum", [0.95, 0.9])
def test_one_cycle_is_pytorchs_at_every_step(tmp_path: Path, total: int, momentum: float) -> None:
    options = {"optimizer": "sgd", "learning_rate": 0.3, "momentum": momentum, "nesterov": True, "weight_decay": 5e-4}
    ours = job(tmp_path, schedule="one_cycle", **options)
    optimizer, theirs = (optimizer_of(ours, groups(nn.Linear(2, 2))) for _ in range(2))
    schedule = schedule_of(ours, 5, total)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        theirs, max_lr=[0.3, 0.6], total_steps=total, pct_start=0.3, anneal_strategy="cos", div_factor=25.0,
        final_div_factor=1e4, base_momentum=momentum - 0.1, max_momentum=momentum,
    )  # fmt: skip
    for step in range(total):
        schedule.apply(optimizer, step)
        for mine, other in zip(optimizer.param_groups, theirs.param_groups, strict=True):
            assert mine["lr"] == pytest.approx(other["lr"], rel=1e-12, abs=0)
            assert mine["momentum"] == pytest.approx(other["momentum"], rel=1e-12, abs=0)
        theirs.step()
        if step + 1 < total:
            reference.step()


def test_groups_have_factors_of_the_rate_and_of_the_decay(tmp_path: Path) -> None:
    module = nn.Linear(2, 2)
    made = job(tmp_path, optimizer="sgd", learning_rate=0.1, weight_decay=0.5, nesterov=True, schedule="cosine")
    optimizer = optimizer_of(made, groups(module))
    weights, biases = optimizer.param_groups
    assert [group["params"] for group in optimizer.param_groups] == [[module.weight], [module.bias]]
    assert (weights["lr"], weights["weight_decay"], weights["nesterov"]) == (0.1, 0.5, True)
    assert (biases["lr"], biases["weight_decay"], biases["nesterov"]) == (0.2, 0.0, True)
    schedule_of(made, 5, 10).apply(optimizer, 5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.1])
    # A checkpoint of a time without factors keeps its one rate.
    del weights["rate"]
    schedule_of(made, 5, 10).apply(optimizer, 0)
    assert weights["lr"] == 0.1


def test_adam_keeps_its_momenta_in_a_cycle(tmp_path: Path) -> None:
    made = job(tmp_path, optimizer="adam", learning_rate=0.1, schedule="one_cycle")
    optimizer = optimizer_of(made, groups(nn.Linear(2, 2)))
    schedule_of(made, 5, 10).apply(optimizer, 2)
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_what_needs_no_gradient_is_left_out_and_unknown_words_are_named(tmp_path: Path) -> None:
    module = nn.Linear(2, 2)
    module.weight.requires_grad_(False)
    assert optimizer_of(job(tmp_path), [{"params": module.parameters()}]).param_groups[0]["params"] == [module.bias]
    with pytest.raises(JobError, match="“schedule” must be one of"):
        schedule_of(job(tmp_path, schedule="sometimes"), 5, 10)
    with pytest.raises(JobError, match="“optimizer” must be"):
        optimizer_of(job(tmp_path, optimizer="lion"), groups(module))
