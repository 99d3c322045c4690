"""The training loop: one for every objective."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mlcore.catalogue.several import BEST_BY_PRECISION, several
from mlcore.catalogue.tuning import gradient_norm
from mlcore.training import checkpoints
from mlcore.training.compiling import compiled
from mlcore.training.data import batches_of
from mlcore.training.errors import Cancelled, JobError
from mlcore.training.events import Reporter
from mlcore.training.fitting import fit
from mlcore.training.history import Tally, fingerprint
from mlcore.training.job import Item, Job
from mlcore.training.machine import fix_randomness, random_state, versions
from mlcore.training.optimisation import optimizer_of, schedule_of
from mlcore.training.results import epoch_path, finish, keep, link_or_copy
from mlcore.training.selection import BEFORE, Point, Selection
from mlcore.training.setup import batch_of, loader_of, machine_of, model_of, objective_of
from mlcore.training.stepping import Stepper
from mlcore.training.tar_items import training_items
from mlcore.training.together import begin_alike, restore_chance
from mlcore.training.validation import Validation
from mlcore.training.waiting import Waiting


def train(job: Job, reporter: Reporter, cancelled: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Run a training job; the fields of its "result" event are returned.

    Raises Cancelled when asked to stop, JobError with a plain sentence when it cannot go on.
    """
    try:
        return TrainingRun(job, reporter, cancelled).run()
    except Cancelled as stop:
        # Before its first step a resumed run has no checkpoint but the one it came from.
        raise Cancelled(stop.checkpoint or (str(job.resume) if job.resume else None)) from None


class TrainingRun:
    """The state of a run between two steps: everything here is in its checkpoint or follows from the job."""

    def __init__(self, job: Job, reporter: Reporter, cancelled: Callable[[], bool]) -> None:
        self.job, self.reporter, self.cancelled = job, reporter, cancelled
        self.items = training_items(job)
        self.validation_items = job.parts.get("validation", [])
        self.epochs = int(job.option("epochs", 10))
        rule = str(job.option("select", "best_accuracy"))
        _refuse_what_cannot_be_selected(rule, self.items, self.validation_items)
        self.machine = machine_of(job)
        if not self.machine.is_main:
            reporter.send("joined", process=self.machine.rank, processes=self.machine.processes)
            reporter.silence()
        fix_randomness(job.seed)
        self.model = model_of(job, self.machine)
        if self.machine.processes > 1 and self.machine.device.type == "cuda":
            self.model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        self.objective = objective_of(job)
        try:
            self.objective.prepare(self.model)
        except ValueError as error:
            raise JobError(str(error)) from error
        self.objective.to(self.machine.device)
        self.trained = self.objective.trained(self.model)
        if self.trained is self.model:
            self.learning = torch.nn.ModuleList([self.model, self.objective])
        else:  # a module of the objective's own; the classifier stays as it is
            self.model.requires_grad_(False)
            self.learning = torch.nn.ModuleList([self.objective])
            if self.machine.processes > 1 and self.machine.device.type == "cuda":
                torch.nn.SyncBatchNorm.convert_sync_batchnorm(self.objective)
        self.optimizer = self.machine.accelerator.prepare_optimizer(
            optimizer_of(job, self.objective.groups(self.model))
        )
        self.selection = Selection(
            rule,
            float(job.option("select_tolerance", 0.01)),
            agreement_guard=float(job.option("agreement_guard", 0.95)),
            higher_is_better=self.objective.higher_is_better,
            guarded=self.objective.guarded,
        )
        self.validation = Validation(job, self.machine, self.model, self.objective, rule)
        if rule == "best_score" and not self.validation.scored:
            raise JobError("The objective has no score to choose by; choose another rule.")
        self.evaluate_steps = int(job.option("evaluate_steps", 0))
        self.stepper = Stepper(
            self.machine, self.model, self.objective, self.optimizer, self.learning,
            parts=int(job.option("accumulate", 1)), gradient_norm=gradient_norm(job.recipe),
        )  # fmt: skip
        self.compiles = job.option("compile", "off") == "auto"
        self.waiting = Waiting()
        # Each process drops out other units; the same seed would repeat one mask in all of them.
        torch.manual_seed(job.seed + self.machine.rank)
        self.epoch, self.batch, self.step = 0, 0, 0
        self.tally = Tally()
        self.checkpoint_path: str | None = None
        self.in_checkpoint: set[int] = set()  # whose weights the newest checkpoint needs
        self.stopped_early = False

    def run(self) -> dict[str, Any]:
        """Train, choose, measure."""
        job, reporter = self.job, self.reporter
        job.workdir.mkdir(parents=True, exist_ok=True)
        steps_per_epoch = len(batches_of(len(self.items), int(job.option("batch_size", 32)), self.machine.processes))
        self.total = int(job.option("max_steps", 0)) or self.epochs * steps_per_epoch
        self.epochs = math.ceil(self.total / steps_per_epoch)
        reporter.send("started", versions=versions(), device=str(self.machine.device), total_steps=self.total)
        self.loader = loader_of(job, self.machine, self.items, reporter, training=True, cancelled=self.cancelled)
        self.validation.read(reporter, self.cancelled)
        self.schedule = schedule_of(job, steps_per_epoch, self.total)
        if job.resume is not None:
            self._restore()
        begin_alike(self.machine, self.learning, [fingerprint(job), self.step])
        reporter.log(self._plan())
        self._began, self._first_step = time.monotonic(), self.step
        self._last_checkpoint = time.monotonic()
        # Batches of a tuned copy pass as the original's do: no dropout, BatchNorm's statistics as they were.
        self.model.train(self.objective.mode == "train")
        fit(job, self.stepper, self.loader, reporter)
        if self.validation.scored and not self.selection.measured:
            self._evaluate(BEFORE)
        while self.epoch < self.epochs and not self._stops_early():
            self._train_epoch()
            self._close_epoch()
        self.loader.close()
        if self.evaluate_steps:
            self._save()
        try:
            return finish(
                job, self.machine, self.model, self.validation, self.selection, reporter, self.cancelled,
                by_steps=self.evaluate_steps > 0,
            )  # fmt: skip
        except Cancelled:
            raise Cancelled(self.checkpoint_path) from None

    def _plan(self) -> str:
        pool = len(self.job.parts.get("annotation_pool", ()))
        joined = f", {pool} of them from the annotation pool" if pool else ""
        weighted = 0 if self.job.shards else sum(item.w_a > 0 for item in self.items)
        looked = f" {weighted} carry attention supervision." if weighted else ""
        if several(self.job.recipe) and self.selection.rule in BEST_BY_PRECISION:
            looked += f" Images have several labels: the epoch with {BEST_BY_PRECISION[self.selection.rule]} is kept."
        began = f" Resumed after step {self.step}." if self.step else ""
        return f"Training on {len(self.items)} images{joined}, {len(self.loader)} steps an epoch.{looked}{began}"

    def _train_epoch(self) -> None:
        self._evaluate_if_due()  # where the run was interrupted before or within it
        if self._ends():
            return
        for raw in self.waiting.of(self.loader.epoch(self.epoch, self.batch)):
            batch = batch_of(self.job, self.machine, raw)
            self.schedule.apply(self.optimizer, self.step)
            if self.compiles:
                self._compile(batch.images)
            numbers = self.stepper.gradients(batch)
            if not math.isfinite(numbers.loss):  # of all processes: their mean is not finite either
                self._fail_at_step("The loss was", self.step + 1)
            self.stepper.apply()
            self.step, self.batch = self.step + 1, self.batch + 1
            self.tally.add(numbers.loss, numbers.hits, numbers.images)
            self._report_step({"loss": numbers.loss} | numbers.terms)
            self._maybe_stop_or_save()
            self._evaluate_if_due()
            if self._ends():
                return

    def _ends(self) -> bool:
        return self.step >= self.total or (self.evaluate_steps > 0 and self._stops_early())

    def _compile(self, images: Tensor) -> None:
        """Once, on the first batch that the run sees."""
        self.compiles = False
        self.stepper.model, said = compiled(self.machine, self.model, self.objective, images)
        self.reporter.log(said)

    def _report_step(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._metric("train", name, value)
        if self.schedule.name != "none":
            self._metric("train", "learning_rate", self.schedule.at(self.step - 1))
        done = self.step - self._first_step
        left = (time.monotonic() - self._began) / done * (self.total - self.step)
        self.reporter.progress("training", self.step, self.total, epoch=self.epoch + 1, seconds_left=round(left, 1))

    def _metric(self, part: str, name: str, value: float) -> None:
        self.reporter.metric(step=self.step, epoch=self.epoch + 1, part=part, name=name, value=value)

    def _maybe_stop_or_save(self) -> None:
        if self.machine.agree(self.cancelled()):
            self._save()
            raise Cancelled(self.checkpoint_path)
        minutes = float(self.job.option("checkpoint_minutes", 0))
        due = minutes > 0 and time.monotonic() - self._last_checkpoint >= 60 * minutes
        if self.machine.agree(due):
            self._save()

    def _close_epoch(self) -> None:
        """The end of an epoch: measured and saved here, unless the run is measured by steps."""
        learns = self.trained is self.model and any(item.label is not None for item in self.items)
        if self.tally.images and learns:
            name = "highest_is_a_label" if several(self.job.recipe) else "accuracy"
            self._metric("train", name, self.tally.accuracy)
        if not self.evaluate_steps:
            self._evaluate(self.epoch + 1)
        said = self.waiting.sentence(self.epoch + 1)
        if said:
            self.reporter.log(said)
        self.epoch, self.batch = self.epoch + 1, 0
        self.tally = Tally()
        if not self.evaluate_steps:
            self._save()
        self.reporter.flush()

    def _evaluate_if_due(self) -> None:
        """Measure after every so many steps and after the last one, each once."""
        if not self.evaluate_steps or not self.step:
            return
        due = self.step % self.evaluate_steps == 0 or self.step == self.total
        if due and (not self.selection.points or self.selection.points[-1].number < self.step):
            self._evaluate(self.step)

    def _evaluate(self, number: int) -> None:
        """Measure on the validation part, and keep the weights where they may be chosen."""
        self.machine.share_buffers(self.trained)
        point: Point | None = None
        stopped = False
        if self.machine.is_main:
            try:
                point, figures = self.validation.point(number)
                for name, value in figures.items():
                    self._metric("validation", name, value)
            except Cancelled:
                stopped = True
        point, stopped = self.machine.from_main((point, stopped))
        if stopped or point is None:
            self._save()
            raise Cancelled(self.checkpoint_path)
        self.selection.add(point)
        if self.selection.rule != "last" and number in self.selection.candidates() and self.machine.is_main:
            self._keep_weights(number)
        self._drop_weights()

    def _drop_weights(self) -> None:
        """Remove weights that can be chosen neither now nor after a restart from the newest checkpoint."""
        if self.machine.is_main:
            kept = {epoch_path(self.job, number) for number in self.selection.candidates() | self.in_checkpoint}
            for path in self.job.workdir.glob("epoch-*.safetensors"):
                if path not in kept:
                    path.unlink(missing_ok=True)

    def _stops_early(self) -> bool:
        if not self.stopped_early:
            why = self._why_stop()
            if why:
                where = f"step {self.step}" if self.evaluate_steps else f"epoch {self.epoch}"
                self.reporter.log(f"Stopped after {where}: {why}")
                self.stopped_early = True
        return self.stopped_early

    def _why_stop(self) -> str:
        patience = int(self.job.option("guard_patience", 0))
        if self.validation.scored and 0 < patience <= self.selection.points_under_guard():
            guard = self.selection.agreement_guard
            return f"{patience} measurements one after another agreed with the original on no more than {guard:.1%}."
        patience = int(self.job.option("early_stop_epochs", 0))
        best = self.selection.best()
        if best is None or not 0 < patience <= self.selection.points_without_better():
            return ""
        what, where = ("measurements", "step") if self.evaluate_steps else ("epochs", "epoch")
        return f"{patience} {what} brought nothing better than {where} {best.number}."

    def _keep_weights(self, number: int) -> None:
        try:
            keep(self.trained, epoch_path(self.job, number))
        except OSError as error:
            raise JobError(
                f"The weights of {'step' if self.evaluate_steps else 'epoch'} {number} could not be written "
                f"({error.strerror or error}); the last checkpoint is kept."
            ) from error

    def _fail_at_step(self, what: str, step: int) -> None:
        kept = " The last checkpoint is kept." if self.checkpoint_path else ""
        raise JobError(
            f"{what} not a number any more at step {step} (epoch {self.epoch + 1}).{kept} "
            "A smaller learning rate often helps."
        )

    def _save(self) -> bool:
        """Write a checkpoint; where the disk refuses, warn and go on with the one before. True when
        written.
        """
        self._last_checkpoint = time.monotonic()
        self.machine.share_buffers(self.trained)
        random = self.machine.from_all(random_state())
        if not self.machine.is_main:
            return True
        self.reporter.flush()
        trained = self.trained.state_dict()
        broken = [name for name, value in trained.items() if not bool(torch.isfinite(value).all())]
        if broken:
            self._fail_at_step(f"The weights ({broken[0]}) were", self.step)
        scaler = self.machine.accelerator.scaler
        state = {
            "fingerprint": fingerprint(self.job),
            "epoch": self.epoch,
            "batch": self.batch,
            "step": self.step,
            "tally": self.tally.state_dict(),
            "selection": self.selection.state_dict(),
            # What is trained beside the classifier is in the objective's state.
            "model": trained if self.trained is self.model else {},
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
            "random": random,
        }
        try:
            path = checkpoints.save(state, self.job.workdir)
        except OSError as error:
            self.reporter.log(
                f"The checkpoint after step {self.step} could not be written ({error.strerror or error}); "
                "the one before it is kept.",
                "warning",
            )
            return False
        self.checkpoint_path = str(path)
        self.in_checkpoint = self.selection.candidates()
        self._drop_weights()
        self.reporter.send("checkpoint", path=str(path), epoch=self.epoch, step=self.step)
        return True

    def _restore(self) -> None:
        assert self.job.resume is not None
        state = checkpoints.load(self.job.resume)
        if state["fingerprint"] != fingerprint(self.job):
            raise JobError("The checkpoint belongs to a run with another recipe or other images.")
        if self.trained is self.model:
            self.model.load_state_dict(state["model"])
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"] is not None and self.machine.accelerator.scaler is not None:
            self.machine.accelerator.scaler.load_state_dict(state["scaler"])
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
        self.tally.load_state_dict(state["tally"])
        self.selection.load_state_dict(state["selection"])
        said = restore_chance(self.machine, state["random"], seed=self.job.seed, step=self.step)
        if said:
            self.reporter.log(said)
        source = self.job.resume if self.job.resume.is_dir() else self.job.resume.parent
        self.checkpoint_path = str(source / checkpoints.NAME if self.job.resume.is_dir() else self.job.resume)
        self.in_checkpoint = self.selection.candidates()
        if self.selection.rule != "last" and self.machine.is_main:
            for number in self.in_checkpoint:
                here = epoch_path(self.job, number)
                there = source / here.name
                if not here.exists() and not there.exists():
                    raise JobError(f"The weights of epoch {number} that belong to the checkpoint are gone.")
                if not here.exists():
                    link_or_copy(there, here)


def _refuse_what_cannot_be_selected(rule: str, items: Sequence[Item], validation: list[Item]) -> None:
    if not items:
        raise JobError("There is no image to train on.")
    if rule != "last" and not validation:
        raise JobError("Choosing an epoch needs a validation part; add one, or keep the last epoch.")
    if rule == "best_attention_iou":
        without = [item.id for item in validation if not item.has_reference]
        if without:
            raise JobError(
                f"{len(without)} of {len(validation)} validation images have no mask or box (the first is "
                f"{without[0]}); keeping the epoch with the best attention IoU needs one for each."
            )
