"""Which epoch a run keeps (definitions §2): decided on the validation part alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

RULES = ("last", "best_accuracy", "best_attention_iou")
# Accuracies are shares of counts; the guard keeps 0.90 − 0.01 from missing 0.89 by rounding.
GUARD = 1e-9


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch's figures on the validation part."""

    number: int
    accuracy: float | None
    attention_iou: float | None


class Selection:
    """Chooses among epochs, and says which weights can still be chosen later.

    last: the last epoch. best_accuracy: the highest accuracy. best_attention_iou: the highest attention IoU
    among epochs whose accuracy is within `tolerance` of the best. Of equal IoUs the higher accuracy wins,
    of equal epochs the earliest.
    """

    def __init__(self, rule: str, tolerance: float = 0.01) -> None:
        if rule not in RULES:
            raise ValueError(f"“select” must be one of {', '.join(RULES)}, not “{rule}”.")
        self.rule, self.tolerance = rule, tolerance
        self.epochs: list[Epoch] = []

    def add(self, epoch: Epoch) -> None:
        """The next epoch's figures."""
        self.epochs.append(epoch)

    def _near_best(self) -> list[Epoch]:
        best = max(epoch.accuracy or 0.0 for epoch in self.epochs)
        return [epoch for epoch in self.epochs if (epoch.accuracy or 0.0) >= best - self.tolerance - GUARD]

    @staticmethod
    def _iou(epoch: Epoch) -> float:
        # An epoch whose maps were all unusable has no IoU; it loses to any that has.
        return -1.0 if epoch.attention_iou is None else epoch.attention_iou

    def best(self) -> Epoch | None:
        """The epoch chosen so far; None before the first."""
        if not self.epochs:
            return None
        if self.rule == "last":
            return self.epochs[-1]
        if self.rule == "best_accuracy":
            return max(self.epochs, key=lambda epoch: (epoch.accuracy or 0.0, -epoch.number))
        return max(self._near_best(), key=lambda epoch: (self._iou(epoch), epoch.accuracy or 0.0, -epoch.number))

    def candidates(self) -> set[int]:
        """Numbers of epochs whose weights have to be kept.

        The best accuracy only rises, so an epoch that has fallen out of its reach never returns; nor does one
        that another epoch equals or beats in both figures.
        """
        best = self.best()
        if best is None:
            return set()
        if self.rule != "best_attention_iou":
            return {best.number}
        near = self._near_best()
        return {
            epoch.number
            for epoch in near
            if not any(
                (
                    (other.accuracy or 0.0) >= (epoch.accuracy or 0.0)
                    and self._iou(other) >= self._iou(epoch)
                    and ((other.accuracy, self._iou(other)) != (epoch.accuracy, self._iou(epoch)))
                )
                or (
                    (other.accuracy, self._iou(other)) == (epoch.accuracy, self._iou(epoch))
                    and other.number < epoch.number
                )
                for other in near
                if other is not epoch
            )
        }

    def epochs_without_better(self) -> int:
        """How many epochs ago the chosen one was: what early stopping counts."""
        best = self.best()
        return self.epochs[-1].number - best.number if best is not None else 0

    def state_dict(self) -> list[dict[str, Any]]:
        """For a checkpoint."""
        return [asdict(epoch) for epoch in self.epochs]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """From a checkpoint."""
        self.epochs = [Epoch(**entry) for entry in state]
