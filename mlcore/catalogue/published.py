"""Figures that others have published, to stand beside a report: never mixed with what was measured here."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Published:
    """One row of a published table, in per cent as it is printed: metric → figure."""

    title: str
    figures: dict[str, Decimal]
    source: str


GRID_PAPER = "Pillai & Pirsiavash, Explainable Models with Consistent Interpretations, AAAI 2021, on ImageNet"
PLAIN, CONSISTENT = "trained as usual", "trained with grid consistency"


def _row(title: str, top1: str, pointing: str, stochastic: str, content: str) -> Published:
    names = ("accuracy", "pointing", "stochastic_pointing", "content_heat_map")
    figures = dict(zip(names, map(Decimal, (top1, pointing, stochastic, content)), strict=True))
    return Published(title, figures, GRID_PAPER)


# Architecture → its rows (definitions §3).
PUBLISHED: dict[str, tuple[Published, ...]] = {
    "resnet18": (
        _row(PLAIN, "69.43", "79.8", "60.5", "54.36"),
        _row(CONSISTENT, "67.74", "80.0", "65.85", "57.73"),
    ),
    "resnet18_max_pool": (
        _row(PLAIN, "69.08", "79.3", "66.66", "62.89"),
        _row(CONSISTENT, "69.02", "79.6", "68.74", "65.35"),
    ),
    "resnet50": (
        _row(PLAIN, "76.13", "80.0", "60.95", "54.78"),
        _row(CONSISTENT, "74.40", "80.3", "65.26", "59.42"),
    ),
    "resnet50_max_pool": (
        _row(PLAIN, "74.63", "79.8", "66.29", "54.23"),
        _row(CONSISTENT, "74.14", "79.6", "69.51", "59.70"),
    ),
    "alexnet": (
        _row(PLAIN, "56.51", "72.8", "53.45", "45.78"),
        _row(CONSISTENT, "56.16", "73.7", "61.15", "48.10"),
    ),
}
