"""Runs that train a correspondence network: through the one loop, beside a classifier that stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mlcore.correspondence.chm import network as network_module
from mlcore.correspondence.chm.network import CHMNetwork
from mlcore.objectives.correspondence import CorrespondenceTraining
from mlcore.training import checkpoints
from mlcore.training.classifiers import build
from mlcore.training.events import Reporter
from mlcore.training.job import parse
from mlcore.training.jobs import CANCELLED, FAILED
from mlcore.training.machine import fix_randomness
from mlcore.training.setup import loader_of, machine_of
from mlcore.training.weights import load_weights, save_weights
from tests.mlcore.training.worlds import Events, make_items, make_job, run

LAYER = "features.8"  # of SixConv: 8 × 8 cells at 32 px
OPTIONS: dict[str, Any] = {
    "objective": "correspondence", "layer": LAYER, "width": 12, "key_points": 5, "warp_strength": 0.6,
    "learning_rate": 2e-3, "normalise": "imagenet", "resize": "squash", "batch_size": 5,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of 5 cells a side: 30⁴ votes are the test's time."""
    made = CHMNetwork.__init__

    def smaller(self: CHMNetwork, *args: Any, side: int = 5, **options: Any) -> None:
        made(self, *args, side=5 if side == network_module.SIDE else side, **options)

    monkeypatch.setattr(CHMNetwork, "__init__", smaller)


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    made = {
        "train": make_items(tmp_path / "train", 10, prefix="t", seed=1),
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


def job_of(folder: Path, parts: dict[str, Any], original: Path, **options: Any) -> dict[str, Any]:
    return make_job(folder, parts, weights=original, **OPTIONS | options)


def test_only_the_network_is_kept_and_measured(tmp_path: Path, parts: dict[str, Any], original: Path) -> None:
    job = job_of(tmp_path / "a", parts, original, epochs=2, select="best_score")
    events = run(job)
    result = events[-1]
    made = CHMNetwork.load(tmp_path / "a" / "weights.safetensors")
    assert result["network"] == {"layer": LAYER, "settings": {"channels": 32, "width": 12, "side": 5, "size": 32}}
    assert result["network"]["settings"] == made.settings
    state = checkpoints.load(tmp_path / "a")
    assert state["model"] == {}
    assert {name.removeprefix("network.") for name in state["objective"]} == set(made.state_dict())
    # What is reported is what the kept network scores on the validation part, seen as the objective sees it.
    parsed = parse(job)
    objective = CorrespondenceTraining.from_recipe(parsed.recipe)
    objective.network = made
    model = build("sixconv", 3, weights=original).eval()
    loader = loader_of(parsed, machine_of(parsed), parsed.parts["validation"], Reporter(Events()))
    wanted: dict[str, dict[str, float]] = {"pck": {}, "pck_cosine": {}}
    for raw in loader.epoch():
        found = objective.measure(model, raw.to_batch(torch.device("cpu"), "imagenet"))
        for name, values in found.items():
            wanted[name] |= dict(zip(raw.ids, values.tolist(), strict=True))
    rows = {row["metric"]: row for event in events.of("scores") for row in event["rows"]}
    assert {name: row["per_image"] for name, row in rows.items()} == wanted
    curve = dict(events.metric("validation", "pck"))
    assert list(curve) == [0, 2, 4]  # before, and after each epoch
    assert result["summary"]["validation"]["pck"] == pytest.approx(max(curve[2], curve[4]))
    assert len({value for _, value in events.metric("validation", "pck_cosine")}) == 1
    assert len(events.metric("train", "distance")) == 4
    assert not events.metric("train", "accuracy")
    assert not events.of("predictions")


def test_epochs_see_other_warps_and_a_run_is_repeated_by_its_seed(
    tmp_path: Path, parts: dict[str, Any], original: Path
) -> None:
    parsed = parse(job_of(tmp_path / "a", parts, original))
    fix_randomness(parsed.seed)
    loader = loader_of(parsed, machine_of(parsed), parsed.parts["train"], Reporter(Events()), training=True)
    seen = [
        {name: chance for raw in loader.epoch(epoch) for name, chance in zip(raw.ids, raw.chances, strict=True)}
        for epoch in (0, 1, 0)
    ]
    assert seen[0] == seen[2]
    assert all(seen[0][name] != seen[1][name] for name in seen[0])
    assert len(set(seen[0].values())) == 10
    first, second = (job_of(tmp_path / name, parts, original, epochs=1) for name in "bc")
    run(first)
    run(second)
    files = [Path(job["workdir"]) / "weights.safetensors" for job in (first, second)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_cancelled_and_resumed_equals_uninterrupted(tmp_path: Path, parts: dict[str, Any], original: Path) -> None:
    jobs = {name: job_of(tmp_path / name, parts, original, epochs=2) for name in ("whole", "broken", "resumed")}
    run(jobs["whole"])
    asked = iter([False] * 5)
    broken = run(jobs["broken"], lambda: next(asked, True), CANCELLED)
    torch.rand(7)  # another process would have another random state
    jobs["resumed"]["resume"] = str(Path(broken[-1]["checkpoint"]).parent)
    later = run(jobs["resumed"])
    assert later.metric("train", "loss")[0][0] > 1
    first, second = (load_weights(tmp_path / name / "weights.safetensors") for name in ("whole", "resumed"))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_what_cannot_be_is_one_sentence(tmp_path: Path, parts: dict[str, Any], original: Path) -> None:
    for options, words in (({"layer": "nowhere"}, "There is no layer “nowhere”"), ({"layer": "avgpool"}, "no cells")):
        assert words in run(job_of(tmp_path / "a", parts, original, **options), status=FAILED)[-1]["reason"]
