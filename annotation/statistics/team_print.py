"""A team analysis for papers and spreadsheets, from its dictionary alone: a LaTeX table (booktabs) and CSV files."""

import json
from collections.abc import Mapping
from typing import Any

from annotation.statistics.csv_text import csv_text
from annotation.statistics.team import MEASURES
from annotation.statistics.team_words import who
from mlcore.exchange import latex
from mlcore.exchange.latex import escaped

_NOTHING = "--"
_HEAD = (
    "Condition", "People", "Answers", "Accuracy", "AI right", "AI wrong", "Over-rel.", "Under-rel.", "Team",
    "AI alone", "AI deciding", "Seconds",
)  # fmt: skip
_INTERVAL = ("mean", "low", "high")
_PARTS = (*MEASURES, "over_reliance", "under_reliance", "team", "seconds")
CONDITION_COLUMNS = (
    "condition", "alone", "people", "answers", "unknown", "accepted", "median_seconds",
    *(f"{part}_{key}" for part in _PARTS for key in _INTERVAL),
    *(f"{measure}_wilson_{key}" for measure in MEASURES for key in ("share", "low", "high")),
    "ai", "ai_accuracy", "ai_low", "ai_high", "ai_images", "ai_threshold", "ai_threshold_images", "ai_decides_right",
    "ai_decides_wrong", "ai_decides_team", "bootstrap_low", "bootstrap_high", "mixed_log_odds", "mixed_low",
    "mixed_high",
)  # fmt: skip
COMPARISON_COLUMNS = (
    "first", "second", "measure", "paired", "n", "mean", "low", "high", "these_people_only", "p", "p_holm",
)  # fmt: skip
PEOPLE_COLUMNS = (
    "condition", "person", "kind", "answers", "overall", "ai_right", "ai_wrong", "accepted", "median_seconds",
)  # fmt: skip


def as_json(report: Mapping[str, Any]) -> str:
    """All figures."""
    return json.dumps(report, indent=1, ensure_ascii=False)


def conditions(report: Mapping[str, Any]) -> str:
    """One row a condition."""
    return csv_text(CONDITION_COLUMNS, map(_condition, report["conditions"]))


def comparisons(report: Mapping[str, Any]) -> str:
    """One row a declared pair of conditions and a measure."""
    return csv_text(COMPARISON_COLUMNS, report["differences"])


def people(report: Mapping[str, Any]) -> str:
    """One row a person in a condition."""
    return csv_text(PEOPLE_COLUMNS, report["persons"])


def table(report: Mapping[str, Any], *, label: str = "tab:team") -> str:
    """The table that papers print, one line a condition; needs \\usepackage{booktabs}."""
    rows = [_line(one) for one in report["conditions"]]
    columns = f"l{'r' * (len(_HEAD) - 1)}"
    return latex.table(rows, caption=_caption(report), label=label, columns=columns, head=_HEAD)


def _caption(report: Mapping[str, Any]) -> str:
    return (
        "Decisions about an AI's answers, correct in per cent: mean over people $\\pm$ half of Student's $t$ 95\\,\\% "
        f"interval over people ({escaped(who(report['people']))}). Team: the two accuracies weighed with how often the "
        "condition's AI is right over all its answers, which is the AI alone; AI deciding: the same weights where it "
        "accepts from a confidence that is fixed on images outside the trials. Seconds: mean of people's medians."
    )


def _line(one: Mapping[str, Any]) -> str:
    ai = one["ai"] or {}
    decided = ai.get("decides", {}).get("team")
    seconds = one["seconds"]["mean"]
    cells = [
        escaped(one["condition"]), str(one["people"]), str(one["answers"]),
        *(_percent(one["accuracy"][measure]) for measure in MEASURES),
        _percent(one["over_reliance"]), _percent(one["under_reliance"]), _percent(one["team"]),
        _bare(ai.get("accuracy")), _bare(decided), _NOTHING if seconds is None else f"{seconds:.1f}",
    ]  # fmt: skip
    return " & ".join(cells) + r" \\"


def _percent(found: Mapping[str, Any]) -> str:
    if found["mean"] is None:
        return _NOTHING
    said = f"{100 * found['mean']:.1f}"
    return said if found["low"] is None else rf"${said} \pm {50 * (found['high'] - found['low']):.1f}$"


def _bare(share: float | None) -> str:
    return _NOTHING if share is None else f"{100 * share:.1f}"


def _condition(one: Mapping[str, Any]) -> dict[str, Any]:
    row = {name: one[name] for name in ("condition", "alone", "people", "answers", "unknown", "accepted")}
    row["median_seconds"] = one["median_seconds"]
    for part in _PARTS:
        found = one["accuracy"][part] if part in MEASURES else one[part]
        row |= {f"{part}_{key}": found[key] for key in _INTERVAL}
    for measure in MEASURES:
        row |= {f"{measure}_wilson_{key}": value for key, value in one["accuracy"][measure]["wilson"].items()}
    ai = one["ai"]
    if ai:
        row |= {"ai": ai["title"]} | {f"ai_{key}": ai[key] for key in ("accuracy", "low", "high", "images")}
        decides = ai["decides"]
        if not decides["reason"]:
            row |= {
                "ai_threshold": decides["threshold"],
                "ai_threshold_images": decides["outside"]["images"],
                "ai_decides_right": decides["ai_right"]["share"],
                "ai_decides_wrong": decides["ai_wrong"]["share"],
                "ai_decides_team": decides["team"],
            }
    drawn, fitted = one["beside"]["bootstrap"], one["beside"]["mixed_model"]
    row |= {f"bootstrap_{key}": drawn.get(key) for key in ("low", "high")}
    return row | {f"mixed_{key}": fitted.get(key) for key in ("log_odds", "low", "high")}
