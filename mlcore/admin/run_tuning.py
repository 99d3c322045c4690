"""What the page of a run shows of a copy that was tuned for a metric: before, after, and whether it says the same."""

from dataclasses import dataclass

from mlcore.catalogue import LEARNABLE, METHODS
from mlcore.catalogue.tuning import metric_of, tunes
from mlcore.models import Run, Score

NAMES = ("harmony_score_before", "harmony_score", "harmony_gain", "harmony_agreement")


@dataclass(frozen=True)
class Line:
    """One part's scores; None where one was not measured."""

    part: str
    guard: float
    before: Score | None
    after: Score | None
    gain: Score | None
    agreement: Score | None

    @property
    def agrees(self) -> bool:
        """Whether the copy says what the original says on more than the guard's share of images."""
        return self.agreement is not None and self.agreement.value is not None and self.agreement.value > self.guard


@dataclass(frozen=True)
class Outcome:
    """The table, and how it is to be read."""

    metric: str
    method: str
    better: str
    guard: float
    lines: list[Line]


def outcome(run: Run) -> Outcome | None:
    """None for a run that tuned nothing, or has measured nothing yet."""
    if not tunes(run.recipe):
        return None
    scores: dict[str, dict[str, Score]] = {}
    rows = Score.objects.filter(run=run, explanation_set=None, metric__in=NAMES).defer("per_image")
    for score in rows.order_by("part"):
        scores.setdefault(score.get_part_display(), {})[score.metric] = score
    if not scores:
        return None
    guard = float(run.recipe.get("agreement_guard", 0.95))
    spec, method = LEARNABLE.get(metric_of(run.recipe)), str(run.recipe.get("method", ""))
    return Outcome(
        metric=spec.title if spec else metric_of(run.recipe),
        method=METHODS[method].title if method in METHODS else method,
        better="higher is better" if spec is None or spec.higher_is_better else "lower is better",
        guard=guard,
        lines=[Line(part, guard, *(found.get(name) for name in NAMES)) for part, found in scores.items()],
    )


def titles(run: Run) -> dict[str, str]:
    """What this run's own curves are called."""
    if not tunes(run.recipe):
        return {}
    spec = LEARNABLE.get(metric_of(run.recipe))
    return {"score": spec.title if spec else "Score", "agreement": "Agreement with the original"}


def guides(run: Run) -> dict[str, dict[str, float | str]]:
    """Lines that a curve must stay above, by its name."""
    if not tunes(run.recipe):
        return {}
    return {"agreement": {"label": "must be above", "value": float(run.recipe.get("agreement_guard", 0.95))}}
