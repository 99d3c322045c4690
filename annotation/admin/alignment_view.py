"""An alignment report as its page shows it: numbers in words of three digits, every table with what it is."""

import json
from collections.abc import Mapping
from typing import Any

from annotation.models import StudyAnalysis
from annotation.studies.base import Table

NOTHING = "–"
MOST_ROWS = 600  # of images on the page; more are in the CSV


def as_json(report: Mapping[str, Any]) -> str:
    """All figures."""
    return json.dumps(report, indent=1, ensure_ascii=False)


def shown(analysis: StudyAnalysis) -> dict[str, Any]:
    """What the page needs of an analysis that is done."""
    report = analysis.result
    few = sum(len(cell["images_table"]) for cell in report["cells"]) <= MOST_ROWS
    rows = [*report["cells"], *([report["overall"]] if len(report["cells"]) != 1 else [])]
    return {
        "sentences": report["text"],
        "special": [kind for kind in report["people"] if kind != "human"],
        "pictures": sorted({figure.name for figure in analysis.figures.all()}),
        "main": _main(rows),
        "details": [_majorities(rows), _models(rows), _agreement(rows), _sides(rows)],
        "gains": _gains(report["cells"]),
        "correlation": _correlation(report["gain_and_preference"]),
        "without": _without(report.get("without")),
        "raters": _raters(rows),
        "images": [(_name(cell), _images(cell)) for cell in report["cells"] if cell["images_table"]] if few else [],
        "images_in_the_file": not few,
    }


def _name(one: Mapping[str, Any]) -> str:
    return str(one["cell"] or "all pairs")


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.1f} %"


def _number(value: float | None, form: str = "+.2f") -> str:
    return NOTHING if value is None else f"{value:{form}}".replace("-", "−")


def _interval(one: Mapping[str, Any], low: str = "low", high: str = "high", form: str = "+.2f") -> str:
    if one.get(low) is None or one.get(high) is None:
        return NOTHING
    return f"{_number(one[low], form)} to {_number(one[high], form)}"


def _p(value: float | None) -> str:
    return NOTHING if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _main(rows: list[Mapping[str, Any]]) -> Table:
    return Table(
        "Which map people prefer; alignment is the mean of raters' own scores, its interval is Student's t over raters",
        ("Cell", "Raters", "Answers", "Original", "Neither", "Tuned", "Alignment", "95 % interval", "p", "p (Holm)"),
        [
            (
                _name(one), one["people"], one["answers"], *(_percent(one["shares"][key])
                for key in ("original", "neither", "tuned")), _number(one["alignment"]["mean"]),
                _interval(one["alignment"]), _p(one["p"]), _p(one["p_holm"]),
            )
            for one in rows
        ],
    )  # fmt: skip


def _majorities(rows: list[Mapping[str, Any]]) -> Table:
    return Table(
        "What most raters said of each image (descriptive: raters are the same for all images)",
        ("Cell", "Tuned", "Original", "Neither", "Tied", "Tuned of decided", "95 % (Wilson)", "p (exact)"),
        [
            (
                _name(one), *(one["majority"][key] for key in ("tuned", "original", "neither", "tied")),
                _percent(one["majority"]["share_tuned"]), _shares(one["majority"]), _p(one["majority"]["p"]),
            )
            for one in rows
        ],
    )  # fmt: skip


def _shares(one: Mapping[str, Any]) -> str:
    return NOTHING if one["low"] is None else f"{_percent(one['low'])} to {_percent(one['high'])}"


def _models(rows: list[Mapping[str, Any]]) -> Table:
    return Table(
        "Other ways of asking: two-way bootstrap of people and images; log-odds of tuned over original by a crossed "
        "mixed model, and by Bradley–Terry with ties",
        ("Cell", "Bootstrap, 95 %", "Mixed model", "95 %", "Bradley–Terry", "95 %", "Ties, ν"),
        [
            (
                _name(one), one["bootstrap"].get("reason") or _interval(one["bootstrap"]),
                one["mixed_model"].get("reason") or _number(one["mixed_model"]["log_odds"]),
                _interval(one["mixed_model"]),
                one["bradley_terry"].get("reason") or _number(one["bradley_terry"]["log_strength"]),
                _interval(one["bradley_terry"]), _number(one["bradley_terry"].get("tie"), ".2f"),
            )
            for one in rows
        ],
    )  # fmt: skip


def _agreement(rows: list[Mapping[str, Any]]) -> Table:
    return Table(
        "How far raters agree with each other",
        ("Cell", "Krippendorff's α, nominal", "ordinal", "Fleiss' κ", "Cohen's κ, pairs' mean", "from", "to", "Pairs"),
        [
            (
                _name(one), *(_number(one["agreement"][key]) for key in
                ("krippendorff_nominal", "krippendorff_ordinal", "fleiss")),
                *(_number(one["agreement"]["cohen"][key]) for key in ("mean", "low", "high")),
                one["agreement"]["cohen"]["pairs"],
            )
            for one in rows
        ],
    )  # fmt: skip


def _sides(rows: list[Mapping[str, Any]]) -> Table:
    return Table(
        "Side: how often the left map was preferred among decided answers whose sides are known",
        ("Cell", "Left", "Right", "Share left", "95 % (Wilson)", "p (exact)"),
        [
            (_name(one), one["position"]["left"], one["position"]["right"], _percent(one["position"]["share_left"]),
             _shares(one["position"]), _p(one["position"]["p"]))
            for one in rows
        ],
    )  # fmt: skip


def _gains(cells: list[Mapping[str, Any]]) -> Table | None:
    gained = [(one, one["gain"]) for one in cells if one.get("gain")]
    if not gained:
        return None
    return Table(
        "What the metric gained on the images that were shown (they selected nothing); interval over images",
        ("Cell", "Metric", "Before", "After", "Difference", "95 % interval", "Images", "Same prediction"),
        [
            (_name(one), gain["metric"], _number(gain["before"], ".3f"), _number(gain["after"], ".3f"),
             _number(gain["difference"], "+.3f"), _interval(gain, form="+.3f"), gain["n"], _percent(gain["agreement"]))
            for one, gain in gained
        ],
    )  # fmt: skip


def _correlation(found: Mapping[str, Any]) -> str:
    if found.get("reason"):
        return f"Gain and preference over cells: {found['reason']}"
    interval = "" if found.get("low") is None else f" (95 % {_interval(found)}, drawn over images and raters)"
    return (
        f"Exploratory: over {found['cells']} cells the gain of the metric and the preference of people have a rank "
        f"correlation of {_number(found['rho'])}{interval}."
    )


def _without(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not found:
        return None
    rows = [*found["cells"], found["overall"]] if len(found["cells"]) != 1 else found["cells"]
    return {
        "raters": ", ".join(found["raters"]),
        "table": Table(
            "The same without them",
            ("Cell", "Raters", "Answers", "Alignment", "95 % interval", "p"),
            [
                (_name(one), one["people"], one["answers"], _number(one["alignment"]["mean"]),
                 _interval(one["alignment"]), _p(one["p"]))
                for one in rows
            ],
        ),
    }  # fmt: skip


def _raters(rows: list[Mapping[str, Any]]) -> Table:
    return Table(
        "Each rater",
        ("Cell", "Rater", "Original", "Neither", "Tuned", "Score"),
        [
            (_name(one), rater["rater"], rater["original"], rater["neither"], rater["tuned"], _number(rater["score"]))
            for one in rows
            for rater in one["raters"]
        ],
    )


def _images(cell: Mapping[str, Any]) -> Table:
    return Table(
        f"Each image of {_name(cell)}",
        ("Image", "Original", "Neither", "Tuned", "Most said"),
        [
            (image["image"], image["original"], image["neither"], image["tuned"], image["majority"])
            for image in cell["images_table"]
        ],
    )
