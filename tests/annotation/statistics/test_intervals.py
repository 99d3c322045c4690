"""Intervals against scipy and by hand."""

import math

import pytest
from scipy import stats

from annotation.statistics.intervals import t_mean, welch, wilson
from mlcore.runs.student import t_quantile

GROUPS = [
    ([0.5, 0.75, 1.0], [0.25, 0.5]),
    ([0.1, 0.9, 0.4, 0.6, 0.55], [0.8, 0.85, 0.9, 0.7]),
    ([1.0, 0.75], [0.0, 0.5, 1.0]),
]


@pytest.mark.parametrize("freedom", [1, 1.5, 2, 3, 4, 7.3, 10, 30, 119.9, 1000, 1e5])
@pytest.mark.parametrize("share", [0.5, 0.6, 0.9, 0.975, 0.995, 0.9999])
def test_the_quantile_is_scipys(share, freedom):
    assert t_quantile(share, freedom) == pytest.approx(stats.t.ppf(share, freedom), rel=1e-9, abs=1e-9)


def test_the_quantile_by_hand():
    # With one degree of freedom it is the Cauchy distribution: tan(π(p − ½)).
    assert t_quantile(0.975, 1) == pytest.approx(math.tan(math.pi * 0.475))
    for share, freedom in ((0.4, 3), (1.0, 3), (0.975, 0)):
        with pytest.raises(ValueError, match="no such quantile"):
            t_quantile(share, freedom)


@pytest.mark.parametrize(("first", "second"), GROUPS)
def test_intervals_are_scipys(first, second):
    found = t_mean(first)
    wanted = stats.t.interval(0.95, len(first) - 1, loc=found.mean, scale=stats.sem(first))
    assert (found.low, found.high) == pytest.approx(wanted)
    between = welch(first, second)
    wanted = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert (between.low, between.high) == pytest.approx((wanted.low, wanted.high))
    assert between.mean == pytest.approx(sum(first) / len(first) - sum(second) / len(second))


def test_three_values_by_hand():
    # mean 0.75, s = 0.25, t(2) = 4.302653: half = 4.302653 · 0.25 / √3
    found = t_mean([0.5, 0.75, 1.0])
    assert (found.mean, found.n) == (0.75, 3)
    assert found.high == pytest.approx(0.75 + 4.302653 * 0.25 / math.sqrt(3), abs=1e-6)


def test_too_few_values_have_no_interval():
    assert t_mean([]).mean is None
    assert (t_mean([0.4]).mean, t_mean([0.4]).low) == (0.4, None)
    assert (welch([0.4], [0.1, 0.2]).mean, welch([0.4], [0.1, 0.2]).low) == (pytest.approx(0.25), None)
    assert welch([], [0.1, 0.2]).mean is None
    same = welch([0.5, 0.5], [0.25, 0.25])
    assert (same.mean, same.low, same.high) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize(("part", "whole"), [(0, 4), (1, 4), (4, 4), (37, 100), (1, 1)])
def test_wilson_is_scipys(part, whole):
    wanted = stats.binomtest(part, whole).proportion_ci(method="wilson")
    assert wilson(part, whole) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert wilson(0, 0) is None
