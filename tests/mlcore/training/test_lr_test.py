"""The learning-rate test by hand: rates, smoothed losses, where it stops, what it suggests (definitions §4)."""

import math
import random

import pytest

from mlcore.training.lr_test import (
    LearningRateCurve,
    enough_steps,
    learning_rate_test,
    smoothed_losses,
    smoothing_of,
    steepest_descent,
)


def of_a_quadratic(
    curvature: float, steps: int, *, noise: float = 0.0, beta: float | None = None, seed: int = 0
) -> LearningRateCurve:
    """The test on 1 + ½ · curvature · w², from ½ above its least value, by plain gradient steps."""
    chance, at = random.Random(seed), 1 / math.sqrt(curvature)

    def step(rate: float) -> float:
        nonlocal at
        loss = 1 + 0.5 * curvature * at**2 + chance.gauss(0, noise)
        at -= rate * curvature * at
        return loss

    return learning_rate_test(step, steps, beta=beta)


def test_rates_rise_exponentially_from_low_to_high() -> None:
    asked: list[float] = []

    def step(rate: float) -> float:
        asked.append(rate)
        return 1.0

    found = learning_rate_test(step, 10)
    assert asked == pytest.approx([10.0**power for power in range(-8, 2)])
    assert list(found.rates) == asked
    assert not found.stopped
    assert found.suggestion is None  # a flat curve descends nowhere


def test_smoothing_is_corrected_for_its_start() -> None:
    # β = ½: averages 2, 2, 3.25; their weights sum up to ½, ¾, ⅞.
    assert smoothed_losses([4.0, 2.0, 4.5], 0.5) == pytest.approx([4.0, 2.0 / 0.75, 3.25 / 0.875])
    # β = 0.999: the corrected average of two is (0.999·4 + 2) / 1.999.
    assert smoothed_losses([4.0, 2.0], 0.999) == pytest.approx([4.0, (0.999 * 4 + 2) / 1.999])


def test_it_stops_where_the_smoothed_loss_is_more_than_four_times_the_best() -> None:
    losses = iter([2.0, 1.0, 4.0, 4.1, 1.0])
    found = learning_rate_test(lambda rate: next(losses), 5, beta=0.0)
    assert found.losses == (2.0, 1.0, 4.0, 4.1)
    assert found.stopped
    assert next(losses) == 1.0  # the step after it was never made


def test_a_loss_that_is_not_a_number_ends_the_test_and_is_left_out() -> None:
    losses = iter([3.0, 2.0, math.nan, 1.0])
    found = learning_rate_test(lambda rate: next(losses), 4, beta=0.0)
    assert found.losses == (3.0, 2.0)
    assert len(found.rates) == len(found.smoothed) == 2
    assert found.stopped


def test_it_suggests_the_steepest_descent() -> None:
    # Slopes by central differences, one-sided at the ends: −1, −1, −3, −2.5, 1.5, 3.5, 4.
    losses = iter([10.0, 9.0, 8.0, 3.0, 3.0, 6.0, 10.0])
    found = learning_rate_test(lambda rate: next(losses), 7, low=1e-6, high=1.0, beta=0.0)
    assert found.suggestion == pytest.approx(1e-4)
    assert steepest_descent((1.0, 2.0, 3.0), (3.0, 1.0, 1.0)) == 1.0
    assert steepest_descent((1.0, 2.0, 3.0), (1.0, 1.0, 1.5)) is None
    assert steepest_descent((1.0,), (1.0,)) is None


def test_a_single_odd_batch_is_not_suggested() -> None:
    losses = [3.0] * 40
    losses[1], losses[12] = 2.0, 3.375  # a good batch at the start, a bad one later
    losses[24:] = [3.0 - 0.125 * min(index, 8) for index in range(16)]  # a slow fall, from step 24 to 32
    told = iter(losses)
    # Forty steps: falls are measured two steps to either side, and the first four are left out.
    found = learning_rate_test(lambda rate: next(told), 40, low=1e-9, high=1e30, beta=0.0)
    assert found.suggestion == pytest.approx(1e17)  # step 26, the first with −0.125 on average
    assert steepest_descent(range(40), losses, skip=4) == 13  # between neighbours the bad batch falls by 0.1875
    assert steepest_descent(range(40), losses) == 0  # and the good one by 1


@pytest.mark.parametrize("noise", [0.0, 0.03])
@pytest.mark.parametrize("curvature", [0.1, 1.0, 100.0, 10_000.0])
def test_a_hundred_steps_find_the_rate_of_a_quadratic(curvature: float, noise: float) -> None:
    # Steps at 1 / curvature reach the bottom at once, those above 2 / curvature leave it. With a factor of 1.23 from
    # rate to rate the distance has shrunk to 1/e where the rate is 0.19 / curvature.
    found = of_a_quadratic(curvature, 100, noise=noise)
    assert found.suggestion is not None
    assert 0.04 < found.suggestion * curvature < 0.4
    assert found.reliable, found.doubt
    # An average of nearly all losses, as 0.999 makes it, turns later.
    late = of_a_quadratic(curvature, 100, beta=0.999)
    assert late.suggestion is not None
    assert late.suggestion > 2 * found.suggestion


def test_the_suggestion_moves_with_the_curvature() -> None:
    found = [of_a_quadratic(curvature, 181).suggestion for curvature in (1.0, 10.0, 1000.0)]  # 20 steps a decade
    assert found == pytest.approx([found[0], found[0] / 10, found[0] / 1000])


def test_the_average_spans_the_same_share_of_a_short_test() -> None:
    assert smoothing_of(40_000) == pytest.approx(0.999)  # the published one, and no more
    assert smoothing_of(1_000_000) == 0.999
    assert smoothing_of(400) == pytest.approx(0.9)
    assert smoothing_of(40) == smoothing_of(3) == 0.0
    losses = [3.0, 1.0, 2.0, 5.0] * 20
    told = iter(losses)
    found = learning_rate_test(lambda rate: next(told), 80)  # β = ½
    assert list(found.smoothed) == pytest.approx(smoothed_losses(losses, 0.5))


def test_few_steps_and_chance_are_doubted() -> None:
    assert (enough_steps(), enough_steps(1e-3, 1.0)) == (99, 33)
    few = of_a_quadratic(1.0, 98)
    assert few.suggestion is not None
    assert not few.reliable
    assert few.doubt == "98 steps are few for rates that far apart: 99 or more make a suggestion to rely on."
    assert of_a_quadratic(1.0, 99).doubt == ""
    # Of losses that no rate changes the curve falls somewhere, by chance.
    chance = random.Random(1)
    found = [learning_rate_test(lambda rate: chance.gauss(2, 0.1), 100) for _ in range(50)]
    assert all(one.suggestion is not None for one in found)
    assert sum(one.reliable for one in found) <= 2
    assert next(one for one in found if one.doubt).doubt.startswith("The loss falls by hardly more")
    assert sum(of_a_quadratic(30.0, 100, noise=0.05, seed=seed).reliable for seed in range(50)) >= 45


def test_nothing_that_falls_is_no_suggestion_and_no_doubt() -> None:
    found = learning_rate_test(lambda rate: 1.0, 200)
    assert (found.suggestion, found.doubt, found.reliable) == (None, "", False)


@pytest.mark.parametrize(
    "wrong", [{"steps": 1}, {"low": 0.0}, {"low": 2.0, "high": 1.0}, {"beta": 1.0}, {"stop_at": 1.0}]
)
def test_what_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    options: dict[str, float] = {"steps": 4} | wrong
    with pytest.raises(ValueError):
        learning_rate_test(lambda rate: 1.0, **options)
