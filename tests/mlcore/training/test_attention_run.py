"""Runs that train an attention module: through the one loop, beside a classifier that stays as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from mlcore.attribution.base import class_scores
from mlcore.attribution.l_cam import LCAMAttention
from mlcore.attribution.tame import TAME, TAMEAttention
from mlcore.metrics.average_drop import AverageDrop, AverageDrop15, AverageDrop50, IncreaseInConfidence
from mlcore.metrics.inputs import NORMALISATIONS
from mlcore.objectives.attention_run import AttentionRun
from mlcore.objectives.batch import Batch
from mlcore.training import checkpoints
from mlcore.training.attention import train_attention
from mlcore.training.classifiers import build
from mlcore.training.data import batches_of
from mlcore.training.events import Reporter
from mlcore.training.job import parse
from mlcore.training.jobs import CANCELLED, FAILED
from mlcore.training.machine import fix_randomness
from mlcore.training.setup import loader_of, machine_of
from mlcore.training.weights import load_weights, save_weights
from tests.mlcore.training.worlds import Events, make_items, make_job, run

Parts = dict[str, list[dict[str, Any]]]
ROOT = Path(__file__).parents[3]
LAYERS = "features.8,features.11,features.17"  # of SixConv: 8, 8 and 4 cells a side at 32 px
OPTIONS: dict[str, Any] = {
    "objective": "tame",
    "layers": LAYERS,
    "optimizer": "sgd",
    "nesterov": True,
    "momentum": 0.95,
    "weight_decay": 5e-4,
    "schedule": "one_cycle",
    "learning_rate": 0.05,
    "normalise": "imagenet",
    "random_crop": True,
    "resize": "squash",
    "preset": "default",
    "variant": "default",
}


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    made = {
        "train": make_items(tmp_path / "train", 15, prefix="t", seed=1),
        "validation": make_items(tmp_path / "validation", 6, prefix="v", seed=2),
    }
    for items in made.values():
        for item in items:  # no label, mask or map is needed
            item |= {"label": None, "map": None, "truth": None}
    return made


@pytest.fixture
def original(tmp_path: Path) -> Path:
    torch.manual_seed(4)
    return save_weights(build("sixconv", 3), tmp_path / "original.safetensors")


def attend(folder: Path, parts: Parts, original: Path, **options: Any) -> dict[str, Any]:
    return make_job(folder, parts, weights=original, **OPTIONS | options)


def weights_of(job: dict[str, Any]) -> dict[str, torch.Tensor]:
    return load_weights(Path(job["workdir"]) / "weights.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_the_loop_and_the_library_train_alike(tmp_path: Path, parts: Parts, original: Path) -> None:
    """The same batches: the same losses, and at the end the same module."""
    job = attend(tmp_path / "a", parts, original, epochs=3)
    events = run(job)
    parsed = parse(job)
    machine = machine_of(parsed)
    fix_randomness(parsed.seed)
    model = build("sixconv", 3, weights=original)
    objective = AttentionRun.from_recipe(parsed.recipe)
    objective.prepare(model)
    loader = loader_of(parsed, machine, parsed.parts["train"], Reporter(Events()), training=True)

    class Epochs:
        epoch = 0

        def __len__(self) -> int:
            return len(batches_of(15, 8))

        def __iter__(self):
            self.epoch += 1
            return (raw.to_batch(machine.device, "imagenet") for raw in loader.epoch(self.epoch - 1))

    told = train_attention(model, objective, Epochs(), learning_rate=0.05, epochs=3)
    assert [step for step, _ in events.metric("train", "loss")] == list(range(1, 7))
    for name in ("loss", "classification", "area", "variation", "kept"):
        assert [value for _, value in events.metric("train", name)] == pytest.approx(
            [one[name] for one in told], abs=1e-6
        )
    made = TAMEAttention.load(tmp_path / "a" / "weights.safetensors")
    for name, value in objective.attention.state_dict().items():
        torch.testing.assert_close(made.state_dict()[name], value, atol=1e-6, rtol=0)
    assert not events.metric("train", "accuracy")


@pytest.mark.parametrize("preset", ["default", "tame"])
def test_only_the_attention_is_kept_and_measured(tmp_path: Path, parts: Parts, original: Path, preset: str) -> None:
    job = attend(tmp_path / "a", parts, original, epochs=2, preset=preset)
    events = run(job)
    result = events[-1]
    assert result["attention"] == {"kind": "tame", "variant": "default", "layers": LAYERS.split(",")}
    with safe_open(tmp_path / "a" / "weights.safetensors", "pt") as file:
        assert file.metadata()["kind"] == "tame"
    attention = TAMEAttention.load(tmp_path / "a" / "weights.safetensors")
    state = checkpoints.load(tmp_path / "a")
    assert state["model"] == {}
    assert {name.removeprefix("module.") for name in state["objective"]} == set(attention.state_dict())
    # What is reported is the metric itself, of the classifier as it was and the module as it is kept.
    model = build("sixconv", 3, weights=original).eval()
    way = TAME(model, attention, scores=True)
    norm = NORMALISATIONS["imagenet"]
    metrics = [made(model, normalisation=norm) for made in (AverageDrop, AverageDrop50, AverageDrop15)]
    metrics.append(IncreaseInConfidence(model, normalisation=norm))
    rows = {row["metric"]: row for event in events.of("scores") for row in event["rows"]}
    assert set(rows) == {
        f"{name}{part}" for name in ("average_drop", "increase_in_confidence") for part in ("", "_50", "_15")
    }
    parsed = parse(job)
    loader = loader_of(parsed, machine_of(parsed), parsed.parts["validation"], Reporter(Events()))
    for raw in loader.epoch():
        images = raw.to_batch(torch.device("cpu"), "imagenet").images
        with torch.no_grad():
            targets = class_scores(model(images)).argmax(1)
        maps = way.explain(images, targets)
        for metric in metrics:
            metric.update(maps=maps, images=images, targets=targets, names=raw.ids)
    for metric in metrics:
        assert rows[metric.name]["per_image"] == pytest.approx(metric.per_image, abs=1e-3)
        assert result["summary"]["validation"][metric.name] == pytest.approx(metric.compute()["value"], abs=1e-3)
        assert len(events.metric("validation", metric.name)) == 3  # before, and after each epoch
    assert not events.of("predictions")


def test_statistics_that_a_preset_moves_are_put_back_before_measuring(tmp_path: Path, original: Path) -> None:
    model = build("sixconv", 3, weights=original)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    objective = AttentionRun(preset="tame", layers=LAYERS.split(","))
    objective.prepare(model)
    model.train()
    batch = Batch.plain(torch.randn(4, 3, 32, 32), torch.zeros(4, dtype=torch.int64))
    objective.loss(model, batch).total.backward()
    moved = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert any("running_mean" in name for name in moved)
    objective.measure(model.eval(), batch)
    assert same(model.state_dict(), before)


@pytest.mark.parametrize(("preset", "asked_after"), [("default", 3), ("default", 6), ("tame", 4)])
def test_cancelled_and_resumed_equals_uninterrupted(
    tmp_path: Path, parts: Parts, original: Path, preset: str, asked_after: int
) -> None:
    options: dict[str, Any] = {"epochs": 3, "preset": preset}
    if preset == "tame":  # whose train mode drops units
        options |= {"layers": "features.5,features.12", "image_size": 64}
        torch.manual_seed(1)
        original = save_weights(build("squeezenet1_1", 3), tmp_path / "squeezenet.safetensors")
    jobs = {name: attend(tmp_path / name, parts, original, **options) for name in ("whole", "broken", "resumed")}
    if preset == "tame":
        for job in jobs.values():
            job["classifier"]["architecture"] = "squeezenet1_1"
    run(jobs["whole"])
    # Asked while pictures are read (twice), at the look before training, then after each step and at each look.
    asked = iter([False] * asked_after)
    broken = run(jobs["broken"], lambda: next(asked, True), CANCELLED)
    torch.rand(7)  # another process would have another random state
    jobs["resumed"]["resume"] = str(Path(broken[-1]["checkpoint"]).parent)
    later = run(jobs["resumed"])
    assert later.metric("train", "loss")[0][0] > 1
    assert same(weights_of(jobs["whole"]), weights_of(jobs["resumed"]))
    files = [tmp_path / name / "weights.safetensors" for name in ("whole", "resumed")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_best_score_is_the_lowest_average_drop_at_half(tmp_path: Path, parts: Parts, original: Path) -> None:
    events = run(attend(tmp_path / "a", parts, original, epochs=4, select="best_score", learning_rate=0.5))
    drops = dict(events.metric("validation", "average_drop_50"))
    del drops[0]  # before training
    assert len(drops) == 4
    best = min(drops, key=drops.__getitem__)
    assert events[-1]["selected_epoch"] == best // 2  # two steps an epoch
    assert events[-1]["summary"]["validation"]["average_drop_50"] == pytest.approx(drops[best])


def test_l_cam_reads_one_layer(tmp_path: Path, parts: Parts, original: Path) -> None:
    events = run(attend(tmp_path / "a", parts, original, variant="l_cam", layers="", epochs=1))
    assert events[-1]["attention"] == {"kind": "l_cam", "variant": "default", "layers": ["features"]}
    assert LCAMAttention.load(tmp_path / "a" / "weights.safetensors").classes == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": "features.8"}, "2 to 4 layers, not 1"),
        ({"layers": "features.8,nowhere"}, "nowhere"),
        ({"learning_rate": 1e30, "epochs": 3}, "not a number any more at step"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    tmp_path: Path, parts: Parts, original: Path, options: dict[str, Any], words: str
) -> None:
    assert words in run(attend(tmp_path / "a", parts, original, **options), status=FAILED)[-1]["reason"]


def test_two_processes_train_like_one(tmp_path: Path, parts: Parts, original: Path) -> None:
    """Without BatchNorm, whose statistics are of a process's own images; batches of 8 and 7."""
    options: dict[str, Any] = {"variant": "no_skip_no_norm", "epochs": 2, "gradient_norm": 1.0}
    one = run(attend(tmp_path / "one", parts, original, **options))
    (tmp_path / "two.json").write_text(json.dumps(attend(tmp_path / "two", parts, original, **options)))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", "mlcore.training.launch", str(tmp_path / "two.json")],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads()), "OMP_WAIT_POLICY": "passive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    two = Events(json.loads(line) for line in done.stdout.splitlines())
    assert two[-1]["event"] == "result", done.stderr.decode()[-2000:]
    losses = [[value for _, value in events.metric("train", "loss")] for events in (one, two)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    first, second = (load_weights(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-6, rtol=0)
