"""A share against one half: Wilson's interval and the exact binomial test."""

from typing import Any

from annotation.statistics.intervals import wilson


def exact_p(part: int, whole: int) -> float | None:
    """Two-sided p of `part` successes in `whole` tries where both are equally likely; None of nothing.

    With one half the distribution is symmetric: twice the smaller tail, at most 1.
    """
    if not whole:
        return None
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(part, whole - part), whole, 0.5)))


def share(part: int, whole: int) -> dict[str, Any]:
    """The share with Wilson's 95 % interval and the exact p, as if tries were independent."""
    low, high = wilson(part, whole) or (None, None)
    return {"share": part / whole if whole else None, "low": low, "high": high, "p": exact_p(part, whole)}
