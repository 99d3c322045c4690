"""The training loop: equal jobs, resume, failures, selection."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from mlcore.training import checkpoints
from mlcore.training.jobs import CANCELLED, FAILED, SUCCEEDED, run_job
from mlcore.training.keyed import shuffled
from mlcore.training.weights import load_weights
from tests.mlcore.training.worlds import Events, make_items, make_job, run

Parts = dict[str, list[dict[str, Any]]]


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return {
        "train": make_items(tmp_path / "train", 24, prefix="t", seed=1),
        "validation": make_items(tmp_path / "validation", 12, prefix="v", seed=2),
    }


def weights_of(job: dict[str, Any]) -> dict[str, torch.Tensor]:
    return load_weights(Path(job["workdir"]) / "weights.safetensors")


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_two_equal_jobs_give_equal_weights_and_another_seed_does_not(tmp_path: Path, parts: Parts) -> None:
    first, second = make_job(tmp_path / "a", parts), make_job(tmp_path / "b", parts)
    summaries = [run(job)[-1]["summary"] for job in (first, second)]
    assert_equal(weights_of(first), weights_of(second))
    assert summaries[0]["weights_sha256"] == summaries[1]["weights_sha256"]
    other = make_job(tmp_path / "c", parts, seed=6)
    assert run(other)[-1]["summary"]["weights_sha256"] != summaries[0]["weights_sha256"]


def test_what_a_run_tells(tmp_path: Path, parts: Parts) -> None:
    events = run(make_job(tmp_path / "a", parts, epochs=12, learning_rate=3e-3, select="best_accuracy"))
    assert events[0]["event"] == "started"
    assert events[0]["total_steps"] == 36
    assert events[0]["versions"]["torch"] == torch.__version__
    losses = events.metric("train", "loss")
    assert [step for step, _ in losses] == list(range(1, 37))
    assert sum(value for _, value in losses[-3:]) < 0.5 * sum(value for _, value in losses[:3])
    assert len(events.metric("validation", "accuracy")) == 12
    assert len(events.metric("validation", "attention_iou_75")) == 12
    assert [event["step"] for event in events.of("checkpoint")] == list(range(3, 37, 3))
    progress = [event for event in events.of("progress") if event["stage"] == "training"]
    assert (progress[-1]["step"], progress[-1]["total"], progress[-1]["seconds_left"]) == (36, 36, 0.0)
    result = events[-1]
    curve = [value for _, value in events.metric("validation", "accuracy")]
    assert result["selected_epoch"] == curve.index(max(curve)) + 1
    (scores,) = events.of("scores")
    accuracy = next(row for row in scores["rows"] if row["metric"] == "accuracy")
    assert accuracy["value"] == max(curve)
    assert not events.of("failed")


def test_no_look_at_test_unless_asked_and_then_one(tmp_path: Path, parts: Parts) -> None:
    parts["test"] = make_items(tmp_path / "test", 6, prefix="x", seed=3)
    events = run(make_job(tmp_path / "a", parts, epochs=1))
    assert all(event["part"] != "test" for event in [*events.of("scores"), *events.of("predictions")])
    events = run(make_job(tmp_path / "b", parts, epochs=2, evaluate_test=True))
    assert [event["part"] for event in events.of("scores")].count("test") == 1
    assert not events.metric("test", "accuracy")
    assert any("test part" in event["text"] for event in events.of("log"))


def test_the_pool_joins_training(tmp_path: Path, parts: Parts) -> None:
    parts["annotation_pool"] = make_items(tmp_path / "pool", 8, prefix="p", seed=4)
    events = run(make_job(tmp_path / "a", parts, epochs=1))
    assert events[0]["total_steps"] == 4
    assert "8 of them from the annotation pool" in events.of("log")[0]["text"]


@pytest.mark.parametrize(
    ("objective", "options"),
    [
        ("gradia", {}),
        ("gradia", {"stop_gradient_weights": False}),
        ("gradia", {"preset": "gradia"}),
        ("res", {"smoothing": "gaussian"}),
        ("res", {"smoothing": "learned"}),
        ("energy", {}),
    ],
)
def test_every_objective_trains(tmp_path: Path, parts: Parts, objective: str, options: dict[str, Any]) -> None:
    for item in parts["train"][::2]:
        item["w_a"] = 1.0
    job = make_job(tmp_path / "a", parts, objective=objective, epochs=1, attention_weight=1.0, **options)
    plain = make_job(tmp_path / "b", parts, epochs=1)
    run(job)
    run(plain)
    assert any(not torch.equal(value, weights_of(plain)[name]) for name, value in weights_of(job).items())


def test_boxes_can_supervise(tmp_path: Path, parts: Parts) -> None:
    for item in parts["train"]:
        item |= {"map": None, "boxes": [[2, 2, 20, 20]], "w_a": 1.0}
    events = run(make_job(tmp_path / "a", parts, objective="energy", epochs=1, supervision_source="boxes", flip=False))
    counted = [value for _, value in events.metric("train", "images_with_map")]
    assert sum(counted) == 24


def test_the_control_equals_supervised_training_with_the_same_weights(tmp_path: Path, parts: Parts) -> None:
    for index, item in enumerate(parts["train"]):
        item["w_p"] = 0.4 if index % 3 else 1.0
    control = make_job(tmp_path / "a", parts, objective="gradia", attention_weight=1.0)
    plain = make_job(tmp_path / "b", parts, objective="supervised")
    run(control)
    run(plain)
    assert_equal(weights_of(control), weights_of(plain))
    for item in parts["train"]:
        item["w_p"] = 1.0
    unweighted = make_job(tmp_path / "c", parts, objective="supervised")
    run(unweighted)
    assert any(not torch.equal(value, weights_of(unweighted)[name]) for name, value in weights_of(plain).items())


@pytest.mark.parametrize("asked_after", [3, 5, 6, 8])
def test_cancelled_and_resumed_equals_uninterrupted(tmp_path: Path, parts: Parts, asked_after: int) -> None:
    """In the middle of an epoch, at its last step, within validation, and in the next epoch.

    (The first two times it is asked pictures are read.)
    """
    options: dict[str, Any] = {
        "select": "best_attention_iou",
        "objective": "gradia",
        "epochs": 3,
        "schedule": "cosine",
        "random_crop": True,
        "image_size": 28,
    }
    for item in parts["train"][:10]:
        item |= {"w_p": 0.4, "w_a": 1.6}
    whole = make_job(tmp_path / "whole", parts, **options)
    run(whole)
    asked = iter([False] * (asked_after - 1))
    broken = make_job(tmp_path / "broken", parts, **options)
    events = run(broken, lambda: next(asked, True), CANCELLED)
    checkpoint = events[-1]["checkpoint"]
    assert Path(checkpoint).is_file()
    torch.rand(7)  # another process would have another random state
    resumed = make_job(tmp_path / "resumed", parts, resume=Path(checkpoint).parent, **options)
    final = run(resumed)
    assert_equal(weights_of(whole), weights_of(resumed))
    ends = [checkpoints.load(tmp_path / name)["model"] for name in ("whole", "resumed")]
    assert_equal(*ends)  # the chosen epoch may lie before the interruption; the last one does not
    assert final.metric("train", "loss")[0][0] > 1


def test_cancelled_while_pictures_are_read(tmp_path: Path, parts: Parts) -> None:
    job = make_job(tmp_path / "a", parts, epochs=1)
    assert run(job, lambda: True, CANCELLED)[-1]["checkpoint"] is None
    run(job)
    again = make_job(tmp_path / "b", parts, epochs=1, resume=tmp_path / "a" / "checkpoint.pt")
    assert run(again, lambda: True, CANCELLED)[-1]["checkpoint"] == str(tmp_path / "a" / "checkpoint.pt")


def test_an_early_stop_is_found_again_on_resume(tmp_path: Path, parts: Parts) -> None:
    # A learning rate of (almost) nothing: nothing gets better after the first epoch.
    options: dict[str, Any] = {
        "epochs": 9, "learning_rate": 1e-8, "select": "best_accuracy", "early_stop_epochs": 2,
    }  # fmt: skip
    job = make_job(tmp_path / "a", parts, **options)
    assert run(job)[-1]["summary"]["epochs"] == 3
    again = make_job(tmp_path / "a", parts, resume=tmp_path / "a", **options)
    events = run(again)
    assert events[-1]["summary"]["epochs"] == 3
    assert not events.metric("train", "loss")


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, parts: Parts) -> None:
    run(make_job(tmp_path / "a", parts, epochs=1))
    other = make_job(tmp_path / "b", parts, epochs=2, learning_rate=5e-4, resume=tmp_path / "a")
    events = run(other, status=FAILED)
    assert "another recipe" in events[-1]["reason"]
    missing = make_job(tmp_path / "b", parts, resume=tmp_path / "nowhere.pt")
    assert "no checkpoint" in run(missing, status=FAILED)[-1]["reason"]
    (tmp_path / "a" / "checkpoint.pt").write_bytes(b"damaged")
    damaged = make_job(tmp_path / "b", parts, epochs=1, resume=tmp_path / "a")
    assert "damaged" in run(damaged, status=FAILED)[-1]["reason"]


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path, parts: Parts) -> None:
    # Weights so large that their sum leaves float32, on images of the third batch.
    names = [item["id"] for item in parts["train"]]
    for position in shuffled(names, 5, 0)[16:]:
        parts["train"][position]["w_p"] = 3.0e38
    job = make_job(tmp_path / "a", parts, checkpoint_minutes=1e-9)
    events = run(job, status=FAILED)
    assert "step 3 (epoch 1)" in events[-1]["reason"]
    state = checkpoints.load(tmp_path / "a")
    assert state["step"] == 2
    assert all(bool(torch.isfinite(value).all()) for value in state["model"].values())
    assert not (tmp_path / "a" / "weights.safetensors").exists()


def test_weights_that_are_no_numbers_are_never_saved(tmp_path: Path, parts: Parts) -> None:
    job = make_job(tmp_path / "a", parts, optimizer="sgd", learning_rate=1e38, checkpoint_minutes=1e-9)
    events = run(job, status=FAILED)
    assert "not a number any more at step" in events[-1]["reason"]
    if (tmp_path / "a" / "checkpoint.pt").exists():
        model = checkpoints.load(tmp_path / "a")["model"]
        assert all(bool(torch.isfinite(value).all()) for value in model.values())


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Until the end of the block the system refuses to write a file beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_checkpoint_that_does_not_fit_leaves_the_old_one(tmp_path: Path) -> None:
    checkpoints.save({"model": torch.zeros(10)}, tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with largest_file(100_000), pytest.raises(OSError, match="too large"):
        checkpoints.save({"model": torch.zeros(1_000_000)}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_full_disk_in_mid_run_warns_and_the_run_goes_on(tmp_path: Path, parts: Parts) -> None:
    """The disk takes the weights (0.7 MB) but, after the first, no checkpoint (2.1 MB)."""
    events = Events()
    job = make_job(tmp_path / "a", parts, epochs=3)
    with largest_file(10_000_000):

        def emit(event: dict[str, Any]) -> None:
            events(event)
            if event["event"] == "checkpoint":
                resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

        assert run_job(job, emit) == SUCCEEDED
    warnings = [event["text"] for event in events.of("log") if event["level"] == "warning"]
    assert len(warnings) == 2
    assert all("the one before it is kept" in text for text in warnings)
    assert checkpoints.load(tmp_path / "a")["epoch"] == 1
    assert not [path for path in (tmp_path / "a").iterdir() if path.name.startswith(".")]
    again = make_job(tmp_path / "b", parts, epochs=3, resume=tmp_path / "a")
    run(again)
    assert_equal(weights_of(again), weights_of(job))


def test_weights_that_do_not_fit_fail_the_run_with_a_sentence(tmp_path: Path, parts: Parts) -> None:
    with largest_file(200_000):
        events = run(make_job(tmp_path / "a", parts, epochs=1), status=FAILED)
    assert "weights could not be written" in events[-1]["reason"]


def test_only_weights_that_may_be_chosen_stay(tmp_path: Path, parts: Parts) -> None:
    run(make_job(tmp_path / "a", parts, epochs=4, select="best_accuracy"))
    assert len(list((tmp_path / "a").glob("epoch-*.safetensors"))) == 1


def test_selection_by_attention_needs_references(tmp_path: Path, parts: Parts) -> None:
    parts["validation"][3] |= {"truth": None, "map": None}
    events = run(make_job(tmp_path / "a", parts, select="best_attention_iou"), status=FAILED)
    assert "1 of 12 validation images have no mask or box" in events[-1]["reason"]
    parts["validation"][3]["boxes"] = [[1, 1, 9, 9]]
    run(make_job(tmp_path / "b", parts, select="best_attention_iou", epochs=1))


def test_refusals(tmp_path: Path, parts: Parts) -> None:
    def reason(changed: Parts | None = None, **recipe: Any) -> str:
        return run(make_job(tmp_path / "x", changed or parts, **recipe), status=FAILED)[-1]["reason"]

    twice = parts | {"validation": [*parts["validation"], parts["train"][0]]}
    assert "t000 is in “train” and in “validation”" in reason(twice)
    drawn = parts | {"validation": [parts["validation"][0] | {"w_a": 1.0}]}
    assert "belong to the annotation pool" in reason(drawn)
    outside = parts | {"train": [parts["train"][0] | {"label": 3}]}
    assert "label 3; the labels are 0 to 2" in reason(outside)
    gone = parts | {"train": [parts["train"][0] | {"path": str(tmp_path / "gone.png")}]}
    assert "gone.png does not exist" in reason(gone)
    assert "no image to train on" in reason({"validation": parts["validation"]})
    assert "needs a validation part" in reason({"train": parts["train"]}, select="best_accuracy")
    assert "no objective “magic”" in reason(objective="magic")
    assert "smaller than the image size" in reason(image_size=64)
    assert "fp16 needs a GPU" in reason(mixed_precision="fp16")
    assert "optimizer" in reason(optimizer="lion")
    assert "schedule" in reason(schedule="linear")


def test_mixed_precision_and_channels_last_train(tmp_path: Path, parts: Parts) -> None:
    plain = make_job(tmp_path / "a", parts, epochs=1)
    fast = make_job(tmp_path / "b", parts, epochs=1, mixed_precision="bf16", channels_last=True)
    first = run(plain).metric("train", "loss")[0][1]
    assert run(fast).metric("train", "loss")[0][1] == pytest.approx(first, rel=0.02)
    assert weights_of(fast)["classifier.weight"].dtype == torch.float32
