"""Holm's step-down correction for several tests."""

from collections.abc import Sequence


def holm(values: Sequence[float | None]) -> list[float | None]:
    """The p values adjusted for all of these tests (Holm 1979), each at most 1.

    p₍ᵢ₎ becomes max over j ≤ i of (m − j + 1)·p₍ⱼ₎, m the number of tests. A test that could not be made (None) stays
    None and counts in m: what was declared is what is paid for.
    """
    number = len(values)
    adjusted: list[float | None] = [None] * number
    known = sorted((value, place) for place, value in enumerate(values) if value is not None)
    greatest = 0.0
    for rank, (value, place) in enumerate(known):
        greatest = max(greatest, min(1.0, (number - rank) * value))
        adjusted[place] = greatest
    return adjusted
