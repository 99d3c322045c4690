"""The reasonability matrix as weights (definitions §2): how much an image's class and its map count in phase 2."""

from __future__ import annotations

from mlcore.models import SupervisionItem

Case = SupervisionItem.Case

# case → (w_p, w_a) of an image with a drawn map
WEIGHTS: dict[str, tuple[float, float]] = {
    Case.UNREASONABLE_INACCURATE: (1.0, 1.0),
    Case.UNREASONABLE_ACCURATE: (0.4, 1.6),
    Case.REASONABLE_INACCURATE: (0.8, 0.2),
    Case.REASONABLE_ACCURATE: (1.0, 0.0),
    Case.NOT_RATED: (1.0, 1.0),
}
PRESETS = ("default", "gradia")


def weights_of(case: str, *, has_map: bool, preset: str = "default") -> tuple[float, float]:
    """(w_p, w_a). Without a map nothing is learned about attention; preset "gradia" leaves a map that nobody rated
    out, as the released code does."""
    if not has_map or (preset == "gradia" and case == Case.NOT_RATED):
        return (1.0, 0.0)
    return WEIGHTS[Case(case)]
