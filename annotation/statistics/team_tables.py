"""The figures of a team study as tables for its page and its exports."""

from collections.abc import Mapping
from typing import Any

from annotation.statistics.team import ALL_MEASURES, MEASURES
from annotation.studies.base import Table


def tables(found: Mapping[str, Any]) -> list[Table]:
    """The figures as tables."""
    conditions = found["conditions"]
    accuracies = Table(
        "Accuracy of people's decisions: mean over people, Student's t interval over people",
        ("Condition", "Where", "People", "Answers", "Mean", "95 % from", "95 % to", "In words"),
        [
            (one["condition"], title, one["accuracy"][name]["people"], one["accuracy"][name]["answers"],
             one["accuracy"][name]["mean"], one["accuracy"][name]["low"], one["accuracy"][name]["high"],
             one["sentence"] if name == "overall" else "")
            for one in conditions
            for name, title in MEASURES.items()
        ],
    )  # fmt: skip
    described = Table(
        "The same over all answers, whoever gave them: Wilson's interval (descriptive)",
        ("Condition", "Where", "Correct", "Answers", "Share", "95 % from", "95 % to"),
        [
            (one["condition"], title, one["accuracy"][name]["correct"], one["accuracy"][name]["answers"],
             *(one["accuracy"][name]["wilson"][key] for key in ("share", "low", "high")))
            for one in conditions
            for name, title in MEASURES.items()
        ],
    )  # fmt: skip
    reliance = Table(
        "Reliance: mean over people, Student's t interval",
        ("Condition", "Figure", "People", "Mean", "95 % from", "95 % to"),
        [
            (one["condition"], title, one[name]["people"], one[name]["mean"], one[name]["low"], one[name]["high"])
            for one in conditions
            for name, title in (
                ("over_reliance", "Over-reliance: accepted when the AI is wrong"),
                ("under_reliance", "Under-reliance: rejected when the AI is right"),
            )
        ],
    )  # fmt: skip
    together = Table(
        "Team accuracy: p · right + (1 − p) · wrong, p how often the condition’s AI is right over all its answers",
        ("Condition", "People", "Team", "95 % from", "95 % to", "AI alone (p)", "p from images", "Team − AI alone",
         "from", "to"),
        [(one["condition"], *(one["team"][key] for key in ("people", "mean", "low", "high")), *_against(one))
         for one in conditions],
    )  # fmt: skip
    deciding = Table(
        "AI alone: right as often as its answers are (p, Wilson’s interval over images), and deciding like the people, "
        "by a threshold of its confidence that is fixed on images outside the trials",
        ("AI", "Conditions", "p", "95 % from", "95 % to", "Images", "Accepts from", "Fixed on images",
         "Where it is right", "Where it is wrong", "Weighted with p"),
        [_decides(ai) for ai in found["ais"]],
    )  # fmt: skip
    work = Table(
        "Answers",
        ("Condition", "People", "Answers", "Accepted", "No label", "Own confidence (1–5)", "Median seconds",
         "Seconds: mean of own medians", "95 % from", "95 % to"),
        [
            (one["condition"], one["people"], one["answers"], one["accepted"], one["unknown"],
             one["own_confidence"]["mean"] if one["own_confidence"] else None, one["median_seconds"],
             *(one["seconds"][key] for key in ("mean", "low", "high")))
            for one in conditions
        ],
    )  # fmt: skip
    paired = any(one["paired"] for one in found["differences"])
    compared = Table(
        "Conditions compared, as declared: "
        + ("paired within people" if paired else "between people, Welch's interval and test")
        + "; Holm corrects all these p values together",
        ("First", "Second", "Where", "People", "First − second", "95 % from", "95 % to", "p", "p (Holm)"),
        [
            (one["first"], one["second"], ALL_MEASURES[one["measure"]], one["n"], one["mean"], one["low"], one["high"],
             one["p"], one["p_holm"])
            for one in found["differences"]
        ],
    )  # fmt: skip
    shown = [accuracies, together, *([deciding] if deciding.rows else []), reliance]
    return [*shown, *([compared] if compared.rows else []), described, work]


def _against(one: Mapping[str, Any]) -> tuple[Any, ...]:
    """The AI alone, how many images that is from, and the team minus it; p is taken as known."""
    p = (one["ai"] or {}).get("accuracy")
    if p is None:
        return (None,) * 5
    gaps = (None if one["team"][key] is None else one["team"][key] - p for key in ("mean", "low", "high"))
    return (p, one["ai"]["images"], *gaps)


def _decides(ai: Mapping[str, Any]) -> tuple[Any, ...]:
    decided = ai["decides"]
    head = (ai["title"], ", ".join(ai["conditions"]), ai["accuracy"], ai["low"], ai["high"], ai["images"])
    if decided["reason"]:
        return (*head, *(None,) * 5)
    return (
        *head, decided["threshold"], decided["outside"]["images"], decided["ai_right"]["share"],
        decided["ai_wrong"]["share"], decided["team"],
    )  # fmt: skip
