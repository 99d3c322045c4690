"""A team analysis as its page shows it: per cents with intervals, every table with what it is."""

from collections.abc import Mapping
from typing import Any

from annotation.models import StudyAnalysis
from annotation.statistics.team import ALL_MEASURES, MEASURES
from annotation.statistics.team_words import percent, points
from annotation.studies.base import Table

NOTHING = "–"
MOST_ROWS = 600  # people on the page; more are in the CSV


def shown(analysis: StudyAnalysis) -> dict[str, Any]:
    """What the page needs of an analysis that is done."""
    report = analysis.result
    conditions = report["conditions"]
    few = len(report["persons"]) <= MOST_ROWS
    return {
        "sentences": report["text"],
        "special": [kind for kind in report["people"] if kind != "human"],
        "pictures": sorted({figure.name for figure in analysis.figures.all()}),
        "main": _main(conditions),
        "reliance": _reliance(conditions),
        "together": _together(conditions),
        "ais": _ais(report["ais"]),
        "reasons": [f"{ai['title']}: {ai['decides']['reason']}" for ai in report["ais"] if ai["decides"]["reason"]],
        "compared": _compared(report["differences"]),
        "work": _work(conditions),
        "beside": _beside(conditions),
        "without": _without(report["without"]),
        "persons": _persons(report["persons"]) if few else None,
    }


def mean(found: Mapping[str, Any]) -> str:
    """“68.9 % (61.0 to 76.8)”"""
    if found["mean"] is None:
        return NOTHING
    if found["low"] is None:
        return percent(found["mean"])
    return f"{percent(found['mean'])} ({_bare(found['low'])} to {_bare(found['high'])})"


def _bare(share: float) -> str:
    return f"{100 * share:.1f}".replace("-", "−")


def _p(value: float | None) -> str:
    return NOTHING if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"


def _main(conditions: list[Mapping[str, Any]]) -> Table:
    return Table(
        "Correct decisions: mean over people, with Student’s t 95 % interval over people",
        ("Condition", "People", "Answers", *MEASURES.values(), "Seconds"),
        [
            (
                one["condition"], one["people"], one["answers"], *(mean(one["accuracy"][key]) for key in MEASURES),
                _seconds(one["seconds"]["mean"]),
            )
            for one in conditions
        ],
    )  # fmt: skip


def _reliance(conditions: list[Mapping[str, Any]]) -> Table:
    return Table(
        "Reliance: over people, with Student’s t interval; of people alone, on the name that the page says",
        ("Condition", "Over-reliance: accepted when wrong", "Under-reliance: rejected when right", "Accepted in all"),
        [
            (one["condition"], mean(one["over_reliance"]), mean(one["under_reliance"]), percent(one["accepted"]))
            for one in conditions
        ],
    )


def _together(conditions: list[Mapping[str, Any]]) -> Table:
    return Table(
        "Team accuracy: p · right + (1 − p) · wrong, p how often the condition’s own AI is right over all its answers",
        ("Condition", "Team", "AI alone (p)", "Team − AI alone", "AI deciding by its confidence", "Team − it"),
        [_team_row(one) for one in conditions],
    )


def _team_row(one: Mapping[str, Any]) -> tuple[Any, ...]:
    ai, team = one["ai"] or {}, one["team"]
    p, decided = ai.get("accuracy"), ai.get("decides", {}).get("team")
    return (
        one["condition"], mean(team), percent(p), _gap(team, p), percent(decided), _gap(team, decided),
    )  # fmt: skip


def _gap(team: Mapping[str, Any], against: float | None) -> str:
    if against is None or team["mean"] is None:
        return NOTHING
    said = points(team["mean"] - against)
    return (
        said if team["low"] is None else f"{said} ({points(team['low'] - against)} to {points(team['high'] - against)})"
    )


def _ais(ais: list[Mapping[str, Any]]) -> Table:
    return Table(
        "AI alone: how often it is right over all its answers (Wilson over images), and deciding about the trials’ "
        "images by a threshold of its confidence that is fixed on images outside the trials",
        ("AI", "Conditions", "Right", "Images", "Accepts from", "Fixed on", "Where it is right", "Where it is wrong"),
        [
            (
                ai["title"], ", ".join(ai["conditions"]), mean({**ai, "mean": ai["accuracy"]}), ai["images"],
                *_decides(ai["decides"]),
            )
            for ai in ais
        ],
    )  # fmt: skip


def _decides(found: Mapping[str, Any]) -> tuple[str, ...]:
    if found["reason"]:
        return (NOTHING,) * 4
    return (
        f"{found['threshold']:.2f}", f"{found['outside']['images']} images",
        percent(found["ai_right"]["share"]), percent(found["ai_wrong"]["share"]),
    )  # fmt: skip


def _compared(differences: list[Mapping[str, Any]]) -> Table | None:
    if not differences:
        return None
    how = "paired within people" if differences[0]["paired"] else "different people: Welch"
    return Table(
        f"Comparisons declared when the study was published ({how}); Holm over all of them with a p value",
        ("First", "Second", "Where", "First − second, points", "95 %", "p", "p (Holm)"),
        [
            (
                one["first"], one["second"], ALL_MEASURES[one["measure"]],
                NOTHING if one["mean"] is None else points(one["mean"]),
                NOTHING if one["low"] is None else f"{points(one['low'])} to {points(one['high'])}",
                _p(one["p"]), _p(one["p_holm"]),
            )
            for one in differences
        ],
    )  # fmt: skip


def _work(conditions: list[Mapping[str, Any]]) -> Table:
    return Table(
        "Time and answers: seconds are the mean over people of their own medians",
        ("Condition", "Seconds", "95 %", "Median of all answers", "Own confidence (1–5)", "Without a label"),
        [
            (
                one["condition"], _seconds(one["seconds"]["mean"]),
                NOTHING if one["seconds"]["low"] is None
                else f"{one['seconds']['low']:.1f} to {one['seconds']['high']:.1f}".replace("-", "−"),
                _seconds(one["median_seconds"]),
                NOTHING if not one["own_confidence"] else f"{one['own_confidence']['mean']:.2f}", one["unknown"],
            )
            for one in conditions
        ],
    )  # fmt: skip


def _beside(conditions: list[Mapping[str, Any]]) -> Table:
    return Table(
        "Other ways of asking about all decisions: Wilson over answers (descriptive), two-way bootstrap of people and "
        "images, log-odds of a correct decision by a crossed mixed model",
        ("Condition", "Share of answers", "Wilson, 95 %", "Bootstrap, 95 %", "Mixed model", "95 %"),
        [_beside_row(one) for one in conditions],
    )


def _beside_row(one: Mapping[str, Any]) -> tuple[Any, ...]:
    wilson, drawn, fitted = (
        one["accuracy"]["overall"]["wilson"],
        one["beside"]["bootstrap"],
        one["beside"]["mixed_model"],
    )
    return (
        one["condition"], percent(wilson["share"]), _range(wilson), drawn.get("reason") or _range(drawn),
        fitted.get("reason") or f"{fitted['log_odds']:+.2f}".replace("-", "−"),
        NOTHING if "low" not in fitted else f"{fitted['low']:+.2f} to {fitted['high']:+.2f}".replace("-", "−"),
    )  # fmt: skip


def _range(found: Mapping[str, Any]) -> str:
    return NOTHING if found.get("low") is None else f"{percent(found['low'])} to {percent(found['high'])}"


def _without(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not found:
        return None
    rule = "they missed more attention checks than allowed" if found["rule"] == "checks" else "named by the reader"
    return {
        "people": ", ".join(found["people"]),
        "rule": rule,
        "table": Table(
            "The same without them",
            ("Condition", "People", "Answers", *MEASURES.values(), "Team"),
            [
                (
                    one["condition"], one["people"], one["answers"],
                    *(mean(one["accuracy"][key]) for key in MEASURES), mean(one["team"]),
                )
                for one in found["conditions"]
            ],
        ),
    }  # fmt: skip


def _persons(persons: list[Mapping[str, Any]]) -> Table:
    return Table(
        "Each person",
        ("Condition", "Person", "Kind", "Answers", "All", "AI right", "AI wrong", "Accepted", "Seconds"),
        [
            (
                one["condition"], one["person"], one["kind"], one["answers"],
                *(percent(one[key]) for key in ("overall", "ai_right", "ai_wrong", "accepted")),
                _seconds(one["median_seconds"]),
            )
            for one in persons
        ],
    )  # fmt: skip
