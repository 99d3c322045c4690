"""The end of a training run: the chosen weights, and one full look at validation (and test, where asked
for).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from mlcore.attribution.attention import AttentionModule
from mlcore.correspondence.chm.network import CHMNetwork
from mlcore.objectives.base import Objective
from mlcore.training.errors import JobError
from mlcore.training.events import Reporter
from mlcore.training.job import Job
from mlcore.training.machine import Machine
from mlcore.training.measure import Measurement, cam_of, measure
from mlcore.training.observe import mixed, observe
from mlcore.training.selection import Selection
from mlcore.training.setup import loader_of, viewing_of
from mlcore.training.tuning import nothing_agreed, report_gain
from mlcore.training.validation import Validation
from mlcore.training.weights import load_into, load_weights, save_weights

WEIGHTS = "weights.safetensors"
POINTING_TOLERANCE = 15.0
PREDICTION_ROWS = 1000  # a line of events stays below 100 kB


def epoch_path(job: Job, number: int) -> Path:
    """Where the weights of an epoch (or step) wait that may still be chosen."""
    return job.workdir / f"epoch-{number:05d}.safetensors"


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where the file system has no links; whole or not at all."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def keep(trained: nn.Module, path: Path) -> None:
    """Write what a run has trained: an attention or a correspondence network as its own file, which says what it is; a
    classifier's weights. Raises OSError."""
    if isinstance(trained, AttentionModule | CHMNetwork):
        trained.save(path)
    else:
        save_weights(trained, path)


def finish(
    job: Job,
    machine: Machine,
    model: nn.Module,
    validation: Validation,
    selection: Selection,
    reporter: Reporter,
    cancelled: Callable[[], bool],
    *,
    by_steps: bool = False,
) -> dict[str, Any]:
    """Write the chosen weights, measure them, and give the fields of the "result" event.

    by_steps: points are numbered by steps instead of epochs. The test part is looked at here only, once, with the
    chosen weights, and only if the recipe asks for it.
    """
    if not machine.is_main:
        return {}
    chosen = selection.best()
    if chosen is None:
        guarded = selection.rule == "best_score" and selection.guarded
        raise JobError(nothing_agreed(selection) if guarded else "The run has no epoch to keep.")
    weights, trained = job.workdir / WEIGHTS, validation.trained
    try:
        if selection.rule == "last":
            keep(trained, weights)
        else:
            link_or_copy(epoch_path(job, chosen.number), weights)
            load_into(trained, load_weights(weights))
    except OSError as error:
        raise JobError(f"The weights could not be written ({error.strerror or error}).") from error
    summary: dict[str, Any] = {"weights_sha256": sha256_of(weights)}
    if by_steps:
        summary |= {"steps": selection.points[-1].number, "selected_step": chosen.number}
    else:
        summary["epochs"] = selection.points[-1].number
    parts = ["validation"] if job.parts.get("validation") else []
    if job.option("evaluate_test", False):
        if not job.parts.get("test"):
            raise JobError("The final look at the test part was asked for, but there is no test part.")
        parts.append("test")
    for part in parts:
        if part == "test":
            reporter.log("Final look at the test part, with the chosen weights.", "warning")
        if trained is not model:
            summary[part] = report_own(job, machine, model, validation.objective, part, reporter, cancelled)
            continue
        summary[part] = report_part(job, machine, model, part, reporter, cancelled)
        if validation.scored:
            summary[part] |= report_gain(job, machine, model, validation, part, reporter, cancelled)
    result = {"weights": WEIGHTS, "selected_epoch": None if by_steps else chosen.number, "summary": summary}
    if isinstance(trained, AttentionModule):
        result["attention"] = {"kind": trained.kind, "variant": trained.variant, "layers": list(trained.layers)}
    if isinstance(trained, CHMNetwork):
        result["network"] = {"layer": trained.layer, "settings": trained.settings}
    return result


def report_own(
    job: Job,
    machine: Machine,
    model: nn.Module,
    objective: Objective,
    part: str,
    reporter: Reporter,
    cancelled: Callable[[], bool],
) -> dict[str, float | None]:
    """Send the scores of what the objective itself measures on a whole part, as the run has made it; the values by name
    are returned."""
    loader = loader_of(job, machine, mixed(job.parts[part]), reporter, keep=False)
    found = observe(
        machine, objective, model, loader, viewing_of(job), cancelled=cancelled,
        progress=lambda done, total: reporter.progress(f"looking at {part}", done, total),
    )  # fmt: skip
    rows = [values.compute() | {"per_image": dict(values.per_image)} for values in found.values()]
    reporter.send("scores", part=part, rows=rows)
    return {name: values.mean() for name, values in found.items()}


def report_part(
    job: Job,
    machine: Machine,
    model: nn.Module,
    part: str,
    reporter: Reporter,
    cancelled: Callable[[], bool],
    **viewing: Any,
) -> dict[str, float | None]:
    """Measure a part in full and send its predictions and scores; the values by name are returned."""
    options: dict[str, Any] = {"maps": True, "pointing_tolerance": POINTING_TOLERANCE}
    try:
        cam_of(model, viewing_of(job, **options | viewing))
    except ValueError as error:
        # A classifier without a spatial layer (a vision transformer) still has predictions.
        reporter.log(f"No maps are measured: {error}", "warning")
        options["maps"] = False
    found: Measurement = measure(
        machine,
        model,
        # Seen once: reading ahead would only take memory.
        loader_of(job, machine, job.parts[part], reporter, reference=True, keep=False),
        viewing_of(job, **options | viewing),
        progress=lambda done, total: reporter.progress(f"looking at {part}", done, total),
        cancelled=cancelled,
    )
    for start in range(0, len(found.predictions), PREDICTION_ROWS):
        reporter.send("predictions", part=part, rows=found.predictions[start : start + PREDICTION_ROWS])
    # Where the classifier has other classes than the images, labels say nothing: no row of no image.
    reporter.send("scores", part=part, rows=[row for row in found.rows() if row["n"] or row["left_out"]])
    return {name: found.value(name) for name in found.metrics}


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
