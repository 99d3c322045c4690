"""Paired differences: by hand, against scipy, and as the pointing game's own interval is drawn."""

import numpy as np
import pytest
from scipy import stats

from mlcore.runs import paired
from mlcore.runs.paired import difference
from mlcore.runs.student import t_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 7, 30, 399, 49_999])
def test_the_quantile_is_students(freedom) -> None:
    for share in (0.75, 0.975, 0.995):
        assert t_quantile(share, freedom) == pytest.approx(stats.t.ppf(share, freedom), rel=1e-9)


def test_a_paired_mean_by_hand_and_against_scipy() -> None:
    ours, others = {"a": 1.0, "b": 0.5, "c": 0.25, "only": 9.0}, {"a": 0.0, "b": 0.5, "c": 0.5, "other": 3.0}
    found = difference(ours, others)
    assert (found.value, found.n) == (pytest.approx(0.25), 3)
    expected = stats.ttest_rel([1.0, 0.5, 0.25], [0.0, 0.5, 0.5]).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert not found.clear
    turned = difference(others, ours)
    assert (turned.low, turned.high) == (pytest.approx(-found.high), pytest.approx(-found.low))
    assert difference({"a": 1.0}, {"b": 1.0}) is None
    assert difference({"a": 1.0}, {"a": 0.0}) == paired.Difference(1.0, None, None, 1)


def test_over_classes_each_class_counts_once() -> None:
    ours = {"a": 1.0, "b": 1.0, "c": 0.0, "d": 1.0}
    others = {"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.0}
    # Class 0 has a, b and c: two thirds; class 1 has d: one. Their mean is five sixths.
    found = difference(ours, others, {"a": 0, "b": 0, "c": 0, "d": 1})
    assert found.value == pytest.approx(5 / 6)
    assert found.low <= found.value <= found.high
    one = difference({"a": 1.0}, {"a": 0.0}, {"a": 0})
    assert (one.value, one.low) == (1.0, None)


def test_against_nothing_it_is_the_pointing_games_own_interval() -> None:
    from mlcore.metrics.pointing import PointingGame

    rng = np.random.default_rng(3)
    game = PointingGame()
    for place in range(300):
        game.record(str(place), float(rng.random() < 0.8))
        game.classes[str(place)] = place % 41
    found = difference(game.per_image, dict.fromkeys(game.per_image, 0.0), game.classes)
    low, high = game.interval()
    assert found.value == pytest.approx(game.mean())
    # Both draw the images again a thousand times, each with chance of its own.
    assert found.low == pytest.approx(low, abs=0.012)
    assert found.high == pytest.approx(high, abs=0.012)


def test_many_images_have_the_interval_that_drawing_again_approaches(monkeypatch) -> None:
    rng = np.random.default_rng(4)
    ours = {str(place): float(rng.random() < 0.8) for place in range(6000)}
    others = {str(place): float(rng.random() < 0.7) for place in range(6000)}
    classes = {str(place): place % 300 for place in range(6000)}
    worked_out = difference(ours, others, classes)
    monkeypatch.setattr(paired, "MANY", 10_000)
    drawn = difference(ours, others, classes)
    assert worked_out.value == drawn.value
    assert worked_out.low == pytest.approx(drawn.low, abs=0.003)
    assert worked_out.high == pytest.approx(drawn.high, abs=0.003)
    assert worked_out.clear
