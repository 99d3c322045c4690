"""The pictures that papers print of an alignment analysis: preferences as diverging bars, gain against alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from annotation.statistics.printing import INK, LINE, QUIET, printed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PREFERENCES, GAINS = "alignment", "gain"
TUNED, ORIGINAL, EQUAL = "#2c5c9e", "#b5651d", "#c4c7cc"
LONGEST = 56
ROW = 0.42  # inches


def pictures(report: Mapping[str, Any]) -> dict[tuple[str, str], bytes]:
    """(name, format) → file. The second picture is there where gains of two cells or more are known."""

    def draw() -> dict[str, Figure]:
        drawn = {PREFERENCES: preferences(report)}
        if len(_measured(report)) > 1:
            drawn[GAINS] = gains(report)
        return drawn

    return printed(draw)


def preferences(report: Mapping[str, Any]) -> Figure:
    """One bar a cell around the middle of “neither”, original to the left, tuned to the right; beside it the
    alignment score with its interval over raters."""
    import matplotlib.pyplot as plt

    cells = [cell for cell in report["cells"] if cell["answers"]]
    rows = [*cells, report["overall"]] if len(cells) > 1 else cells or [report["overall"]]
    figure, (bars, points) = plt.subplots(
        1, 2, figsize=(9.2, 1.5 + ROW * len(rows)), width_ratios=(3, 1.55), sharey=True, layout="constrained"
    )
    for place, one in enumerate(rows):
        _bar(bars, place, one)
        _point(points, place, one)
    bars.set_ylim(len(rows) - 0.4, -0.75)
    bars.set_yticks(range(len(rows)), [*short_names(cells or rows), "all cells"][: len(rows)])
    bars.set_xlim(-104, 104)
    bars.set_xticks((-100, -50, 0, 50, 100), ("100 %", "50 %", "0", "50 %", "100 %"))
    bars.set_xlabel("share of answers")
    for axes in (bars, points):
        axes.axvline(0, color=QUIET, linewidth=0.8, zorder=1)
        if len(cells) > 1:
            axes.axhline(len(rows) - 1.5, color=LINE, linewidth=0.8, zorder=0)
        axes.tick_params(axis="y", length=0)
    bars.text(-66, -0.62, "original preferred", color=ORIGINAL, ha="center", va="bottom", fontweight="bold")
    bars.text(0, -0.62, "neither", color=QUIET, ha="center", va="bottom", fontweight="bold")
    bars.text(66, -0.62, "tuned preferred", color=TUNED, ha="center", va="bottom", fontweight="bold")
    points.set_xlim(-1.06, 1.06)
    points.set_xticks((-1, -0.5, 0, 0.5, 1))
    points.set_xlabel("alignment (95 % over raters)")
    figure.supxlabel(_note(report), fontsize=7.5, color=QUIET, x=0.01, ha="left")
    return figure


def gains(report: Mapping[str, Any]) -> Figure:
    """Standardised gain of the metric against alignment, a point a cell."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.6, 4.2), layout="constrained")
    axes.axhline(0, color=QUIET, linewidth=0.8)
    axes.axvline(0, color=QUIET, linewidth=0.8)
    measured = _measured(report)
    for cell, name in zip(measured, short_names(measured), strict=True):
        x, score = cell["gain"]["standardised"], cell["alignment"]
        if score["low"] is not None:
            axes.plot([x, x], [score["low"], score["high"]], color=TUNED, linewidth=1.2, alpha=0.5)
        axes.plot(x, score["mean"], "o", color=TUNED, markersize=5)
        axes.annotate(name, (x, score["mean"]), (5, 3), textcoords="offset points", fontsize=7, color=INK)
    axes.set_xlabel("gain of the metric (mean difference ÷ its deviation over images; plus: better)")
    axes.set_ylabel("alignment with people")
    axes.set_ylim(-1.06, 1.06)
    axes.margins(x=0.25)
    found = report["gain_and_preference"]
    said = "exploratory"
    if found.get("rho") is not None:
        said += f": Spearman ρ = {found['rho']:.2f} over {found['cells']} cells"
        if found.get("low") is not None:
            said += f" (95 % {found['low']:.2f} to {found['high']:.2f})"
    axes.set_title(f"Does a metric agree with people? ({said})", fontsize=8.5, loc="left", color=INK)
    figure.supxlabel(_note(report), fontsize=7.5, color=QUIET, x=0.01, ha="left")
    return figure


def _bar(axes: Axes, place: int, one: Mapping[str, Any]) -> None:
    shares = [100 * (one["shares"][name] or 0.0) for name in ("original", "neither", "tuned")]
    original, neither, _ = shares
    starts = (-neither / 2 - original, -neither / 2, neither / 2)
    for start, width, colour, light in zip(starts, shares, (ORIGINAL, EQUAL, TUNED), (True, False, True), strict=True):
        if not width:
            continue
        axes.barh(place, width, left=start, height=0.62, color=colour, linewidth=0, zorder=2)
        if width >= 9:
            axes.text(
                start + width / 2, place, f"{width:.0f}", ha="center", va="center", fontsize=7.5, zorder=4,
                color="white" if light else INK,
            )  # fmt: skip


def _point(axes: Axes, place: int, one: Mapping[str, Any]) -> None:
    score = one["alignment"]
    if score["mean"] is None:
        return
    if score["low"] is not None:
        # A t interval may pass the ends that a score cannot.
        axes.plot([max(score["low"], -1), min(score["high"], 1)], [place, place], color=INK, linewidth=1.4)
    axes.plot(score["mean"], place, "o", color=INK, markersize=4.5)
    axes.text(1.0, place - 0.3, f"{score['mean']:+.2f}", ha="right", va="center", fontsize=7, color=QUIET)


def _measured(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        cell
        for cell in report["cells"]
        if cell.get("gain") and cell["gain"]["standardised"] is not None and cell["alignment"]["mean"] is not None
    ]


def short_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells the rows apart: metric and method where that is enough, else the whole names of the cells."""
    short = [" · ".join(part for part in (one["metric"], one["method"]) if part) for one in rows]
    names = [
        name if name and short.count(name) == 1 else str(one["cell"] or "all pairs")
        for name, one in zip(short, rows, strict=True)
    ]
    return [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in names]


def _note(report: Mapping[str, Any]) -> str:
    people: Mapping[str, int] = report["people"]
    who = ", ".join(f"{number} {kind}" for kind, number in people.items()) or "nobody"
    return f"{who}; {report['images']} images, {report['answers']} answers.{_few(report)}"


def _few(report: Mapping[str, Any]) -> str:
    return " These raters only." if report["overall"]["alignment"]["these_raters_only"] else ""


def names() -> Sequence[str]:
    """Of all pictures that there may be."""
    return (PREFERENCES, GAINS)
