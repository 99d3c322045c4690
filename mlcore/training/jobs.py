"""One job from its dictionary to its last event."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import torch

from mlcore.training.correspond import correspond
from mlcore.training.errors import Cancelled, JobError
from mlcore.training.evaluate import evaluate
from mlcore.training.events import Emit, Reporter
from mlcore.training.explain import explain
from mlcore.training.job import Job, parse
from mlcore.training.loop import train
from mlcore.training.lr_test_job import try_rates
from mlcore.training.machine import others_are_gone
from mlcore.training.report import report
from mlcore.training.score import score

KINDS: dict[str, Callable[[Job, Reporter, Callable[[], bool]], dict[str, Any]]] = {
    "train": train,
    "lr_test": try_rates,
    "explain": explain,
    "evaluate": evaluate,
    "score": score,
    "report": report,
    "correspond": correspond,
}

SUCCEEDED, FAILED, CANCELLED = 0, 1, 3


def run_job(job: Mapping[str, Any], emit: Emit, cancelled: Callable[[], bool] = lambda: False) -> int:
    """Run one job (the dictionary of JOB.json), telling everything to `emit` as dictionaries.

    The last event is "result", "cancelled" or "failed"; the exit status 0, 3 or 1 is returned. `cancelled` is
    asked between steps. Nothing is raised but what `emit` raises.
    """
    reporter = Reporter(emit)
    try:
        parsed = parse(job)
        result = KINDS[parsed.kind](parsed, reporter, cancelled)
    except Cancelled as stop:
        reporter.flush()
        reporter.send("cancelled", checkpoint=stop.checkpoint)
        return CANCELLED
    except JobError as error:
        reporter.flush()
        # Said by whichever of several processes it is: the others would only miss it.
        emit({"event": "failed", "reason": str(error)})
        return FAILED
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        reporter.flush()
        if others_are_gone(error):
            reporter.send("failed", reason="The connection to the run's other processes was lost.", lost=True)
        else:
            emit({"event": "failed", "reason": _reason(error)})
        return FAILED
    reporter.flush()
    reporter.send("result", **result)
    return SUCCEEDED


def _reason(error: Exception) -> str:
    if isinstance(error, BrokenPipeError):
        raise error  # nobody listens: there is no one to tell
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "The machine ran out of memory; a smaller batch or input size helps."
    lines = str(error).strip().splitlines()
    return f"The job broke off: {type(error).__name__}: {lines[0] if lines else 'no further word'}"
