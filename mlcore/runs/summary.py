"""What pages show of a run: its curves, the end of its log, the time left."""

from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from mlcore.models import Run
from mlcore.runs.comparison import BeforeAfter, before_after
from mlcore.runs.state import HELD

__all__ = [
    "BeforeAfter",
    "Curve",
    "before_after",
    "curves",
    "in_words",
    "log_tail",
    "progress",
    "time_left",
    "time_used",
]

MOST_POINTS = 500  # a curve on a screen has no more pixels


@dataclass(frozen=True)
class Curve:
    """One metric on one part over a run: points in the order of steps."""

    name: str
    part: str
    steps: list[int]
    epochs: list[float]
    values: list[float]


def curves(run: Run) -> list[Curve]:
    """Every curve of the run, at most 500 points each (the last one always among them)."""
    points: dict[tuple[str, str], list[tuple[int, float, float]]] = {}
    rows = run.metrics.order_by("name", "part", "step").values_list("name", "part", "step", "epoch", "value")
    for name, part, step, epoch, value in rows.iterator():
        points.setdefault((name, part), []).append((step, epoch, value))
    return [
        Curve(name, part, *(list(column) for column in zip(*_thinned(found), strict=True)))
        for (name, part), found in points.items()
    ]


def _thinned(points: list[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    stride = -(-len(points) // MOST_POINTS)
    # Counted from the end, so that the newest value is the one that is shown.
    return points[::-1][::stride][::-1]


def log_tail(run: Run, lines: int = 60) -> str:
    """The last lines of the log."""
    return "\n".join(run.log.splitlines()[-lines:])


def progress(run: Run) -> float:
    """Share of the steps that are done, 0 to 1."""
    if run.state == Run.State.SUCCEEDED:
        return 1.0
    return min(run.step / run.total_steps, 1.0) if run.total_steps else 0.0


def time_left(run: Run) -> str:
    """In words, such as "about 3 minutes"; empty where it is not known."""
    if run.state not in HELD or run.seconds_left is None:
        return ""
    since = (timezone.now() - run.heartbeat).total_seconds() if run.heartbeat else 0.0
    return in_words(max(run.seconds_left - since, 0.0))


def time_used(run: Run) -> timedelta | None:
    """From the first start to the end, or until now."""
    return (run.ended or timezone.now()) - run.started if run.started else None


def in_words(seconds: float) -> str:
    """A duration as a person would say it."""
    if seconds < 5:
        return "a few seconds"
    if seconds < 90:
        return f"about {round(seconds / 5) * 5} seconds"
    if seconds < 5400:
        return f"about {round(seconds / 60)} minutes"
    if seconds < 36 * 3600:
        return f"about {round(seconds / 3600)} hours"
    return f"about {round(seconds / 86400)} days"
