"""The pictures that papers print of a team study: accuracies as bars, and each team against its AI alone.

Whoever is no person is named in the picture itself.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from annotation.statistics.printing import INK, LINE, QUIET, printed
from annotation.statistics.team_words import who

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACCURACY, TEAMS = "accuracy", "team"
BARS = (
    ("overall", "all decisions", "#2c5c9e"),
    ("ai_right", "where the AI is right", "#7fa8d9"),
    ("ai_wrong", "where the AI is wrong", "#d98c4a"),
)
WIDTH = 0.26


def pictures(report: Mapping[str, Any]) -> dict[tuple[str, str], bytes]:
    """(name, format) → file. The second picture is there where an AI's accuracy is known."""

    def draw() -> dict[str, Figure]:
        drawn = {ACCURACY: accuracies(report)}
        if any(one["team"]["mean"] is not None for one in report["conditions"]):
            drawn[TEAMS] = teams(report)
        return drawn

    return printed(draw, {"axes.grid.axis": "y"})


def accuracies(report: Mapping[str, Any]) -> Figure:
    """Three bars a condition, each the mean over people with its interval over people."""
    conditions = report["conditions"]
    figure, axes = _axes(conditions)
    for shift, (measure, title, colour) in zip((-1, 0, 1), BARS, strict=True):
        for place, one in enumerate(conditions):
            found = one["accuracy"][measure]
            if found["mean"] is None:
                continue
            x, height = place + shift * WIDTH, 100 * found["mean"]
            axes.bar(x, height, WIDTH * 0.9, color=colour, linewidth=0, label=title if place == 0 else None, zorder=2)
            top = _whisker(axes, x, found) or height
            axes.text(x, top + 1.5, f"{height:.1f}", ha="center", va="bottom", fontsize=7, color=INK, zorder=4)
    axes.set_ylabel("correct decisions (%)")
    _finish(figure, axes, report, "Mean over people, Student’s t 95 % interval over people")
    return figure


def teams(report: Mapping[str, Any]) -> Figure:
    """Team accuracy, weighed with how often the condition's AI is right, beside that AI alone."""
    conditions = report["conditions"]
    figure, axes = _axes(conditions)
    told: set[str] = set()

    def label(text: str) -> str | None:
        if text in told:
            return None
        told.add(text)
        return text

    for place, one in enumerate(conditions):
        team, ai = one["team"], one["ai"] or {}
        if team["mean"] is not None:
            colour = "#009e73" if one["alone"] else "#2c5c9e"
            title = "people alone" if one["alone"] else "people with the AI"
            axes.plot(place, 100 * team["mean"], "o", color=colour, markersize=6, label=label(title), zorder=3)
            _whisker(axes, place, team, colour)
            axes.text(place + 0.07, 100 * team["mean"], f"{100 * team['mean']:.1f}", fontsize=7.5, va="center")
        if ai.get("accuracy") is None:
            continue
        axes.plot(
            place - 0.2, 100 * ai["accuracy"], "D", markerfacecolor="white", markeredgecolor=INK, markersize=5.5,
            label=label("AI alone, accepting everything"), zorder=3,
        )  # fmt: skip
        if not ai["decides"]["reason"] and ai["decides"]["team"] is not None:
            axes.plot(
                place - 0.2, 100 * ai["decides"]["team"], "^", color=INK, markersize=6,
                label=label("AI alone, accepting from a threshold fixed on other images"), zorder=3,
            )  # fmt: skip
    axes.set_ylabel("correct decisions (%), weighed")
    weighed = "Weighed with how often each condition’s own AI is right over all its answers"
    _finish(figure, axes, report, weighed)
    return figure


def _axes(conditions: Sequence[Mapping[str, Any]]) -> tuple[Figure, Axes]:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(max(4.6, 1.6 + 1.35 * len(conditions)), 3.6), layout="constrained")
    axes.set_xticks(range(len(conditions)), [textwrap.fill(one["condition"], 17) for one in conditions])
    axes.tick_params(axis="x", labelcolor=INK)
    axes.set_xlim(-0.6, len(conditions) - 0.4)
    axes.set_ylim(0, 112)
    axes.set_yticks(range(0, 101, 20))
    axes.axhline(0, color=LINE, linewidth=0.8)
    axes.axhline(50, color=QUIET, linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
    return figure, axes


def _whisker(axes: Axes, x: float, found: Mapping[str, Any], colour: str = INK) -> float | None:
    """The interval, cut at what a share can be; where it ends."""
    if found["low"] is None:
        return None
    low, high = 100 * max(found["low"], 0.0), 100 * min(found["high"], 1.0)
    axes.plot([x, x], [low, high], color=colour, linewidth=1.2, zorder=3)
    return high


def _finish(figure: Figure, axes: Axes, report: Mapping[str, Any], what: str) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False, fontsize=7.5)
    note = f"{what}. {who(report['people'])[:1].upper()}{who(report['people'])[1:]}; {report['answers']} answers, "
    note += f"{report['images']} images. Broken line: guessing."
    if any(one["accuracy"]["overall"]["these_people_only"] for one in report["conditions"] if one["people"]):
        note += " Few people: these people only."
    width = max(60, int(figure.get_figwidth() * 19))
    figure.supxlabel(textwrap.fill(note, width), fontsize=7.5, color=QUIET, x=0.01, ha="left")
