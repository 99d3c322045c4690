"""The learning-rate test: one epoch at rates that rise from step to step (definitions §4).

Smith, "Cyclical learning rates for training neural networks", WACV 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LearningRateCurve:
    """What a test found: of each step made, its rate, its loss and the smoothed loss.

    suggestion: the rate at which the smoothed loss fell most steeply; None where it never fell. stopped: the loss rose
    too far, or was not a number, before the last rate.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float | None
    stopped: bool


def learning_rate_test(
    step: Callable[[float], float],
    steps: int,
    *,
    low: float = 1e-8,
    high: float = 10.0,
    beta: float = 0.999,
    stop_at: float = 4.0,
) -> LearningRateCurve:
    """Make up to `steps` steps at rates from `low` to `high`, each the same factor above the one before.

    step: makes one training step at the rate given and returns its loss, a positive number. beta: of the exponential
    average. stop_at: the test ends where the smoothed loss is more than so many times its best.
    The suggestion looks a twentieth of the steps to either side of a rate and leaves out the first tenth, where the
    average is of few losses. The training state is the caller's to put back.
    Raises ValueError where the range or a constant cannot be.
    """
    if steps < 2:
        raise ValueError(f"A learning-rate test needs 2 steps or more, not {steps}.")
    if not 0 < low < high:
        raise ValueError(f"Learning rates rise from one above 0 to a higher one, not from {low} to {high}.")
    if not 0 <= beta < 1 or not stop_at > 1:
        raise ValueError(f"Smoothing is in [0, 1) and the stop above 1, not {beta} and {stop_at}.")
    rates: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    best, stopped = math.inf, False
    for number in range(steps):
        rate = low * (high / low) ** (number / (steps - 1))
        loss = float(step(rate))
        if not math.isfinite(loss):
            stopped = True
            break
        rates.append(rate)
        losses.append(loss)
        smoothed.append(_next_average(smoothed[-1] if smoothed else loss, loss, beta, len(losses)))
        if smoothed[-1] > stop_at * best:
            stopped = True
            break
        best = min(best, smoothed[-1])
    suggestion = steepest_descent(rates, smoothed, reach=max(steps // 20, 1), skip=steps // 10)
    return LearningRateCurve(tuple(rates), tuple(losses), tuple(smoothed), suggestion, stopped)


def smoothed_losses(losses: Sequence[float], beta: float = 0.999) -> list[float]:
    """Exponential average of the losses so far, divided by the sum of its weights, 1 − β^k after k losses."""
    found: list[float] = []
    for number, loss in enumerate(losses, start=1):
        found.append(_next_average(found[-1] if found else loss, loss, beta, number))
    return found


def _next_average(before: float, loss: float, beta: float, number: int) -> float:
    """The corrected average after the `number`-th loss, from the corrected one before it."""
    # The same as correcting the plain average, but a loss that does not change stays exactly as it is.
    return before + (1 - beta) / (1 - beta**number) * (loss - before)


def steepest_descent(
    rates: Sequence[float], smoothed: Sequence[float], *, reach: int = 1, skip: int = 0
) -> float | None:
    """The rate where the curve over the rate's logarithm falls most, the lowest of equal ones.

    Rates lie at equal distances on the logarithm. A slope is taken between the points `reach` before and after, or the
    curve's ends where these are nearer. skip: so many points at the start are no answer.
    None where there are fewer than two points, or the curve nowhere falls.
    """
    last = len(smoothed) - 1
    if last < 1 or skip > last:
        return None
    slopes = {}
    for index in range(skip, last + 1):
        before, after = max(index - reach, 0), min(index + reach, last)
        slopes[index] = (smoothed[after] - smoothed[before]) / (after - before)
    steepest = min(slopes, key=slopes.__getitem__)
    return float(rates[steepest]) if slopes[steepest] < 0 else None
