"""The learning-rate test: steps at rates that rise from one to the next (definitions §4).

Smith, "Cyclical learning rates for training neural networks", WACV 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

LOW, HIGH = 1e-8, 10.0
BETA = 0.999
# 1,000 losses, which 0.999 averages, are a fortieth of an epoch of ImageNet in batches of 32.
AVERAGED_SHARE = 1 / 40
STEPS_A_DECADE = 11
# A fall of the smoothed curve smaller than so many standard errors of the losses may be chance.
CLEAR = 4.0


@dataclass(frozen=True, slots=True)
class LearningRateCurve:
    """What a test found: of each step made, its rate, its loss and the smoothed loss.

    suggestion: the rate at which the smoothed loss fell most steeply; None where it never fell. stopped: the loss rose
    too far, or was not a number, before the last rate. doubt: a sentence why the suggestion is not to be relied on;
    empty where nothing speaks against it.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float | None
    stopped: bool
    doubt: str = ""

    @property
    def reliable(self) -> bool:
        """Whether there is a suggestion and no doubt about it."""
        return self.suggestion is not None and not self.doubt


def learning_rate_test(
    step: Callable[[float], float],
    steps: int,
    *,
    low: float = LOW,
    high: float = HIGH,
    beta: float | None = None,
    stop_at: float = 4.0,
) -> LearningRateCurve:
    """Make up to `steps` steps at rates from `low` to `high`, each the same factor above the one before.

    step: makes one training step at the rate given and returns its loss, a positive number. beta: of the exponential
    average; None: 0.999, the published one, from 40,000 steps on, and below what averages over the same share of the
    rates (`smoothing_of`). stop_at: the test ends where the smoothed loss is more than so many times its best.
    The suggestion looks a twentieth of the steps to either side of a rate and leaves out the first tenth, where the
    average is of few losses. The training state is the caller's to put back.
    Raises ValueError where the range or a constant cannot be.
    """
    if steps < 2:
        raise ValueError(f"A learning-rate test needs 2 steps or more, not {steps}.")
    if not 0 < low < high:
        raise ValueError(f"Learning rates rise from one above 0 to a higher one, not from {low} to {high}.")
    beta = smoothing_of(steps) if beta is None else beta
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
    reach = max(steps // 20, 1)
    suggestion = steepest_descent(rates, smoothed, reach=reach, skip=steps // 10)
    said = ""
    if suggestion is not None:
        said = _doubt(steps, enough_steps(low, high), losses, smoothed, rates.index(suggestion), reach, beta)
    return LearningRateCurve(tuple(rates), tuple(losses), tuple(smoothed), suggestion, stopped, said)


def smoothing_of(steps: int) -> float:
    """β whose average spans a fortieth of the steps, as 0.999 does of 40,000: 0 to 0.999."""
    return min(max(1 - 1 / (steps * AVERAGED_SHARE), 0.0), BETA)


def enough_steps(low: float = LOW, high: float = HIGH) -> int:
    """How many steps from `low` to `high` make a suggestion that can be relied on: 11 for each power of ten."""
    return math.ceil(STEPS_A_DECADE * math.log10(high / low) - 1e-9)


def _doubt(
    steps: int, least: int, losses: Sequence[float], smoothed: Sequence[float], place: int, reach: int, beta: float
) -> str:
    """A sentence why the steepest descent, found at `place`, may mean little; else nothing."""
    if steps < least:
        return f"{steps} steps are few for rates that far apart: {least} or more make a suggestion to rely on."
    # What batches differ by, from neighbours: a trend hardly shows between them. The median leaves out the last jumps.
    jumps = sorted(abs(after - before) for before, after in pairwise(losses))
    noise = jumps[len(jumps) // 2] / 0.954  # the median of |N(0, 2σ²)| is 0.954 σ
    ends = max(place - reach, 0), min(place + reach, len(smoothed) - 1)
    fall = smoothed[ends[0]] - smoothed[ends[1]]
    # Each end averages (1 + β) / (1 − β) losses, though never more than lie between the ends.
    averaged = min((1 + beta) / (1 - beta), ends[1] - ends[0])
    if fall < CLEAR * noise * math.sqrt(2 / averaged):
        return "The loss falls by hardly more than its batches differ: more steps or larger batches would tell."
    return ""


def smoothed_losses(losses: Sequence[float], beta: float = BETA) -> list[float]:
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
