"""The training loop: one for every objective."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mlcore.metrics.attention_iou import AttentionIoU
from mlcore.objectives.base import Loss
from mlcore.training import checkpoints
from mlcore.training.data import batches_of
from mlcore.training.errors import Cancelled, JobError
from mlcore.training.events import Reporter
from mlcore.training.history import Tally, fingerprint
from mlcore.training.job import Item, Job
from mlcore.training.machine import fix_randomness, random_state, restore_random_state, versions
from mlcore.training.measure import Measurement, cam_of, measure
from mlcore.training.optimisation import optimizer_of, schedule_of
from mlcore.training.results import epoch_path, finish, link_or_copy
from mlcore.training.selection import Epoch, Selection
from mlcore.training.setup import loader_of, machine_of, model_of, objective_of, viewing_of
from mlcore.training.weights import save_weights


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
        self.items = [item for part in ("train", "annotation_pool") for item in job.parts.get(part, ())]
        self.validation_items = job.parts.get("validation", [])
        self.epochs = int(job.option("epochs", 10))
        rule = str(job.option("select", "best_accuracy"))
        _refuse_what_cannot_be_selected(rule, self.items, self.validation_items)
        self.machine = machine_of(job)
        if not self.machine.is_main:
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
        self.optimizer = self.machine.accelerator.prepare_optimizer(
            optimizer_of(job, [*self.model.parameters(), *self.objective.parameters()])
        )
        self.selection = Selection(rule, float(job.option("select_tolerance", 0.01)))
        self.threshold = float(job.option("select_threshold", 0.75))
        self.measures_maps = self._measures_maps()
        # Each process drops out other units; the same seed would repeat one mask in all of them.
        torch.manual_seed(job.seed + self.machine.rank)
        self.epoch, self.batch, self.step = 0, 0, 0
        self.tally = Tally()
        self.checkpoint_path: str | None = None

    def run(self) -> dict[str, Any]:
        """Train, choose, measure."""
        job, reporter = self.job, self.reporter
        job.workdir.mkdir(parents=True, exist_ok=True)
        steps_per_epoch = len(batches_of(len(self.items), int(job.option("batch_size", 32))))
        self.total = self.epochs * steps_per_epoch
        reporter.send("started", versions=versions(), device=str(self.machine.device), total_steps=self.total)
        self.loader = loader_of(job, self.machine, self.items, reporter, training=True, cancelled=self.cancelled)
        self.validation = (
            loader_of(job, self.machine, self.validation_items, reporter, reference=True, cancelled=self.cancelled)
            if self.validation_items and self.machine.is_main
            else None
        )
        self.schedule = schedule_of(job, steps_per_epoch, self.epochs)
        if job.resume is not None:
            self._restore()
        reporter.log(self._plan())
        self._began, self._first_step = time.monotonic(), self.step
        self._last_checkpoint = time.monotonic()
        self.model.train()
        while self.epoch < self.epochs and not self._stops_early():
            self._train_epoch()
            self._close_epoch()
        try:
            return finish(job, self.machine, self.model, self.selection, reporter, self.cancelled)
        except Cancelled:
            raise Cancelled(self.checkpoint_path) from None

    def _measures_maps(self) -> bool:
        """Whether validation makes maps: where the choice needs them, or where they cost next to nothing."""
        if not any(item.has_reference for item in self.validation_items):
            return False
        needed = self.selection.rule == "best_attention_iou"
        try:
            return cam_of(self.model, viewing_of(self.job)).head is not None or needed
        except ValueError as error:
            if needed:
                raise JobError(str(error)) from error
            return False

    def _plan(self) -> str:
        pool = len(self.job.parts.get("annotation_pool", ()))
        joined = f", {pool} of them from the annotation pool" if pool else ""
        weighted = sum(item.w_a > 0 for item in self.items)
        looked = f" {weighted} carry attention supervision." if weighted else ""
        began = f" Resumed after step {self.step}." if self.step else ""
        return f"Training on {len(self.items)} images{joined}, {len(self.loader)} steps an epoch.{looked}{began}"

    def _train_epoch(self) -> None:
        for raw in self.loader.epoch(self.epoch, self.batch):
            batch = raw.to_batch(
                self.machine.device,
                str(self.job.option("normalise", "imagenet")),
                channels_last=bool(self.job.option("channels_last", False)),
            )
            self.schedule.apply(self.optimizer, self.step)
            with self.machine.autocast():
                loss = self.objective.loss(self.model, batch)
            hits = (loss.logits.detach().argmax(dim=1) == batch.labels).sum()
            numbers, hit, seen = self._numbers(loss, hits, len(batch))
            if not math.isfinite(numbers[0]):  # of all processes: their mean is not finite either
                self._fail_at_step("The loss was", self.step + 1)
            self.machine.accelerator.backward(loss.total)
            self.machine.average_gradients(self.model)
            self.machine.average_gradients(self.objective)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step, self.batch = self.step + 1, self.batch + 1
            self.tally.add(numbers[0], hit, seen)
            self._report_step(dict(zip(["loss", *loss.terms], numbers, strict=True)))
            self._maybe_stop_or_save()

    def _numbers(self, loss: Loss, hits: Tensor, images: int) -> tuple[list[float], float, float]:
        """Total and terms, right predictions and images: means over processes, one transfer for all."""
        device = loss.total.device
        values = [loss.total.detach(), *loss.terms.values(), hits, torch.tensor(images)]
        *numbers, hit, seen = self.machine.average(
            torch.stack([value.to(device, torch.float32) for value in values])
        ).tolist()
        return numbers, hit, seen

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
        """Measure the epoch on the validation part, keep its weights where they may be chosen, and save."""
        self._metric("train", "accuracy", self.tally.accuracy)
        self.machine.share_buffers(self.model)
        figures: Epoch | None = None
        stopped = False
        if self.machine.is_main:
            try:
                figures = self._validate()
            except Cancelled:
                stopped = True
        figures, stopped = self.machine.from_main((figures, stopped))
        if stopped or figures is None:
            self._save()
            raise Cancelled(self.checkpoint_path)
        self.selection.add(figures)
        candidates = self.selection.candidates()
        if self.selection.rule != "last" and self.epoch + 1 in candidates and self.machine.is_main:
            self._keep_weights()
        self.epoch, self.batch = self.epoch + 1, 0
        self.tally = Tally()
        if self._save() and self.machine.is_main:
            # Only now: the checkpoint before this one still named the others.
            for path in self.job.workdir.glob("epoch-*.safetensors"):
                if path not in {epoch_path(self.job, number) for number in candidates}:
                    path.unlink(missing_ok=True)
        self.reporter.flush()

    def _validate(self) -> Epoch:
        if self.validation is None:
            return Epoch(self.epoch + 1, None, None)
        found = measure(
            self.machine,
            self.model,
            self.validation,
            viewing_of(self.job, maps=self.measures_maps, thresholds=(self.threshold, 0.5)),
            cancelled=self.cancelled,
        )
        self._report_validation(found)
        return Epoch(self.epoch + 1, found.value("accuracy"), found.value(AttentionIoU(self.threshold).name))

    def _report_validation(self, found: Measurement) -> None:
        if found.loss is not None:
            self._metric("validation", "loss", found.loss)
        for name in found.metrics:
            value = found.value(name)
            if value is not None:
                self._metric("validation", name, value)

    def _stops_early(self) -> bool:
        patience = int(self.job.option("early_stop_epochs", 0))
        if patience <= 0 or not self.selection.epochs:
            return False
        if self.selection.epochs_without_better() < patience:
            return False
        self.reporter.log(
            f"Stopped after epoch {self.epoch}: {patience} epochs brought nothing better than epoch "
            f"{self.selection.epochs[-1].number - self.selection.epochs_without_better()}."
        )
        return True

    def _keep_weights(self) -> None:
        try:
            save_weights(self.model, epoch_path(self.job, self.epoch + 1))
        except OSError as error:
            raise JobError(
                f"The weights of epoch {self.epoch + 1} could not be written "
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
        self.machine.share_buffers(self.model)
        random = self.machine.from_all(random_state())
        if not self.machine.is_main:
            return True
        self.reporter.flush()
        model = self.model.state_dict()
        broken = [name for name, value in model.items() if not bool(torch.isfinite(value).all())]
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
            "model": model,
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
        self.reporter.send("checkpoint", path=str(path), epoch=self.epoch, step=self.step)
        return True

    def _restore(self) -> None:
        assert self.job.resume is not None
        state = checkpoints.load(self.job.resume)
        if state["fingerprint"] != fingerprint(self.job):
            raise JobError("The checkpoint belongs to a run with another recipe or other images.")
        self.model.load_state_dict(state["model"])
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"] is not None and self.machine.accelerator.scaler is not None:
            self.machine.accelerator.scaler.load_state_dict(state["scaler"])
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
        self.tally.load_state_dict(state["tally"])
        self.selection.load_state_dict(state["selection"])
        if self.machine.rank < len(state["random"]):
            restore_random_state(state["random"][self.machine.rank])
        source = self.job.resume if self.job.resume.is_dir() else self.job.resume.parent
        self.checkpoint_path = str(source / checkpoints.NAME if self.job.resume.is_dir() else self.job.resume)
        if self.selection.rule != "last" and self.machine.is_main:
            for number in self.selection.candidates():
                here = epoch_path(self.job, number)
                there = source / here.name
                if not here.exists() and not there.exists():
                    raise JobError(f"The weights of epoch {number} that belong to the checkpoint are gone.")
                if not here.exists():
                    link_or_copy(there, here)


def _refuse_what_cannot_be_selected(rule: str, items: list[Item], validation: list[Item]) -> None:
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
