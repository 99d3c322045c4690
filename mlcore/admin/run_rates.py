"""What the page of a learning-rate test shows: the losses over the rate, the suggestion, and the way on."""

from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from mlcore.admin import run_form
from mlcore.catalogue import differences
from mlcore.catalogue.recipe_fields import RATES
from mlcore.models import Run
from mlcore.runs import summary

OBJECTS = ("image_set", "partition", "classifier", "supervision", "seed")


def outcome(run: Run) -> dict[str, Any] | None:
    """The suggestion, a sentence about it, and the address of the form of a run with this rate; None before the end."""
    found = run.result.get("rates") if run.kind == Run.Kind.LR_TEST else None
    if not found:
        return None
    rate = found.get("suggestion")
    return found | {"address": train_address(run, rate) if rate else ""}


def train_address(run: Run, rate: float) -> str:
    """The form of the training run that was tried, with this learning rate."""
    own = {field.name for field in RATES}
    typed = run_form.from_run(run)
    told = {line.field.name for line in differences(run.kind, run.recipe) if not line.is_default} - own
    # What the classifier brings by itself is said too: it may differ from what the recipe had.
    names = [*OBJECTS, "objective", *run_form.READING, *sorted(told)]
    values = {name: typed[name] for name in names if typed.get(name) not in (None, "")}
    values |= {"kind": Run.Kind.TRAIN.value, "learning_rate": f"{rate:.3g}"}
    return f"{reverse('admin:mlcore_run_start')}?{urlencode(values)}"


def curve(run: Run) -> dict[str, Any]:
    """For the page's script: rates in order, the loss at each and the smoothed one (null where it is not there yet)."""
    columns = {one.name: dict(zip(one.steps, one.values, strict=True)) for one in summary.curves(run)}
    losses, smoothed = columns.get("loss", {}), columns.get("smoothed", {})
    rows = [(rate, losses.get(step), smoothed.get(step)) for step, rate in columns.get("rate", {}).items()]
    return {
        "open": run.state in Run.OPEN,
        "rates": [row[0] for row in rows],
        "loss": [row[1] for row in rows],
        "smoothed": [row[2] for row in rows],
        "suggestion": (run.result.get("rates") or {}).get("suggestion"),
    }
