"""EMD-Corr of one query written as the formulas stand (definitions §6): loops over cells, in float64."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def cells_of(features: Array) -> list[Array]:
    """(C, h, w) as a list of vectors, row by row."""
    _, height, width = features.shape
    return [features[:, row, column] for row in range(height) for column in range(width)]


def cosine(a: Array, b: Array) -> float:
    return float(a @ b) / (math.sqrt(float(a @ a)) * math.sqrt(float(b @ b)))


def cross_weights(cells: list[Array], others: list[Array], *, clamp: bool) -> tuple[list[float], float]:
    """⟨a_i, Σ_j b_j⟩ of pictures whose pooled features have length 1 / cells; and what they are to be divided by."""
    whole, other = np.sum(cells, axis=0), np.sum(others, axis=0)
    scale = math.sqrt(float(whole @ whole)) * math.sqrt(float(other @ other))
    weights = [float(a @ other) / scale for a in cells]
    if clamp:
        weights = [max(0.0, weight) for weight in weights]
    return weights, sum(weights) + 1e-5


def marginals_of(
    query: list[Array], candidate: list[Array], kind: str, *, clamp: bool, unequal: bool
) -> tuple[list[float], list[float]]:
    if kind == "uniform":
        return [1 / len(query)] * len(query), [1 / len(candidate)] * len(candidate)
    mine, my_sum = cross_weights(query, candidate, clamp=clamp)
    theirs, their_sum = cross_weights(candidate, query, clamp=clamp)
    if unequal:
        my_sum = their_sum
    return [weight / my_sum for weight in mine], [weight / their_sum for weight in theirs]


def best_sum(plan: Array, similar: Array, num_patch: int) -> float:
    entries = [(plan[i, j], similar[i, j]) for i in range(plan.shape[0]) for j in range(plan.shape[1])]
    entries.sort(key=lambda entry: -entry[0])
    return sum(t * s for t, s in entries[: num_patch or len(entries)])


def similarities(query: list[Array], candidate: list[Array]) -> Array:
    return np.array([[cosine(a, b) for b in candidate] for a in query])


def default_score(
    query: Array, candidate: Array, *, marginals: str = "cross", num_patch: int = 5, mixed: bool = False,
    unequal: bool = False, epsilon: float = 0.05, iterations: int = 20_000,
) -> float:  # fmt: skip
    """The score of one pair, balanced until nothing changes any more."""
    a, b = cells_of(query), cells_of(candidate)
    similar = similarities(a, b)
    kernel = np.exp(-(1 - similar) / epsilon)
    u, v = marginals_of(a, b, marginals, clamp=True, unequal=unequal)
    u_shape, v_shape = [each / sum(u) for each in u], [each / sum(v) for each in v]
    row, column = [1.0] * len(a), [1.0] * len(b)
    for _ in range(iterations):
        before = row
        column = [v_shape[j] / sum(row[i] * kernel[i, j] for i in range(len(a))) for j in range(len(b))]
        row = [u_shape[i] / sum(kernel[i, j] * column[j] for j in range(len(b))) for i in range(len(a))]
        if max(abs(x - y) for x, y in zip(before, row, strict=True)) < 1e-12:
            break
    plan = np.array([[sum(u) * row[i] * kernel[i, j] * column[j] for j in range(len(b))] for i in range(len(a))])
    score = best_sum(plan, similar, num_patch)
    if mixed:
        score += cosine(query.flatten(), candidate.flatten())
    return score


def preset_scores(
    query: Array, candidates: list[Array], *, marginals: str = "cross", num_patch: int = 5, mixed: bool = False,
    unequal: bool = False,
) -> tuple[list[float], bool]:  # fmt: skip
    """Scores of all candidates and whether the balancing stopped before the hundredth iteration."""
    pictures = [query, *candidates]
    cells = [cells_of(picture) for picture in pictures]
    similar = [similarities(cells[0], each) for each in cells]
    kernels = [np.exp(-(1 - each) / 0.05) for each in similar]
    weights = [marginals_of(cells[0], each, marginals, clamp=False, unequal=unequal) for each in cells]
    size = len(cells[0])
    r = [[1.0] * size for _ in pictures]
    c = [[1.0] * size for _ in pictures]
    stopped = False
    for iteration in range(100):
        changes = []
        for n, (u, v) in enumerate(weights):
            before = r[n]
            r[n] = [v[j] / sum(kernels[n][i, j] * c[n][i] for i in range(size)) for j in range(size)]
            c[n] = [u[i] / sum(kernels[n][i, j] * r[n][j] for j in range(size)) for i in range(size)]
            changes += [abs(new - old) for new, old in zip(r[n], before, strict=True)]
        if sum(changes) / len(changes) < 0.1:
            stopped = iteration != 99
            break
    scores = []
    for n, kernel in enumerate(kernels):
        plan = np.array([[c[n][i] * kernel[i, j] * r[n][j] for j in range(size)] for i in range(size)])
        scores.append(best_sum(plan, similar[n], num_patch))
    if mixed:
        products = [float(query.flatten() @ picture.flatten()) for picture in pictures]
        scores = [score + product / max(products) for score, product in zip(scores, products, strict=True)]
    return scores[1:], stopped
