"""Figures of a team study (definitions §6, §8): how well people and a classifier decide together.

The classifier says a class; a person accepts or rejects it. A decision is correct where a right answer was accepted or
a wrong one rejected. Every share is the mean over people of their own shares, with Student's t interval over people;
the share over all answers stands beside it with Wilson's interval, as a description of these answers only.

Team accuracy weighs the two accuracies with p, how often the classifier is right in the population, and never with
how often it happens to be right in the trials.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from statistics import fmean, median
from typing import Any

from annotation.models import Study
from annotation.statistics import team_table
from annotation.statistics.intervals import Interval, t_mean, welch, wilson
from annotation.statistics.team_table import Decision
from annotation.studies.base import Table

FEW_PEOPLE = 5
MEASURES = {
    "overall": "Accuracy",
    "ai_right": "Accuracy where the AI is right",
    "ai_wrong": "Accuracy where the AI is wrong",
}


# --- one condition --------------------------------------------------------------------------------------------


def own_shares(decisions: Iterable[Decision], measure: str = "overall") -> dict[int, float]:
    """Person → share of their own decisions that are correct: overall, or where the AI is right, or wrong."""
    said: dict[int, list[bool]] = defaultdict(list)
    for one in decisions:
        if one.correct is not None and (measure == "overall" or (measure == "ai_right") == one.ai_right):
            said[one.person].append(one.correct)
    return {person: fmean(values) for person, values in said.items()}


def share(decisions: Sequence[Decision], measure: str = "overall") -> dict[str, Any]:
    """Accuracy as mean over people, and over all answers with Wilson's interval (descriptive)."""
    counted = [
        one.correct
        for one in decisions
        if one.correct is not None and (measure == "overall" or (measure == "ai_right") == one.ai_right)
    ]
    low, high = wilson(sum(counted), len(counted)) or (None, None)
    return _over_people(t_mean(list(own_shares(decisions, measure).values()))) | {
        "answers": len(counted),
        "correct": sum(counted),
        "wilson": {"share": sum(counted) / len(counted) if counted else None, "low": low, "high": high},
    }


def inverse(found: Mapping[str, Any]) -> dict[str, Any]:
    """1 − accuracy: accepted when wrong, or rejected when right."""
    one = {
        "mean": None if found["mean"] is None else 1 - found["mean"],
        "low": None if found["high"] is None else 1 - found["high"],
        "high": None if found["low"] is None else 1 - found["low"],
    }
    return one | {key: found[key] for key in ("people", "these_people_only", "answers")}


def team(decisions: Sequence[Decision], p: float | None) -> dict[str, Any]:
    """p · accuracy where the AI is right + (1 − p) · accuracy where it is wrong, over people who met both."""
    if p is None:
        return _over_people(t_mean([]))
    right, wrong = own_shares(decisions, "ai_right"), own_shares(decisions, "ai_wrong")
    return _over_people(t_mean([p * right[person] + (1 - p) * wrong[person] for person in right if person in wrong]))


def _over_people(found: Interval) -> dict[str, Any]:
    return {
        "mean": found.mean,
        "low": found.low,
        "high": found.high,
        "people": found.n,
        "these_people_only": found.n < FEW_PEOPLE,
    }


def summary(decisions: Sequence[Decision], p: float | None) -> dict[str, Any]:
    """The figures of one condition; p: the classifier's accuracy in the population, None where it is not known."""
    found = {measure: share(decisions, measure) for measure in MEASURES}
    times = [one.milliseconds for one in decisions if one.milliseconds is not None]
    sure: dict[int, list[float]] = defaultdict(list)
    for one in decisions:
        if one.confidence is not None:
            sure[one.person].append(one.confidence)
    return {
        "answers": len(decisions),
        "people": len({one.person for one in decisions}),
        "unknown": sum(one.correct is None for one in decisions),
        "accepted": fmean(one.accepted for one in decisions) if decisions else None,
        "accuracy": found,
        "over_reliance": inverse(found["ai_wrong"]),
        "under_reliance": inverse(found["ai_right"]),
        "team": team(decisions, p),
        "own_confidence": _over_people(t_mean([fmean(values) for values in sure.values()])) if sure else None,
        "median_seconds": median(times) / 1000 if times else None,
    }


# --- conditions compared --------------------------------------------------------------------------------------


def differences(by_condition: Mapping[str, Sequence[Decision]], *, paired: bool) -> list[dict[str, Any]]:
    """Accuracy of one condition minus another's, for every pair of conditions and every measure.

    paired: within people, over those who met both; otherwise Welch's interval between different people.
    """
    found = []
    for first, second in combinations(by_condition, 2):
        for measure in MEASURES:
            one, other = own_shares(by_condition[first], measure), own_shares(by_condition[second], measure)
            if paired:
                interval = t_mean([one[person] - other[person] for person in one if person in other])
            else:
                interval = welch(list(one.values()), list(other.values()))
            few = interval.n < FEW_PEOPLE if paired else min(len(one), len(other)) < FEW_PEOPLE
            found.append(
                {"first": first, "second": second, "measure": measure, "paired": paired, **asdict(interval)}
                | {"these_people_only": few}
            )
    return found


def summaries(
    decisions: Iterable[Decision], conditions: Sequence[str], *, p: float | None, paired: bool
) -> dict[str, Any]:
    """Every condition, in this order, and their differences."""
    by_condition: dict[str, list[Decision]] = {name: [] for name in conditions}
    for one in decisions:
        by_condition[one.condition].append(one)
    return {
        "conditions": [{"condition": name, **summary(rows, p)} for name, rows in by_condition.items()],
        "differences": differences(by_condition, paired=paired),
    }


def sentence(found: Mapping[str, Any]) -> str:
    """One condition in one sentence, with its interval and whose it is."""
    accuracy = found["accuracy"]["overall"]
    if accuracy["mean"] is None:
        return "Nobody has answered yet." if not found["answers"] else "Nobody said what these pictures show."
    people = "1 person" if accuracy["people"] == 1 else f"{accuracy['people']} people"
    said = f"{found['condition']}: people decided correctly in {accuracy['mean']:.1%} of their trials"
    if accuracy["low"] is None:
        return f"{said} ({people}; these people only)."
    only = "; these people only" if accuracy["these_people_only"] else ""
    # An interval over few people may reach beyond what a share can be; it is shown as it is computed.
    return f"{said} (95 % interval {accuracy['low']:.1%} to {accuracy['high']:.1%}, Student's t over {people}{only})."


# --- a study --------------------------------------------------------------------------------------------------


def figures(study: Study, kinds: Sequence[str]) -> dict[str, Any]:
    """All figures of a study, of the people of these kinds, ready for JSON."""
    from annotation.statistics import table

    classifier = team_table.classifier_of(study)
    p, images = team_table.accuracy_of(classifier, study)
    names = team_table.condition_names(study)
    found = summaries(
        team_table.decisions(study, kinds), names, p=p, paired=study.conditions != Study.Conditions.BETWEEN
    )
    for one in found["conditions"]:
        one["sentence"] = sentence(one)
    milliseconds = table.median_milliseconds([study], kinds)
    return {
        "kinds": list(kinds),
        "people": table.people([study], kinds),
        "answers": sum(one["answers"] for one in found["conditions"]),
        "median_seconds": None if milliseconds is None else milliseconds / 1000,
        "classifier": None if classifier is None else str(classifier.uuid),
        "ai_alone": {"accuracy": p, "images": images},
        **found,
    }


def tables(found: Mapping[str, Any]) -> list[Table]:
    """The figures as tables."""
    alone = found["ai_alone"]
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
        f"Team accuracy: p · right + (1 − p) · wrong, p from {alone['images']} predictions",
        ("Condition", "People", "Team", "95 % from", "95 % to", "AI alone (p)"),
        [
            (one["condition"], *(one["team"][key] for key in ("people", "mean", "low", "high")), alone["accuracy"])
            for one in conditions
        ],
    )
    work = Table(
        "Answers",
        ("Condition", "People", "Answers", "Accepted", "No label", "Own confidence (1–5)", "Median seconds"),
        [
            (one["condition"], one["people"], one["answers"], one["accepted"], one["unknown"],
             one["own_confidence"]["mean"] if one["own_confidence"] else None, one["median_seconds"])
            for one in conditions
        ],
    )  # fmt: skip
    paired = any(one["paired"] for one in found["differences"])
    compared = Table(
        "Conditions compared: " + ("paired within people" if paired else "between people, Welch's interval"),
        ("First", "Second", "Where", "People", "First − second", "95 % from", "95 % to"),
        [
            (one["first"], one["second"], MEASURES[one["measure"]], one["n"], one["mean"], one["low"], one["high"])
            for one in found["differences"]
        ],
    )
    return [accuracies, together, reliance, *([compared] if compared.rows else []), described, work]
