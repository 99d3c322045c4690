"""Which measured point of a run is kept (definitions §2, §5): decided on the validation part alone."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

RULES = ("last", "best_accuracy", "best_attention_iou", "best_score")
# Accuracies are shares of counts; the guard keeps 0.90 − 0.01 from missing 0.89 by rounding.
GUARD = 1e-9
BEFORE = 0


@dataclass(frozen=True, slots=True)
class Point:
    """A run's figures on the validation part after one epoch, or after so many steps.

    number: of the epoch, from 1, or of the step; BEFORE (0) is the classifier as the run found it.
    score, agreement: means of what the objective itself measures (`Objective.measure`), where it does.
    """

    number: int
    accuracy: float | None = None
    attention_iou: float | None = None
    score: float | None = None
    agreement: float | None = None


class Selection:
    """Chooses among points, and says which weights can still be chosen later.

    last: the last point. best_accuracy: the highest accuracy. best_attention_iou: the highest attention IoU
    among points whose accuracy is within `tolerance` of the best. Of equal IoUs the higher accuracy wins,
    of equal points the earliest. best_score: the best score (`higher_is_better` says which way), where `guarded`
    among points whose agreement is above `agreement_guard`; there may be none. The point BEFORE is never chosen.
    """

    def __init__(
        self,
        rule: str,
        tolerance: float = 0.01,
        *,
        agreement_guard: float = 0.95,
        higher_is_better: bool = True,
        guarded: bool = True,
    ) -> None:
        if rule not in RULES:
            raise ValueError(f"“select” must be one of {', '.join(RULES)}, not “{rule}”.")
        self.rule, self.tolerance, self.guarded = rule, tolerance, guarded
        self.agreement_guard, self.sign = agreement_guard, 1.0 if higher_is_better else -1.0
        self.measured: list[Point] = []

    @property
    def points(self) -> list[Point]:
        """Every point that can be chosen, in order."""
        return [point for point in self.measured if point.number != BEFORE]

    def add(self, point: Point) -> None:
        """The next point's figures."""
        self.measured.append(point)

    def _near_best(self) -> list[Point]:
        best = max(point.accuracy or 0.0 for point in self.points)
        return [point for point in self.points if (point.accuracy or 0.0) >= best - self.tolerance - GUARD]

    @staticmethod
    def _iou(point: Point) -> float:
        # A point whose maps were all unusable has no IoU; it loses to any that has.
        return -1.0 if point.attention_iou is None else point.attention_iou

    def agrees(self, point: Point) -> bool:
        """Whether the classifier said the same as before on more than the guard's share of predictions, where it is
        asked."""
        return not self.guarded or (point.agreement is not None and point.agreement > self.agreement_guard)

    def _scored(self) -> list[tuple[float, int, Point]]:
        return [
            (self.sign * point.score, -point.number, point)
            for point in self.points
            if self.agrees(point) and point.score is not None and math.isfinite(point.score)
        ]

    def best(self) -> Point | None:
        """The point chosen so far; None before the first, and while no agreement is above the guard."""
        if not self.points:
            return None
        if self.rule == "last":
            return self.points[-1]
        if self.rule == "best_accuracy":
            return max(self.points, key=lambda point: (point.accuracy or 0.0, -point.number))
        if self.rule == "best_score":
            scored = self._scored()
            return max(scored, key=lambda found: found[:2])[2] if scored else None
        return max(self._near_best(), key=lambda point: (self._iou(point), point.accuracy or 0.0, -point.number))

    def candidates(self) -> set[int]:
        """Numbers of points whose weights have to be kept.

        The best accuracy only rises, so a point that has fallen out of its reach never returns; nor does one
        that another point equals or beats in both figures.
        """
        best = self.best()
        if best is None:
            return set()
        if self.rule != "best_attention_iou":
            return {best.number}
        near = self._near_best()
        return {
            point.number
            for point in near
            if not any(
                (
                    (other.accuracy or 0.0) >= (point.accuracy or 0.0)
                    and self._iou(other) >= self._iou(point)
                    and ((other.accuracy, self._iou(other)) != (point.accuracy, self._iou(point)))
                )
                or (
                    (other.accuracy, self._iou(other)) == (point.accuracy, self._iou(point))
                    and other.number < point.number
                )
                for other in near
                if other is not point
            )
        }

    def points_without_better(self) -> int:
        """How many points ago the chosen one was: what early stopping counts."""
        best = self.best()
        return len(self.points) - 1 - self.points.index(best) if best is not None else 0

    def points_under_guard(self) -> int:
        """How many of the newest points, one after another, agreed too little to be chosen."""
        count = 0
        for point in reversed(self.points):
            if self.agrees(point):
                break
            count += 1
        return count

    def state_dict(self) -> list[dict[str, Any]]:
        """For a checkpoint."""
        return [asdict(point) for point in self.measured]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """From a checkpoint; an older one knows of no score."""
        self.measured = [Point(**entry) for entry in state]
