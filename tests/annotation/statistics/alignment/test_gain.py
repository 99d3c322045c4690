"""What a metric gained, and its rank correlation with what people prefer."""

import math

import numpy as np
import pytest

from annotation.statistics.alignment.gain import Gain, gain_and_preference, rank_correlation, summary
from annotation.statistics.alignment.rows import Rows, rows_of

NAN = float("nan")


def test_a_gain_by_hand():
    # Differences 0.1, 0.3, 0.2: mean 0.2, s = 0.1; t(0.975; 2) = 4.302652729911275.
    gain = Gain("rma", "abcde", [0.1, 0.2, 0.3, None, 0.5], [0.2, 0.5, 0.5, 0.4, NAN], True, 0.97)
    half = 4.302652729911275 * 0.1 / math.sqrt(3)
    assert summary(gain) == {
        "metric": "rma", "before": pytest.approx(0.2), "after": pytest.approx(0.4), "difference": pytest.approx(0.2),
        "low": pytest.approx(0.2 - half), "high": pytest.approx(0.2 + half), "n": 3, "left_out": 2,
        "standardised": pytest.approx(2.0), "agreement": 0.97, "higher_is_better": True,
    }  # fmt: skip


def test_less_is_better():
    found = summary(Gain("complexity", "abc", [0.1, 0.2, 0.3], [0.2, 0.5, 0.5], False))
    assert (found["difference"], found["standardised"]) == (pytest.approx(0.2), pytest.approx(-2.0))


def test_a_gain_without_a_spread_is_not_standardised():
    assert summary(Gain("rma", "ab", [0.0, 0.5], [0.25, 0.75], True))["standardised"] is None
    assert summary(Gain("rma", "a", [0.1], [0.2], True))["low"] is None
    assert summary(Gain("rma", "", [], [], True))["difference"] is None


def test_ranks_are_scipys():
    from scipy.stats import spearmanr

    random = np.random.default_rng(0)
    first, second = random.integers(0, 4, (6, 9)).astype(float), random.normal(size=(6, 9))
    expected = [spearmanr(one, other).statistic for one, other in zip(first, second, strict=True)]
    assert rank_correlation(first, second).tolist() == pytest.approx(expected, abs=1e-12)
    assert np.isnan(rank_correlation(np.array([[1.0, np.nan]]), np.array([[1.0, 2.0]]))).all()
    assert np.isnan(rank_correlation(np.ones((1, 3)), np.arange(3.0)[None])).all()


def study(people: int = 5, cells: int = 4, images: int = 8) -> tuple[Rows, dict[str, Gain | None]]:
    """Cell k: everyone prefers the tuned map on k + 1 of 8 images; its metric gains k ± a half."""
    answers, gains = [], {}
    for cell in range(cells):
        names = [f"{cell}-{image}" for image in range(images)]
        for person in range(people):
            answers += [
                (f"p{person}", name, str(cell), int(image * 8 < images * (cell + 1)))
                for image, name in enumerate(names)
            ]
        after = [cell + (0.5 if image % 2 else -0.5) for image in range(images)]
        gains[str(cell)] = Gain("rma", names, [0.0] * images, after, True)
    return rows_of(answers), gains


def test_cells_that_gain_more_are_preferred_more():
    rows, gains = study(images=80)
    found = gain_and_preference(rows, gains, draws=200)
    assert (found["cells"], found["rho"]) == (4, pytest.approx(1.0))
    assert (found["resampled"], found["raters"], found["exploratory"]) == ("images", 5, True)
    assert 0.5 < found["low"] <= found["high"] == pytest.approx(1.0)
    assert gain_and_preference(rows, gains, draws=200) == found


def test_a_metric_that_falls_has_lost_where_more_is_better():
    rows, gains = study()
    for name, gain in list(gains.items()):
        gains[name] = Gain("rma", gain.images, gain.before, gain.after, False)
    found = gain_and_preference(rows, gains, draws=200)
    assert found["rho"] == pytest.approx(-1.0)


def test_people_are_drawn_too_from_ten():
    rows, gains = study(people=10)
    assert gain_and_preference(rows, gains, draws=20)["resampled"] == "images and raters"


def test_three_cells_are_too_few():
    rows, gains = study(cells=3)
    assert set(gain_and_preference(rows, gains)) == {"reason"}
    rows, gains = study()
    gains["0"] = None
    assert set(gain_and_preference(rows, gains)) == {"reason"}
    assert set(gain_and_preference(rows, {})) == {"reason"}


def test_cells_of_one_rank_have_no_correlation():
    rows, gains = study()
    same = rows_of([(f"p{n}", f"{cell}-0", cell, 1) for n in range(3) for cell in rows.cells])
    assert set(gain_and_preference(same, gains)) == {"reason"}
