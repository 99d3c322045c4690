"""Do raters agree? Krippendorff's α, Fleiss' κ and Cohen's κ of pairs, from counts: no loop over answers.

An item is an image in a cell; values are original < neither < tuned. None where everyone always said the same: chance
alone would give that, and the ratio is 0/0.
"""

from typing import Any

import numpy as np

from annotation.statistics.alignment.majority import item_counts
from annotation.statistics.alignment.rows import Rows

_CELLS = 8_000_000  # numbers of a block of pairs of raters


def coincidences(counts: np.ndarray) -> np.ndarray:
    """(items, values) → (values, values): how often two ratings of one item are c and k, a pair of an item with m
    ratings counting 1/(m − 1); an item with one rating has no pair (Krippendorff 2011)."""
    counts = counts[counts.sum(axis=1) > 1].astype(np.float64)
    shared = counts / (counts.sum(axis=1, keepdims=True) - 1)
    return shared.T @ counts - np.diag(shared.sum(axis=0))


def alpha(counts: np.ndarray, level: str = "nominal") -> float | None:
    """Krippendorff's α = 1 − observed/expected disagreement of counts (items, values), values in their order.

    level: nominal (δ² = 1 for different values) or ordinal (δ² = the squared number of ratings from one value to the
    other, both ends half). None without two ratings of an item, or where all values are the same.
    """
    return alpha_of(coincidences(counts), level)


def alpha_of(pairs: np.ndarray, level: str) -> float | None:
    """α of coincidences (values, values)."""
    totals = pairs.sum(axis=0)
    number = totals.sum()
    if level == "nominal":
        distance = 1 - np.eye(len(totals))
    elif level == "ordinal":
        middle = np.cumsum(totals) - totals / 2
        distance = (middle[:, None] - middle[None, :]) ** 2
    else:
        raise ValueError(f"Krippendorff's α is computed for nominal and ordinal values, not {level}.")
    expected = float((np.outer(totals, totals) * distance).sum())
    if number < 2 or expected == 0:
        return None
    return 1 - (float(number) - 1) * float((pairs * distance).sum()) / expected


def fleiss(counts: np.ndarray) -> tuple[float | None, int, int]:
    """Fleiss' κ of counts (items, values), over the items with the commonest number of ratings n ≥ 2 (of two as
    common: the greater), and how many items and ratings each that are. The others are left out: κ is defined for
    equal numbers only."""
    ratings = counts.sum(axis=1)
    several = ratings[ratings > 1]
    if not len(several):
        return None, 0, 0
    frequency = np.bincount(several)
    n = len(frequency) - 1 - int(frequency[::-1].argmax())
    kept = counts[ratings == n].astype(np.float64)
    observed = float(((kept**2).sum(axis=1) - n).mean() / (n * (n - 1)))
    chance = float(((kept.sum(axis=0) / kept.sum()) ** 2).sum())
    return (None if chance == 1 else (observed - chance) / (1 - chance)), len(kept), n


def cohen(rows: Rows) -> dict[str, Any]:
    """Cohen's κ of every pair of raters over the items that both rated: mean, least and greatest, how many pairs have
    one, and how many share items but have none (both always said the same one thing)."""
    from scipy.sparse import coo_array

    people, rater = np.unique(rows.rater, return_inverse=True)
    items = rows.items
    number = int(items.max()) + 1 if len(items) else 0
    said = []
    for value in (-1, 0, 1):
        those = rows.choice == value
        at = (rater[those], items[those])
        said.append(coo_array((np.ones(int(those.sum())), at), shape=(len(people), number)).tocsr())
    kappas, undefined = [np.zeros(0)], 0
    step = max(1, _CELLS // (9 * max(len(people), 1)))
    for start in range(0, len(people), step):
        block = [values[start : start + step] for values in said]
        # (3, 3, block, raters): how often one said c where the other said k.
        table = np.array([[(mine @ other.T).toarray() for other in said] for mine in block])
        both = table.sum(axis=(0, 1))
        places = np.arange(start, start + both.shape[0])[:, None]
        both[np.arange(len(people))[None, :] <= places] = 0  # each pair once
        shared = both > 0
        table, both = table[:, :, shared], both[shared]
        observed = np.trace(table) / both
        chance = (table.sum(axis=1) * table.sum(axis=0)).sum(axis=0) / both**2
        defined = chance < 1
        kappas.append((observed[defined] - chance[defined]) / (1 - chance[defined]))
        undefined += int((~defined).sum())
    found = np.concatenate(kappas)
    some = len(found) > 0
    return {
        "mean": float(found.mean()) if some else None,
        "low": float(found.min()) if some else None,
        "high": float(found.max()) if some else None,
        "pairs": len(found),
        "undefined": undefined,
    }


def summary(rows: Rows) -> dict[str, Any]:
    """All of them; `fleiss_items` of `items` were rated by `fleiss_ratings` people each and enter Fleiss' κ."""
    counts = item_counts(rows)[1]
    pairs = coincidences(counts)
    kappa, items, ratings = fleiss(counts)
    return {
        "krippendorff_nominal": alpha_of(pairs, "nominal"),
        "krippendorff_ordinal": alpha_of(pairs, "ordinal"),
        "fleiss": kappa,
        "fleiss_items": items,
        "fleiss_ratings": ratings,
        "items": len(counts),
        "cohen": cohen(rows),
    }
