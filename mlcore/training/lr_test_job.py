"""A learning-rate test as a job: a training run's own objective, optimiser and batches at rates that rise from step to
step (definitions §4). Nothing of the weights is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from mlcore.objectives.batch import Batch
from mlcore.training.data import batches_of
from mlcore.training.errors import Cancelled, JobError
from mlcore.training.events import Reporter
from mlcore.training.job import Job
from mlcore.training.loop import TrainingRun
from mlcore.training.lr_test import LearningRateCurve, learning_rate_test
from mlcore.training.machine import versions
from mlcore.training.setup import batch_of, loader_of


def try_rates(job: Job, reporter: Reporter, cancelled: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Make the test; the fields of its "result" event are returned.

    The curves "rate", "loss" and "smoothed" have a point a step. "rates" tells the suggestion (None where there is
    none), a sentence about it, and whether the test ended before its last rate. Raises Cancelled between steps, without
    a checkpoint: a test begins anew.
    """
    # Nothing is chosen, measured or kept.
    plain = {"select": "last", "evaluate_steps": 0, "max_steps": 0, "schedule": "none", "evaluate_test": False}
    run = TrainingRun(replace(job, resume=None, recipe=job.recipe | plain), reporter, cancelled)
    job.workdir.mkdir(parents=True, exist_ok=True)
    steps = int(job.option("steps", 0)) or len(batches_of(len(run.items), int(job.option("batch_size", 32))))
    if steps < 2:
        raise JobError("A test of learning rates needs two batches or more: take a smaller batch, or more steps.")
    reporter.send("started", versions=versions(), device=str(run.machine.device), total_steps=steps)
    loader = loader_of(job, run.machine, run.items, reporter, training=True, cancelled=cancelled)
    run.model.train(run.objective.mode == "train")
    batches = _batches(run, loader)
    made = 0

    def step(rate: float) -> float:
        nonlocal made
        if cancelled():
            raise Cancelled
        epoch, batch = next(batches)
        for group in run.optimizer.param_groups:
            group["lr"] = rate * group.get("rate", 1.0)
        loss = run.stepper.gradients(batch).loss
        run.stepper.apply()
        made += 1
        for name, value in (("rate", rate), ("loss", loss)):
            reporter.metric(step=made, epoch=epoch + 1, part="train", name=name, value=value)
        reporter.progress("trying rates", made, steps, epoch=epoch + 1)
        return loss

    try:
        curve = learning_rate_test(
            step,
            steps,
            low=float(job.option("low", 1e-8)),
            high=float(job.option("high", 10.0)),
            beta=float(job.option("beta", 0.0)) or None,
            stop_at=float(job.option("stop_at", 4.0)),
        )
    except ValueError as error:
        raise JobError(str(error)) from error
    for number, value in enumerate(curve.smoothed, start=1):
        epoch = (number - 1) // len(loader) + 1
        reporter.metric(step=number, epoch=epoch, part="train", name="smoothed", value=value)
    reporter.flush()
    said = _sentence(curve, steps)
    reporter.log(said)
    if curve.doubt:
        reporter.log(curve.doubt, "warning")
    rates = {"suggestion": curve.suggestion, "sentence": said, "doubt": curve.doubt, "stopped": curve.stopped}
    return {"weights": None, "selected_epoch": None, "summary": {"steps": len(curve.rates)}, "rates": rates}


def _batches(run: TrainingRun, loader: Any) -> Iterator[tuple[int, Batch]]:
    """(epoch, batch) without end, as the run itself would see them."""
    epoch = 0
    while True:
        for raw in loader.epoch(epoch):
            yield epoch, batch_of(run.job, run.machine, raw)
        epoch += 1


def _sentence(curve: LearningRateCurve, steps: int) -> str:
    """What the test says, for a person."""
    made = len(curve.rates)
    if made < 2:
        return "The loss was not a number from the start, so that no rate can be suggested."
    ended = f" The test ended after {made} of {steps} steps, where the loss rose too far." if curve.stopped else ""
    if curve.suggestion is None:
        return f"The smoothed loss never fell, so that no rate can be suggested.{ended}"
    return f"The smoothed loss falls most steeply at a rate of {curve.suggestion:.3g}.{ended}"
