"""An evaluation job: predictions and scores of the parts that the job brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlcore.catalogue.methods import METHODS
from mlcore.training.errors import JobError
from mlcore.training.events import Reporter
from mlcore.training.job import PARTS, Job
from mlcore.training.machine import fix_randomness, versions
from mlcore.training.results import POINTING_TOLERANCE, report_part
from mlcore.training.setup import machine_of, model_of


def evaluate(job: Job, reporter: Reporter, cancelled: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Measure every part of the job; the fields of its "result" event are returned.

    Accuracy and attention IoU are of the predicted class's evaluation map, the pointing game of the true
    class's map (definitions §2, §7).
    """
    parts = [name for name in PARTS if job.parts.get(name)]
    if not parts:
        raise JobError("There is no image to evaluate.")
    method = str(job.option("method", "grad_cam"))
    if method not in METHODS:
        raise JobError(f"There is no method “{method}”; there are {', '.join(METHODS)}.")
    machine = machine_of(job)
    if not machine.is_main:
        return {}
    fix_randomness(job.seed)
    model = model_of(job, machine).eval()
    batch_size = int(job.option("batch_size", 32))
    total = sum(-(-len(job.parts[part]) // batch_size) for part in parts)
    reporter.send("started", versions=versions(), device=str(machine.device), total_steps=total)
    summary = {
        part: report_part(
            job,
            machine,
            model,
            part,
            reporter,
            cancelled,
            thresholds=tuple(float(value) for value in job.option("thresholds", (0.5, 0.75))),
            pointing_tolerance=float(job.option("pointing_tolerance", POINTING_TOLERANCE)),
            preset=str(job.option("preset", "default")),
            elementwise=method == "hires_cam",
        )
        for part in parts
    }
    return {"weights": None, "selected_epoch": None, "summary": summary}
