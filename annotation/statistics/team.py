"""Figures of a team study (definitions §6, §8): how well people and a classifier decide together.

The classifier says a class; a person accepts or rejects it. A decision is correct where a right answer was accepted or
a wrong one rejected. Every share is the mean over people of their own shares, with Student's t interval over people;
the share over all answers stands beside it with Wilson's interval, as a description of these answers only.

Team accuracy weighs the two accuracies with p, how often the AI of the condition is right in the population, and never
with how often it happens to be right in the trials. Conditions may have different AIs: a classifier's head and its
matchers. People alone decide about the same names without an AI; their p is that of whoever said the names.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from statistics import fmean, median
from typing import Any

from annotation.models import Study
from annotation.models.studies import Phase
from annotation.statistics import table, team_table
from annotation.statistics.alignment.holm import holm
from annotation.statistics.intervals import Interval, t_mean, t_p, welch, welch_p, wilson
from annotation.statistics.team_alone import ai_alone
from annotation.statistics.team_table import ONE_CONDITION, Decision
from annotation.team_ai import AI, ais_of, answers_of
from annotation.team_names import alone_in

FEW_PEOPLE = 5
MEASURES = {
    "overall": "Accuracy",
    "ai_right": "Accuracy where the AI is right",
    "ai_wrong": "Accuracy where the AI is wrong",
}
TEAM = "team"
ALL_MEASURES = {**MEASURES, TEAM: "Team accuracy"}


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
    return _over_people(t_mean(list(own_teams(decisions, p).values())))


def own_teams(decisions: Sequence[Decision], p: float | None) -> dict[int, float]:
    """Person → p · own accuracy where the AI is right + (1 − p) · where it is wrong, of those who met both."""
    if p is None:
        return {}
    right, wrong = own_shares(decisions, "ai_right"), own_shares(decisions, "ai_wrong")
    return {person: p * right[person] + (1 - p) * wrong[person] for person in right if person in wrong}


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
    own_times: dict[int, list[int]] = defaultdict(list)
    for one in decisions:
        if one.milliseconds is not None:
            own_times[one.person].append(one.milliseconds)
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
        "seconds": _over_people(t_mean([median(values) / 1000 for values in own_times.values()])),
    }


# --- conditions compared --------------------------------------------------------------------------------------


def differences(
    by_condition: Mapping[str, Sequence[Decision]],
    *,
    paired: bool,
    p: Mapping[str, float | None] | None = None,
    compared: str = "pairs",
) -> list[dict[str, Any]]:
    """Accuracy of one condition minus another's for every measure, of every pair, or of each with the first one.

    paired: within people, over those who met both; otherwise Welch's interval between different people. p: how often
    each condition's AI is right; with it team accuracies are compared too. `p_holm` corrects the p values of the three
    accuracies of all these pairs together; a team accuracy is made of two of them and has an interval alone.
    """
    names = list(by_condition)
    pairs = list(combinations(names, 2)) if compared == "pairs" else [(name, names[0]) for name in names[1:]]
    found = []
    for first, second in pairs:
        for measure in MEASURES if p is None else ALL_MEASURES:
            one, other = (_own(by_condition[name], measure, (p or {}).get(name)) for name in (first, second))
            if paired:
                gaps = [one[person] - other[person] for person in one if person in other]
                interval, tested = t_mean(gaps), t_p(gaps)
            else:
                interval = welch(list(one.values()), list(other.values()))
                tested = welch_p(list(one.values()), list(other.values()))
            few = interval.n < FEW_PEOPLE if paired else min(len(one), len(other)) < FEW_PEOPLE
            found.append(
                {"first": first, "second": second, "measure": measure, "paired": paired, **asdict(interval)}
                | {"these_people_only": few, "p": None if measure == TEAM else tested, "p_holm": None}
            )
    with_p = [row for row in found if row["measure"] != TEAM]
    for row, adjusted in zip(with_p, holm([row["p"] for row in with_p]), strict=True):
        row["p_holm"] = adjusted
    return found


def _own(decisions: Sequence[Decision], measure: str, p: float | None) -> dict[int, float]:
    return own_teams(decisions, p) if measure == TEAM else own_shares(decisions, measure)


def summaries(
    decisions: Iterable[Decision],
    conditions: Sequence[str],
    *,
    p: Mapping[str, float | None],
    paired: bool,
    compared: str = "pairs",
) -> dict[str, Any]:
    """Every condition, in this order, and their differences. p: how often the AI of each condition is right."""
    by_condition: dict[str, list[Decision]] = {name: [] for name in conditions}
    for one in decisions:
        by_condition[one.condition].append(one)
    return {
        "conditions": [{"condition": name, **summary(rows, p.get(name))} for name, rows in by_condition.items()],
        "differences": differences(by_condition, paired=paired, p=p, compared=compared),
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


def figures(study: Study, kinds: Sequence[str], without: Sequence[str] = ()) -> dict[str, Any]:
    """All figures of a study, of the people of these kinds, ready for JSON. without: pseudonyms who are left out."""
    return figures_of(study, kinds, list(team_table.decisions(study, kinds, without)))


def figures_of(study: Study, kinds: Sequence[str], decisions: Sequence[Decision]) -> dict[str, Any]:
    """The same of decisions that were read already."""
    ais = ais_of(study, unnamed=ONE_CONDITION)
    without_ai = alone_in(study)
    by_ai = {ai.key: found for ai, found in _each_alone(study, ais)}
    names = team_table.condition_names(study)
    own = {name: by_ai[ais[name].key] for name in names if name in ais}
    found = summaries(
        decisions, names,
        p={name: one["accuracy"] for name, one in own.items()},
        paired=study.conditions != Study.Conditions.BETWEEN,
        compared=declared(study),
    )  # fmt: skip
    for one in found["conditions"]:
        one["alone"] = one["condition"] in without_ai
        one["ai"] = own.get(one["condition"])
        one["sentence"] = sentence(one)
    milliseconds = table.median_milliseconds([study], kinds)
    classifier = team_table.classifier_of(study)
    return {
        "kinds": list(kinds),
        "people": table.people([study], kinds),
        "answers": sum(one["answers"] for one in found["conditions"]),
        "median_seconds": None if milliseconds is None else milliseconds / 1000,
        "classifier": None if classifier is None else str(classifier.uuid),
        "ais": list(by_ai.values()),
        "compared": declared(study),
        **found,
    }


def declared(study: Study) -> str:
    """Which comparisons the study had declared when it was published; of a draft, what it says now."""
    versions = study.versions.order_by("-number")
    if study.published is not None:
        versions = versions.filter(created__lte=study.published)
    version = versions.first() or study.version
    return str(version.settings.get("compared", "pairs"))


def _each_alone(study: Study, ais: Mapping[str, AI]) -> Iterable[tuple[AI, dict[str, Any]]]:
    """Each AI of the study once, with its conditions and what it reaches alone."""
    trials = list(study.trials.order_by().values_list("phase", "arm__name", "image"))
    used = {image for _, _, image in trials}
    several: dict[tuple[int, int], list[str]] = defaultdict(list)
    for name, ai in ais.items():
        several[ai.key].append(name)
    for names in several.values():
        ai = ais[names[0]]
        arms = {None if name == ONE_CONDITION else name for name in names} | {ONE_CONDITION} & set(names)
        shown = {image for phase, arm, image in trials if phase == Phase.MAIN and arm in arms}
        yield (
            ai,
            {
                "title": ai.title,
                "conditions": names,
                **ai_alone(answers_of(ai, study.image_set), shown, used),
            },
        )
