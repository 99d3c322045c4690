"""An explanation job: a map for every image that the job brings, in shards."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlcore.attribution.maps import status
from mlcore.catalogue.methods import METHODS
from mlcore.training.errors import Cancelled, JobError
from mlcore.training.events import Reporter
from mlcore.training.job import Job
from mlcore.training.machine import fix_randomness, versions
from mlcore.training.setup import loader_of, machine_of, model_of, resolve

SHARD_MAPS = 512
TARGETS = ("true", "predicted", "given", "second")
SHARD_NAME = re.compile(r"explanations-(\d+)\.npz")


def explain(job: Job, reporter: Reporter, cancelled: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Write maps of all images but those in the job's `skip`; the fields of its "result" event are returned.

    Each shard is a whole .npz file with the array "maps" (n, h, w) float32, n ≤ 512, reported once it is on
    the disk. Numbers go on after shards that lie in the folder already, none is overwritten. A cancelled job
    reports what it has finished.
    """
    items = [item for part in job.parts.values() for item in part if item.id not in job.skip]
    target = str(job.option("target", "predicted"))
    if target not in TARGETS:
        raise JobError(f"“target” must be one of {', '.join(TARGETS)}, not “{target}”.")
    unlabelled = [item.id for item in items if item.label is None]
    if target == "true" and unlabelled:
        raise JobError(f"The image {unlabelled[0]} has no label, so its true class cannot be explained.")
    machine = machine_of(job)
    if not machine.is_main:
        return {}
    fix_randomness(job.seed)
    model = model_of(job, machine).eval()
    method = _method_of(job, model)
    job.workdir.mkdir(parents=True, exist_ok=True)
    reporter.send("started", versions=versions(), device=str(machine.device), total_steps=len(items))
    shards = Shards(job.workdir, reporter)
    if items:
        loader = loader_of(job, machine, items, reporter, keep=False)
        given = int(job.option("target_class", 0))
        for raw in loader.epoch():
            if cancelled():
                shards.flush()
                raise Cancelled
            batch = raw.to_batch(
                machine.device,
                str(job.option("normalise", "imagenet")),
                channels_last=bool(job.option("channels_last", False)),
            )
            chooser = Chooser(target, batch.labels, given)
            with machine.autocast():
                try:
                    maps = method.explain(batch.images, chooser)
                except ValueError as error:
                    raise JobError(str(error)) from error
            shards.add(raw.ids, chooser.chosen.tolist(), maps.float().cpu())
            reporter.progress("explaining", shards.count, len(items))
        shards.flush()
    return {
        "weights": None,
        "selected_epoch": None,
        "summary": {"maps": shards.count, "skipped": len(job.skip), "status": shards.statuses},
    }


def _method_of(job: Job, model: nn.Module) -> Any:
    name = str(job.option("method", "grad_cam"))
    if name not in METHODS:
        raise JobError(f"There is no method “{name}”; there are {', '.join(METHODS)}.")
    options = {
        field.name: job.option(field.name) for field in METHODS[name].fields if job.option(field.name) is not None
    }
    try:
        return resolve(METHODS[name].path)(model, **options)
    except (TypeError, ValueError) as error:
        raise JobError(f"The method {METHODS[name].title} refuses its options: {error}") from error


class Chooser:
    """The class to explain, from the logits (B, K) of the one forward pass; `chosen` remembers them (B,)."""

    def __init__(self, target: str, labels: Tensor, given: int) -> None:
        self.target, self.labels, self.given = target, labels, given
        self.chosen = labels

    def __call__(self, logits: Tensor) -> Tensor:
        """Classes (B,) on the logits' device."""
        if self.target == "true":
            self.chosen = self.labels.to(logits.device)
        elif self.target == "given":
            self.chosen = torch.full_like(self.labels, self.given).to(logits.device)
        else:
            order = logits.argsort(dim=1, descending=True, stable=True)
            self.chosen = order[:, 1 if self.target == "second" else 0]
        return self.chosen


class Shards:
    """Collects maps and writes them, at most 512 of one size a file."""

    def __init__(self, folder: Path, reporter: Reporter) -> None:
        self.folder, self.reporter = folder, reporter
        found = [SHARD_NAME.fullmatch(path.name) for path in folder.iterdir()]
        self._number = max((int(match[1]) for match in found if match), default=-1) + 1
        self._maps: list[NDArray[np.float32]] = []
        self._rows: list[dict[str, Any]] = []
        self.count = 0
        self.statuses: dict[str, int] = {}

    def add(self, ids: list[str], targets: list[int], maps: Tensor) -> None:
        """Maps (B, h, w) of images for target classes; full shards are written at once."""
        for name, target, heat, word in zip(ids, targets, maps.numpy(), status(maps), strict=True):
            if self._maps and self._maps[0].shape != heat.shape:
                self.flush()
            self._rows.append(
                {
                    "image": name,
                    "index": len(self._maps),
                    "target": target,
                    "height": heat.shape[0],
                    "width": heat.shape[1],
                    "maximum": float(heat.max()),
                    "status": word,
                }
            )
            self._maps.append(heat)
            self.count += 1
            self.statuses[word] = self.statuses.get(word, 0) + 1
            if len(self._maps) == SHARD_MAPS:
                self.flush()

    def flush(self) -> None:
        """Write what waits as one shard, whole or not at all, and report it. Raises JobError on a full
        disk.
        """
        if not self._maps:
            return
        path = self.folder / f"explanations-{self._number:05d}.npz"
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as stream:
                np.savez_compressed(stream, maps=np.stack(self._maps))
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except OSError as error:
            raise JobError(f"The maps could not be written ({error.strerror or error}).") from error
        finally:
            Path(temporary).unlink(missing_ok=True)
        self.reporter.send("shard", path=path.name, rows=self._rows)
        self._number += 1
        self._maps, self._rows = [], []
