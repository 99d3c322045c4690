"""A crossed mixed model of decided answers: how much likelier the tuned map is chosen than the original's.

logit P(tuned) = β + u_rater + v_image, u ~ N(0, σ_u²), v ~ N(0, σ_v²): people and images are both samples (definitions
§8). statsmodels' BinomialBayesMixedGLM (priors β ~ N(0, 2²), log σ ~ N(0, 1)) gives the variances, by its variational
fit. Its interval of β is too narrow, as a factored posterior ignores that β and the u move together, and its search
for the mode of everything at once runs into σ → 0. So β and its interval come from Laplace's approximation at those
variances: the mode of (β, u, v) and the inverse of the curvature there, times Student's t with raters − 1 degrees of
freedom, as the raters' variance is estimated from no more than them. docs/alignment.md gives the measured coverage.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from annotation.statistics.alignment.rows import NEITHER, TUNED, Rows
from annotation.statistics.intervals import CONFIDENCE
from mlcore.runs.student import t_quantile

METHOD = "variances by variational Bayes (statsmodels), log-odds by Laplace's approximation, t interval"
LEAST_ANSWERS, MOST_ANSWERS = 20, 50_000
PRIOR_FIXED, PRIOR_LOG_SD = 2.0, 1.0
_SEARCH = {"maxiter": 5000, "maxfun": 20_000, "ftol": 1e-12, "gtol": 1e-5}
_STEPS, _CLOSE = 100, 1e-9


def summary(rows: Rows) -> dict[str, Any]:
    """The log-odds β with its 95 % interval, over `n` decided answers; or why there is none. Never an exception."""
    decided = rows.where(rows.choice != NEITHER)
    tuned = (decided.choice == TUNED).astype(np.float64)
    people, rater = np.unique(decided.rater, return_inverse=True)
    images, image = np.unique(decided.image, return_inverse=True)
    n = len(tuned)
    if n < LEAST_ANSWERS:
        return {"reason": f"Fewer than {LEAST_ANSWERS} decided answers."}
    if n > MOST_ANSWERS:
        return {"reason": f"More than {MOST_ANSWERS} decided answers: too many for this fit; the other intervals hold."}
    if len(people) < 2 or len(images) < 2:
        return {"reason": "A mixed model needs two raters and two images at least."}
    if tuned.min() == tuned.max():
        return {"reason": "One of both maps was never preferred: the log-odds has no bound."}
    try:
        deviations = variational(tuned, rater, image)
        usable = bool((np.isfinite(deviations) & (deviations > 0)).all())
        found = laplace(tuned, rater, image, deviations) if usable else None
    except (ArithmeticError, ValueError, RuntimeError, np.linalg.LinAlgError) as error:
        return {"reason": f"The fit failed: {error}"}
    if found is None or not np.isfinite(found).all():
        return {"reason": "The fit did not converge."}
    log_odds, deviation = found
    half = quantile(len(people)) * deviation
    return {
        "log_odds": log_odds,
        "low": log_odds - half,
        "high": log_odds + half,
        "n": n,
        "method": METHOD,
        "sd_rater": float(deviations[0]),
        "sd_image": float(deviations[1]),
    }


def quantile(raters: int) -> float:
    """How many standard deviations a 95 % interval reaches to either side."""
    return t_quantile(0.5 + CONFIDENCE / 2, raters - 1)


def variational(tuned: np.ndarray, rater: np.ndarray, image: np.ndarray) -> np.ndarray:
    """(2,) the standard deviations of the raters' and the images' effects.

    tuned: (n,) 0 or 1. rater, image: (n,) indices without gaps.
    """
    return deviations_of(fit(tuned, rater, image))


def deviations_of(fitted: Any) -> np.ndarray:
    """exp of the posterior mean of their logarithms (2,), from statsmodels' result."""
    return np.exp(np.asarray(fitted.vcp_mean, dtype=np.float64))


def fit(tuned: np.ndarray, rater: np.ndarray, image: np.ndarray) -> Any:
    """statsmodels' variational result. Starts at the same place every time. RuntimeError where the search does not
    end."""
    from scipy.sparse import csr_array
    from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM

    n, raters, images = len(tuned), int(rater.max()) + 1, int(image.max()) + 1
    answers = np.arange(n)
    effects = csr_array(
        (np.ones(2 * n), (np.r_[answers, answers], np.r_[rater, raters + image])), shape=(n, raters + images)
    )
    kinds = np.r_[np.zeros(raters, dtype=int), np.ones(images, dtype=int)]
    model = BinomialBayesMixedGLM(tuned, np.ones((n, 1)), effects, kinds, vcp_p=PRIOR_LOG_SD, fe_p=PRIOR_FIXED)
    size = 1 + 2 + raters + images
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        # Memory of BFGS grows with the square of the number of images.
        fitted = model.fit_vb(mean=np.zeros(size), sd=np.full(size, 0.5), fit_method="L-BFGS-B", minim_opts=_SEARCH)
    if not fitted.optim_retvals.success:
        raise RuntimeError(f"the variational search did not end ({fitted.optim_retvals.message}).")
    return fitted


def laplace(
    tuned: np.ndarray, rater: np.ndarray, image: np.ndarray, deviations: np.ndarray
) -> tuple[float, float] | None:
    """β at the mode of (β, u, v) for these standard deviations, and its own; None where Newton's steps do not end.

    The images' block of the curvature is diagonal, so it is eliminated: what is solved is as large as the raters are
    many.
    """
    from scipy.sparse import csr_array
    from scipy.special import expit

    raters, images = int(rater.max()) + 1, int(image.max()) + 1
    precision = deviations**-2.0
    fixed, of_image = np.zeros(1 + raters), np.zeros(images)  # β and the u; the v
    prior = np.r_[PRIOR_FIXED**-2, np.full(raters, precision[0])]
    for _ in range(_STEPS):
        probability = expit(fixed[0] + fixed[1 + rater] + of_image[image])
        weight, rest = probability * (1 - probability), tuned - probability
        by_rater, by_image = np.bincount(rater, weight, raters), np.bincount(image, weight, images)
        top = np.diag(np.r_[weight.sum(), by_rater] + prior)
        top[0, 1:] = top[1:, 0] = by_rater
        bottom = by_image + precision[1]
        # (1 + raters, images): β's row is the sum of the raters'.
        crossed = csr_array(
            (np.r_[weight, weight], (np.r_[np.zeros_like(rater), 1 + rater], np.r_[image, image])),
            shape=(1 + raters, images),
        )
        scaled = crossed.multiply(1 / bottom[None, :]).tocsr()
        schur = top - (scaled @ crossed.T).toarray()
        up = np.r_[rest.sum(), np.bincount(rater, rest, raters)] - prior * fixed
        down = np.bincount(image, rest, images) - precision[1] * of_image
        step = np.linalg.solve(schur, up - scaled @ down)
        of_image_step = (down - crossed.T @ step) / bottom
        length = max(1.0, float(np.abs(step).max()) / 2)  # far from the mode a full step overshoots
        fixed, of_image = fixed + step / length, of_image + of_image_step / length
        if max(np.abs(step).max(), np.abs(of_image_step).max()) < _CLOSE:
            return float(fixed[0]), float(np.sqrt(np.linalg.inv(schur)[0, 0]))
    return None
