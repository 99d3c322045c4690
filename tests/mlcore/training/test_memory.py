"""What a run will need: by hand for small networks, beside what the allocator gave, and without a trace in the run."""

from __future__ import annotations

import copy
import gc
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlcore.objectives.base import Loss, Objective
from mlcore.objectives.batch import Batch
from mlcore.training.errors import JobError
from mlcore.training.fitting import _parts
from mlcore.training.jobs import FAILED
from mlcore.training.memory import (
    GRADIENTS_AT_A_TIME,
    Estimate,
    Ledger,
    estimate,
    fixed_bytes,
    held_bytes,
    told,
    untouched,
)
from mlcore.training.room import free_memory, parsed, room
from tests.mlcore.training.test_loop import assert_equal, run, weights_of
from tests.mlcore.training.worlds import make_items, make_job


class Exponential(nn.Module):
    """y = exp(w x), whose backward pass needs x and y and nothing else."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(size))
        self.register_buffer("calls", torch.zeros(3))

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return torch.exp(images.flatten(1) * self.w)


class SumOf(Objective):
    """The sum of the outputs, and a count of how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        self.asked += 1
        torch.rand(5)
        outputs = model(batch.images)
        return Loss(outputs.sum(), outputs, {})


def batch_of(count: int, side: int = 4) -> Batch:
    return Batch(
        images=torch.rand(count, 3, side, side), labels=torch.zeros(count, dtype=torch.long), maps=None,
        has_map=torch.zeros(count, dtype=torch.bool), w_p=torch.ones(count), w_a=torch.zeros(count),
        ids=[str(number) for number in range(count)],
    )  # fmt: skip


def kept_by(function, *inputs: Tensor, apart: tuple[Tensor, ...] = ()) -> Ledger:
    ledger = Ledger(apart)
    with torch.autograd.graph.saved_tensors_hooks(ledger.pack, ledger.unpack):
        function(*inputs).sum().backward()
    return ledger


# --- by hand ---


def test_storages_are_counted_once_and_while_they_are_kept() -> None:
    x = torch.rand(10, 5, requires_grad=True)
    assert kept_by(torch.exp, x).most == 200  # its result
    assert kept_by(lambda value: value * value, x).most == 200  # twice the same
    assert kept_by(lambda value: value[:, :2] * value[:, 2:4], x).most == 200  # views of one storage
    assert kept_by(lambda value: torch.exp(torch.exp(value)), x).most == 400
    w = torch.rand(5, requires_grad=True)
    assert kept_by(lambda value: value * w, x, apart=(w,)).most == 200  # x; a parameter is counted elsewhere
    gone = kept_by(lambda value: torch.exp(torch.exp(value)), x)
    gc.collect()
    assert (gone.kept, gone.largest) == (0, 200)


@pytest.mark.parametrize(
    ("make", "states"),
    [
        (lambda them: torch.optim.SGD(them, lr=0.1), 0),
        (lambda them: torch.optim.SGD(them, lr=0.1, momentum=0.9), 1),
        (lambda them: torch.optim.Adam(them), 2),
        (lambda them: torch.optim.AdamW(them), 2),
    ],
)
def test_a_network_by_hand(make, states) -> None:
    model, objective = Exponential(48), SumOf()
    optimizer = make(list(model.parameters()))
    found = estimate(model, objective, optimizer, batch_of(8), nullcontext)
    weights, calls = 48 * 4, 3 * 4
    assert found.fixed == weights + calls + weights * (1 + states)
    # An image: its input, which is saved, and its output; two gradients of that size; the input as it came.
    image = 48 * 4
    assert found.each == image * (2 + GRADIENTS_AT_A_TIME + 1)
    assert found.base == pytest.approx(0, abs=1)
    assert found.needs(100) == found.fixed + 100 * found.each
    optimizer.step()
    model.zero_grad()


def test_what_the_optimiser_keeps_is_what_was_said() -> None:
    model = nn.Linear(7, 3)
    for optimizer in (torch.optim.Adam(model.parameters()), torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)):
        said = fixed_bytes(model, SumOf(), optimizer)
        model(torch.rand(2, 7)).sum().backward()
        optimizer.step()
        state = [value for row in optimizer.state.values() for value in row.values() if isinstance(value, Tensor)]
        gradients = [parameter.grad for parameter in model.parameters()]
        there = sum(one.nbytes for one in [*model.parameters(), *gradients, *(one for one in state if one.ndim)])
        assert said == there
        held = held_bytes(model, SumOf(), optimizer)
        assert held == sum(one.nbytes for one in [*model.parameters(), *state])
        model.zero_grad()


def test_what_fits_follows_from_the_line() -> None:
    found = Estimate(fixed=1000, base=50, each=100)
    assert (found.needs(3), found.fits(1350), found.fits(1349), found.fits(1149)) == (1350, 3, 2, 0)
    assert Estimate(10, 0, 0).fits(10) > 1 << 20


@pytest.mark.parametrize(
    ("whole", "fitting", "parts", "expected"),
    [(32, 32, 1, 1), (32, 31, 1, 2), (32, 15, 1, 4), (24, 20, 1, 2), (32, 1, 1, 32), (32, 0, 1, 1), (32, 9, 8, 8)],
)
def test_parts_of_a_batch_that_fit(whole, fitting, parts, expected) -> None:
    assert _parts(whole, fitting, parts) == expected


def test_nothing_is_changed_by_it() -> None:
    model, objective = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)), SumOf()
    optimizer = torch.optim.Adam(model.parameters())
    before, chance = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    batch = batch_of(8)
    images = batch.images.clone()
    torch.set_rng_state(chance)
    found = estimate(model, objective, optimizer, batch, nullcontext)
    assert found.each > 0
    assert_equal(before, model.state_dict())
    assert torch.equal(torch.get_rng_state(), chance)
    assert torch.equal(batch.images, images)
    assert objective.asked == 0
    assert not optimizer.state
    assert all(parameter.grad is None for parameter in model.parameters())
    with untouched(model, objective):
        objective.asked = 7
    assert objective.asked == 0


# --- room ---


def test_the_smallest_of_machine_and_container_is_free(tmp_path: Path) -> None:
    meminfo, groups = tmp_path / "meminfo", tmp_path / "cgroup"
    meminfo.write_text("MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    assert free_memory(meminfo, groups) == 5000 * 1024
    groups.mkdir()
    (groups / "memory.max").write_text("3000000\n")
    (groups / "memory.current").write_text("2500000\n")
    (groups / "memory.stat").write_text("anon 5\ninactive_file 400000\n")
    assert free_memory(meminfo, groups) == 900_000
    (groups / "memory.max").write_text("max\n")
    assert free_memory(meminfo, groups) == 5000 * 1024
    (groups / "memory").mkdir()
    for name, value in (("limit_in_bytes", 100), ("usage_in_bytes", 300)):
        (groups / "memory" / f"memory.{name}").write_text(str(value))
    (groups / "memory" / "memory.stat").write_text("total_inactive_file 0")
    assert free_memory(meminfo, groups) == 0
    assert free_memory(tmp_path / "none", tmp_path / "none") is None


def test_processes_share_and_a_limit_is_kept() -> None:
    cpu = torch.device("cpu")
    alone = room(cpu, 0, {})
    assert alone is not None
    shared = room(cpu, 0, {"LOCAL_WORLD_SIZE": "4"})
    assert shared is not None
    assert shared < alone / 2
    assert room(cpu, 10, {"HARMONY_MEMORY_LIMIT": "5 kB"}) == 5000
    assert room(torch.device("meta"), 0, {}) is None
    assert (parsed("24GB"), parsed("1.5m"), parsed("77"), parsed("")) == (24 * 10**9, 1_500_000, 77, None)
    with pytest.raises(JobError, match="“a lot” is no size"):
        parsed("a lot")


@pytest.mark.parametrize(
    ("size", "text"), [(31e9, "31 GB"), (2.44e9, "2.4 GB"), (9.97e9, "10 GB"), (34e6, "34 MB"), (5300, "5 kB")]
)
def test_sizes_as_they_are_told(size, text) -> None:
    assert told(size) == text


# --- in runs ---

OBJECTIVES: dict[str, dict[str, Any]] = {
    "supervised": {},
    "gradia": {},
    "res": {},
    "energy": {},
    "grid": {"batch_size": 8},
}


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    made = make_items(tmp_path / "files", 24)
    for item in made[:12]:
        item |= {"w_p": 0.4, "w_a": 1.6}
    return {"train": made}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_is_measured(tmp_path, parts, objective) -> None:
    options = {"objective": objective, "epochs": 1, "architecture": "sixconv"} | OBJECTIVES[objective]
    events = run(make_job(tmp_path / "a", parts, **options))
    said = [event["text"] for event in events.of("log") if event["text"].startswith("Memory: about")]
    assert len(said) == 1, [event["text"] for event in events.of("log")]


@pytest.mark.parametrize("objective", ["gradia", "grid"])
def test_weights_are_the_same_with_and_without_the_estimate(tmp_path, parts, monkeypatch, objective) -> None:
    options: dict[str, Any] = {"objective": objective, "epochs": 2, "batch_size": 8}
    run(make_job(tmp_path / "with", parts, **options))
    monkeypatch.setattr("mlcore.training.loop.fit", lambda *_: None)
    run(make_job(tmp_path / "without", parts, **options))
    assert_equal(weights_of({"workdir": tmp_path / "with"}), weights_of({"workdir": tmp_path / "without"}))


def test_a_run_that_does_not_fit_is_refused_with_what_would(tmp_path, parts, monkeypatch) -> None:
    plain = run(make_job(tmp_path / "a", parts, epochs=1, batch_size=24))
    needs, each = (float(size) * 1e6 for size in _figures(plain))
    monkeypatch.setenv("HARMONY_MEMORY_LIMIT", str(round(needs - 4.5 * each)))
    events = run(make_job(tmp_path / "b", parts, epochs=1, batch_size=24), status=FAILED)
    reason = events[-1]["reason"]
    assert reason.startswith("This run needs about ")
    assert "this machine has " in reason
    # The figures in the log are rounded, so it may be one more or less.
    assert any(f"a batch of {count} would fit" in reason for count in (18, 19, 20)), reason
    assert not events.metric("train", "loss")
    monkeypatch.setenv("HARMONY_MEMORY_LIMIT", "50kB")
    reason = run(make_job(tmp_path / "c", parts, epochs=1), status=FAILED)[-1]["reason"]
    assert "not even one image would fit" in reason


def _figures(events) -> tuple[str, str]:
    text = next(event["text"] for event in events.of("log") if event["text"].startswith("Memory: about"))
    words = text.replace("(", " ").replace(")", " ").split()
    assert words[3] == "MB"
    each = words.index("image") - 3
    return words[2], str(float(words[each]) / (1 if words[each + 1] == "MB" else 1000))


def test_a_batch_that_does_not_fit_is_computed_in_parts(tmp_path, parts, monkeypatch) -> None:
    options: dict[str, Any] = {"epochs": 2, "batch_size": 16, "architecture": "sixconv"}
    whole = run(make_job(tmp_path / "a", parts, **options))
    needs, each = (float(size) * 1e6 for size in _figures(whole))
    monkeypatch.setenv("HARMONY_MEMORY_LIMIT", str(round(needs - 6 * each)))
    events = run(make_job(tmp_path / "b", parts, fit_batch_size=True, **options))
    assert any("computed in 2 parts of at most 8 images" in event["text"] for event in events.of("log"))
    asked = run(make_job(tmp_path / "c", parts, accumulate=2, **options))
    assert events.metric("train", "loss") == asked.metric("train", "loss")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("architecture", ["resnet50", "squeezenet1_1"])
def test_beside_the_allocator_of_a_gpu(architecture) -> None:
    from mlcore.objectives.supervised import Supervised
    from mlcore.training.classifiers import build

    device = torch.device("cuda")
    model, objective = build(architecture, 1000).to(device).train(), Supervised()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    batch = batch_of(64, 224)
    names = ("images", "labels", "has_map", "w_p", "w_a")
    batch = replace(batch, **{name: getattr(batch, name).to(device) for name in names})
    found = estimate(model, objective, optimizer, batch, nullcontext)
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        objective.loss(model, batch).total.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    assert found.needs(64) == pytest.approx(torch.cuda.max_memory_allocated(), rel=0.25)
