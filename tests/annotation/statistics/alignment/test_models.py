"""Bradley–Terry with ties, the mixed model and the bootstrap."""

import math

import numpy as np
import pytest

from annotation.statistics.alignment import bootstrap, bradley_terry, mixed, scores
from annotation.statistics.alignment.rows import rows_of
from tests.annotation.statistics.alignment.said import crowd, rows, swapped

# --- Bradley–Terry --------------------------------------------------------------------------------------------


def test_strength_and_ties_by_hand():
    # Two items: the model meets the counts exactly. π = 8/2, ν = 8/√(8·2), variance of log π = 1/8 + 1/2.
    found = bradley_terry.summary(rows({"a": "tttt" + "nnnn" + "o", "b": "tttt" + "nnnn" + "o"}))
    half = 1.959963984540054 * math.sqrt(0.625)
    assert found == {
        "log_strength": pytest.approx(math.log(4)), "low": pytest.approx(math.log(4) - half),
        "high": pytest.approx(math.log(4) + half), "tie": pytest.approx(2.0),
    }  # fmt: skip


def test_without_ties_it_is_bradley_terry():
    found = bradley_terry.summary(rows({"a": "tttto"}))
    assert (found["log_strength"], found["tie"]) == (pytest.approx(math.log(4)), 0.0)


@pytest.mark.parametrize("letters", ["", "nnn", "ttt", "oon"])
def test_a_ratio_without_a_bound_is_named(letters):
    assert set(bradley_terry.summary(rows({"a": letters}) if letters else rows_of([], cells=["cell"]))) == {"reason"}


def test_the_sides_effect_by_hand():
    # Tuned left: 9 tuned, 1 original; tuned right: 4 and 4. β + δ = ln 9 and β − δ = 0.
    answers = [("a", str(n), "c", 1 if n < 9 else -1, 1, 0) for n in range(10)]
    answers += [("b", str(n), "c", 1 if n < 4 else -1, 0, 0) for n in range(8)]
    found = bradley_terry.summary(rows_of(answers))
    assert found["log_strength"] == pytest.approx(math.log(9) / 2)
    assert found["left"]["log_advantage"] == pytest.approx(math.log(9) / 2)
    # Each of the two sums has variance 1/9 + 1/1 and 1/4 + 1/4; a half of either is in both parameters.
    half = 1.959963984540054 * math.sqrt((1 / 9 + 1 + 1 / 2) / 4)
    assert found["high"] - found["log_strength"] == pytest.approx(half)


def test_a_side_that_decides_everything_has_no_bounded_effect():
    found = bradley_terry.summary(rows_of([("a", str(n), "c", 1 if n % 2 else -1, n % 2, 0) for n in range(8)]))
    assert (found["log_strength"], "left" in found) == (pytest.approx(0, abs=1e-9), False)


def test_newton_finds_what_scipy_finds():
    from scipy.optimize import approx_fprime, minimize

    counts = np.array([[7.0, 30, 12], [5, 26, 20]])

    def loss(values: np.ndarray) -> float:
        b, eta, d = values
        total = 0.0
        for left in (0, 1):
            weight = np.exp([(1 - left) * d, eta + (b + d) / 2, b + left * d])
            total -= float((counts[left] * np.log(weight / weight.sum())).sum())
        return total

    found = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-9})
    ours = bradley_terry.fit(counts)
    assert ours["log_strength"] == pytest.approx(found.x[0], abs=1e-6)
    assert ours["tie"] == pytest.approx(math.exp(found.x[1]), abs=1e-5)
    assert ours["left"]["log_advantage"] == pytest.approx(found.x[2], abs=1e-6)
    curvature = np.array(
        [approx_fprime(found.x, lambda at, k=k: approx_fprime(at, loss, 1e-4)[k], 1e-4) for k in range(3)]
    )
    deviation = math.sqrt(np.linalg.inv(curvature)[0, 0])
    assert ours["high"] - ours["log_strength"] == pytest.approx(1.96 * deviation, rel=1e-2)


def test_strengths_change_sign_with_the_maps():
    one, other = bradley_terry.summary(crowd()), bradley_terry.summary(swapped(crowd()))
    assert other["log_strength"] == pytest.approx(-one["log_strength"])
    assert (other["low"], other["high"]) == pytest.approx((-one["high"], -one["low"]))
    assert (other["tie"], other["left"]) == (pytest.approx(one["tie"]), pytest.approx(one["left"]))


# --- bootstrap ------------------------------------------------------------------------------------------------


def test_too_few_people_to_draw_from():
    assert set(bootstrap.interval(crowd(people=9))) == {"reason"}
    assert set(bootstrap.interval(rows_of([], cells=["cell"]))) == {"reason"}


def test_one_image_leaves_the_people():
    # Five say tuned, five original: the mean of ten drawn is (2k − 10)/10 with k ~ Bin(10, ½); P(k ≤ 1) = 0.011 and
    # P(k ≤ 2) = 0.055, so that 2.5 % lie below k = 2.
    found = bootstrap.interval(rows({f"p{n}": "t" if n % 2 else "o" for n in range(10)}), seed=5)
    assert found == {"low": pytest.approx(-0.6), "high": pytest.approx(0.6), "draws": 2000, "seed": 5}


def test_those_who_all_say_the_same_leave_no_doubt():
    found = bootstrap.interval(rows({f"p{n}": "ttt" for n in range(10)}), draws=50)
    assert (found["low"], found["high"]) == (1.0, 1.0)


def test_weights_are_repetitions():
    given = crowd(people=3, images=4, cells=1)
    sums, numbers = bootstrap.matrices(given.rater, given.image, given.choice, (3, 4))
    of_images, of_raters = np.array([[2.0, 0, 1, 1]]), np.array([[0.0, 1, 2]])
    repeated = [
        place
        for place, (person, image) in enumerate(zip(given.rater, given.image, strict=True))
        for _ in range(int(of_images[0, image]))
    ]
    _, counts = scores.rater_counts(given.where(np.array(repeated)))
    own = scores.own_scores(counts)
    found = bootstrap.weighted_alignment(sums, numbers, of_images, of_raters)
    assert found.tolist() == pytest.approx([(own[1] + 2 * own[2]) / 3])


def test_a_person_whose_images_were_not_drawn_is_left_out_of_the_draw():
    given = rows({"a": "t ", "b": "no"})
    sums, numbers = bootstrap.matrices(given.rater, given.image, given.choice, (2, 2))
    found = bootstrap.weighted_alignment(sums, numbers, np.array([[0.0, 2], [2, 0]]), np.ones((2, 2)))
    assert found.tolist() == [-1.0, 0.5]


def test_every_draw_draws_as_many():
    drawn = bootstrap.weights(np.random.default_rng(0), 7, 500)
    assert set(drawn.sum(axis=1)) == {7.0}
    # Bin(7, 1/7): mean 1, variance 6/7.
    assert drawn.mean() == 1
    assert drawn.var() == pytest.approx(6 / 7, rel=0.1)


def test_draws_repeat_by_their_seed_and_in_pieces(monkeypatch):
    one = bootstrap.interval(crowd(), draws=200, seed=1)
    assert bootstrap.interval(crowd(), draws=200, seed=1) == one
    assert bootstrap.interval(crowd(), draws=200, seed=2) != one
    assert list(bootstrap.pieces(10, 1_000_000)) == [4, 4, 2]
    assert list(bootstrap.pieces(2, 10**9)) == [1, 1]


# --- mixed model ----------------------------------------------------------------------------------------------


def simulated(
    random: np.random.Generator, people: int, images: int, log_odds: float, sd_rater: float, sd_image: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decided answers of the model itself: everyone about every image."""
    rater, image = np.repeat(np.arange(people), images), np.tile(np.arange(images), people)
    logits = log_odds + random.normal(0, sd_rater, people)[rater] + random.normal(0, sd_image, images)[image]
    return (random.random(len(rater)) < 1 / (1 + np.exp(-logits))).astype(float), rater, image


def test_laplace_is_the_curvature_at_the_mode_of_statsmodels_posterior():
    from scipy.optimize import minimize
    from scipy.sparse import csr_array
    from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM

    people, images, sds = 6, 8, np.array([0.8, 0.5])
    tuned, rater, image = simulated(np.random.default_rng(1), people, images, 0.7, 0.8, 0.5)
    n = len(tuned)
    effects = np.zeros((n, people + images))
    effects[np.arange(n), rater] = effects[np.arange(n), people + image] = 1
    kinds = np.repeat([0, 1], [people, images])
    model = BinomialBayesMixedGLM(tuned, np.ones((n, 1)), csr_array(effects), kinds, vcp_p=1, fe_p=2)

    def loss(values: np.ndarray) -> float:
        return -float(model.logposterior(np.r_[values[0], np.log(sds), values[1:]]))

    mode = minimize(loss, np.zeros(1 + people + images), options={"gtol": 1e-7}).x
    design = np.c_[np.ones(n), effects]
    weight = np.exp(design @ mode) / (1 + np.exp(design @ mode)) ** 2
    prior = np.r_[1 / 4, np.full(people, sds[0] ** -2), np.full(images, sds[1] ** -2)]
    curvature = design.T @ (design * weight[:, None]) + np.diag(prior)
    log_odds, deviation = mixed.laplace(tuned, rater, image, sds)
    assert log_odds == pytest.approx(mode[0], abs=1e-4)
    assert deviation == pytest.approx(math.sqrt(np.linalg.inv(curvature)[0, 0]), rel=1e-4)


def test_laplace_finds_its_way_from_far():
    tuned = np.ones(400)
    tuned[:3] = 0
    found = mixed.laplace(tuned, np.repeat(np.arange(4), 100), np.tile(np.arange(100), 4), np.array([3.0, 8.0]))
    assert found is not None
    assert np.isfinite(found).all()


def test_the_log_odds_of_decided_answers():
    given = crowd(people=10, images=20, cells=1)
    found = mixed.summary(given)
    assert found["n"] == int((given.choice != 0).sum())
    assert found["low"] < found["log_odds"] < found["high"]
    assert "Laplace" in found["method"]
    assert mixed.summary(given) == found
    # statsmodels' quadrature is not quite the same for p and 1 − p.
    other = mixed.summary(swapped(given))
    assert (other["log_odds"], other["low"]) == pytest.approx((-found["log_odds"], -found["high"]), abs=0.01)


@pytest.mark.parametrize(
    "table",
    [{"a": "to"}, {"a": "to" * 20}, {f"p{n:02}": "t" for n in range(30)}, {"a": "t" * 20, "b": "t" * 20}, {"a": "n"}],
)
def test_too_little_for_a_mixed_model_is_named(table):
    assert set(mixed.summary(rows(table))) == {"reason"}


def test_a_fit_that_fails_is_a_reason(monkeypatch):
    def fails(*_: object) -> np.ndarray:
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(mixed, "variational", fails)
    assert mixed.summary(crowd()) == {"reason": "The fit failed: Singular matrix"}
    monkeypatch.setattr(mixed, "variational", lambda *_: np.array([0.0, np.nan]))
    assert set(mixed.summary(crowd())) == {"reason"}


@pytest.mark.slow
def test_the_mixed_models_interval_covers():
    """30 studies that the model made: 95 % intervals hold the true value in nearly all (docs/alignment.md has more)."""
    random, held = np.random.default_rng(0), 0
    for _ in range(30):
        tuned, rater, image = simulated(random, 10, 20, 0.5, 0.7, 0.7)
        log_odds, deviation = mixed.laplace(tuned, rater, image, mixed.variational(tuned, rater, image))
        held += abs(log_odds - 0.5) < mixed.quantile(10) * deviation
    assert held >= 27
