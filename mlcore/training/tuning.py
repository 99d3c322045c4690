"""The end of a run that tuned a copy of a classifier for a metric: what the metric gained on a part, and whether the
copy still says what the original says (definitions §5)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from mlcore.training.events import Reporter
from mlcore.training.job import Job
from mlcore.training.machine import Machine
from mlcore.training.observe import Values, mixed, observe
from mlcore.training.selection import Selection
from mlcore.training.setup import loader_of, viewing_of
from mlcore.training.validation import Validation
from mlcore.training.weights import load_into

BEFORE, AFTER, GAIN, AGREEMENT = "harmony_score_before", "harmony_score", "harmony_gain", "harmony_agreement"


def report_gain(
    job: Job,
    machine: Machine,
    model: nn.Module,
    validation: Validation,
    part: str,
    reporter: Reporter,
    cancelled: Callable[[], bool],
) -> dict[str, float | None]:
    """Score the original and the tuned copy on the whole part and send the scores; the values by name are returned.

    Both are seen on the same batches, so that each image (or mosaic) has a gain of its own. The model holds the tuned
    weights before and after.
    """
    loader = loader_of(job, machine, mixed(job.parts[part]), reporter, objects=True, cancelled=cancelled)
    tuned = {name: value.clone() for name, value in model.state_dict().items()}
    objective = validation.objective
    total = 2 * len(loader)

    def look(state: dict[str, Tensor], done: int) -> dict[str, Values]:
        load_into(model, state)
        return observe(
            machine, objective, model, loader, viewing_of(job), cancelled=cancelled,
            progress=lambda step, _: reporter.progress(f"scoring {part}", done + step, total),
        )  # fmt: skip

    try:
        before = look(validation.original, 0)
    finally:
        load_into(model, tuned)
    after = look(tuned, len(loader))
    found = {BEFORE: before["score"], AFTER: after["score"], AGREEMENT: after["agreement"]}
    found[GAIN] = after["score"].minus(before["score"], GAIN)
    for name, values in found.items():
        values.name = name
    reporter.send(
        "scores",
        part=part,
        rows=[values.compute() | {"per_image": dict(values.per_image)} for values in found.values()],
    )
    _warn(part, found, float(job.option("agreement_guard", 0.95)), objective.higher_is_better, reporter)
    return {name: values.mean() for name, values in found.items()}


def _warn(part: str, found: dict[str, Values], guard: float, higher: bool, reporter: Reporter) -> None:
    agreement, gain = found[AGREEMENT].mean(), found[GAIN].mean()
    if agreement is not None and not agreement > guard:
        reporter.log(
            f"On the {part} part the tuned classifier agrees with the original on {agreement:.1%} of images, "
            f"not on more than {guard:.1%}.",
            "warning",
        )
    if gain is not None and not (gain if higher else -gain) > 0:
        reporter.log(f"On the {part} part the score has not become better.", "warning")


def nothing_agreed(selection: Selection) -> str:
    """Why a run has no weights to keep, in one line."""
    guard = selection.agreement_guard
    agreements = [point.agreement for point in selection.points if point.agreement is not None]
    if not agreements:
        return "The tuned classifier was never measured, so that there is none to keep."
    if max(agreements) > guard:
        return "No measurement that agreed with the original had a score, so that there is no tuned classifier to keep."
    return (
        f"No measurement agreed with the original on more than {guard:.1%} of predictions (the best: "
        f"{max(agreements):.1%}), so that there is no tuned classifier to keep. A smaller learning rate or weight of "
        "the term, or more weight of staying the same, helps."
    )
