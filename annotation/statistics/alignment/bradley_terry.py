"""Bradley–Terry with ties (Davidson 1970) and with an effect of the side (Davidson and Beaver 1977), two items a cell.

With β = log strength of the tuned map over the original, ν the tendency to ties (neither) and δ the log advantage of
the left side, an answer is, for a tuned map on the left (ℓ = 1) or on the right (ℓ = 0),

    tuned ∝ exp(β + ℓδ),  original ∝ exp((1 − ℓ)δ),  neither ∝ ν·exp((β + δ)/2).

The log-likelihood is concave in (β, log ν, δ) and found by Newton's steps; intervals are Wald's, from the observed
information. Answers count as independent, which those of one person or one image are not: the interval is too narrow
for new people and stands here as a description.
"""

from typing import Any

import numpy as np

from annotation.statistics.alignment.rows import UNKNOWN, Rows, by_choice
from annotation.statistics.intervals import CONFIDENCE

Z = 1.959963984540054
assert CONFIDENCE == 0.95
_STEPS, _CLOSE = 100, 1e-12


def summary(rows: Rows) -> dict[str, Any]:
    """`log_strength` of tuned over original with its 95 % interval, `tie` ν and, where orders are known and the answers
    say something about it, the log advantage of the left side; or why there is none."""
    known = rows.left != UNKNOWN
    if len(rows) and known.all():
        counts = by_choice(rows.left, rows.choice, 2).astype(float)  # (2, 3): tuned on the right, on the left
        if (counts.sum(axis=1) > 0).all() and "reason" not in (found := fit(counts)):
            return found
    return fit(by_choice(np.zeros(len(rows), dtype=int), rows.choice, 1).astype(float))


def fit(counts: np.ndarray) -> dict[str, Any]:
    """counts: (1, 3) original, neither, tuned; or (2, 3), a row for tuned on the right and one for it on the left."""
    if counts.sum() == 0:
        return {"reason": "Nobody has answered."}
    original, neither, tuned = counts.sum(axis=0)
    if not original or not tuned:
        return {"reason": "One of both maps was never preferred: the ratio of strengths has no bound."}
    sides, ties = len(counts) == 2, bool(neither)
    design = _design(sides=sides, ties=ties)
    counts = counts if ties else counts[:, [0, 2]]
    start = np.zeros(design.shape[2])
    found = newton(design, counts, start)
    if found is None:
        return {"reason": "The likelihood has no maximum."}
    values, covariance = found
    half = Z * np.sqrt(np.diag(covariance))
    result: dict[str, Any] = {
        "log_strength": float(values[0]), "low": float(values[0] - half[0]), "high": float(values[0] + half[0]),
        "tie": float(np.exp(values[1])) if ties else 0.0,
    }  # fmt: skip
    if sides:
        left = float(values[-1])
        result["left"] = {"log_advantage": left, "low": left - float(half[-1]), "high": left + float(half[-1])}
    return result


def _design(*, sides: bool, ties: bool) -> np.ndarray:
    """(orders, outcomes, parameters) what each parameter adds to the logit of an outcome."""
    orders = []
    for left in (0, 1) if sides else (0,):
        tuned, original, neither = [1.0, 0.0, float(left)], [0.0, 0.0, float(1 - left)], [0.5, 1.0, 0.5]
        orders.append([original, *([neither] if ties else []), tuned])
    kept = [0, *([1] if ties else []), *([2] if sides else [])]
    return np.array(orders)[:, :, kept]


def log_likelihood(values: np.ndarray, design: np.ndarray, counts: np.ndarray) -> float:
    """Of counts (orders, outcomes), without the multinomial coefficient."""
    logits = design @ values
    highest = logits.max(axis=1, keepdims=True)
    return float((counts * (logits - highest - np.log(np.exp(logits - highest).sum(axis=1, keepdims=True)))).sum())


def newton(design: np.ndarray, counts: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The maximum of the likelihood (p,) and the inverse of the observed information (p, p); None without a maximum."""
    values, here = start, log_likelihood(start, design, counts)
    for _ in range(_STEPS):
        logits = design @ values
        share = np.exp(logits - logits.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        total = counts.sum(axis=1, keepdims=True)
        gradient = np.einsum("ok,okp->p", counts - total * share, design)
        mean = np.einsum("ok,okp->op", share, design)
        spread = design - mean[:, None]
        information = np.einsum("ok,okp,okq->pq", total * share, spread, spread)
        try:
            covariance = np.linalg.inv(information)
        except np.linalg.LinAlgError:
            return None
        step = covariance @ gradient
        if np.abs(values + step).max() > 30:  # e³⁰: it runs away
            return None
        if np.abs(step).max() < _CLOSE:
            return values, covariance
        # A concave function: halving a step that went too far always ends.
        while (there := log_likelihood(values + step, design, counts)) < here - 1e-9 * abs(here):
            step = step / 2
        values, here = values + step, there
    return values, covariance
