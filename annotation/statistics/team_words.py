"""What the figures of a team study say, in sentences; whose figures they are stands in every one that has a number."""

from collections.abc import Mapping
from typing import Any

LEVEL = 0.05
_WHERE = {"overall": "", "ai_right": " where the AI is right", "ai_wrong": " where the AI is wrong"}


def who(people: Mapping[str, int]) -> str:
    """“5 people”, “1 simulated person”; of several kinds “6 people (5 human, 1 simulated)”. people: number by kind."""
    if not people:
        return "nobody"
    if len(people) == 1:
        ((kind, number),) = people.items()
        return f"{number} {'' if kind == 'human' else f'{kind} '}{'person' if number == 1 else 'people'}"
    return f"{sum(people.values())} people ({', '.join(f'{number} {kind}' for kind, number in people.items())})"


def percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %".replace("-", "−")


def points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def sentences(report: Mapping[str, Any]) -> list[str]:
    """The conditions' accuracies; the teams against the AI alone and people alone; the declared comparisons."""
    if not report["answers"]:
        return ["Nobody has answered yet."]
    told = [f"{who(report['people'])[:1].upper()}{who(report['people'])[1:]} gave {report['answers']} answers."]
    kinds = list(report["people"])
    told += [_condition(one, kinds) for one in report["conditions"] if one["accuracy"]["overall"]["mean"] is not None]
    told += [said for one in report["conditions"] if (said := _team(one))]
    told += _compared(report)
    return told


def _condition(one: Mapping[str, Any], kinds: list[str]) -> str:
    accuracy = one["accuracy"]
    overall = accuracy["overall"]
    people = who({kinds[0]: overall["people"]}) if len(kinds) == 1 else f"{overall['people']} people"
    said = f"{one['condition']}: {percent(overall['mean'])} of the decisions are correct"
    only = "; these people only" if overall["these_people_only"] else ""
    if overall["low"] is not None:
        said += (
            f" (95 % interval {percent(overall['low'])} to {percent(overall['high'])}, Student’s t over {people}{only})"
        )
    else:
        said += f" ({people}{only})"
    named = "the name" if one["alone"] else "the AI"
    return (
        f"{said}; {percent(accuracy['ai_right']['mean'])} where {named} is right, "
        f"{percent(accuracy['ai_wrong']['mean'])} where it is wrong."
    )


def _team(one: Mapping[str, Any]) -> str:
    ai, team = one["ai"], one["team"]
    if ai is None or ai["accuracy"] is None or team["mean"] is None or one["alone"]:
        return ""
    said = (
        f"{one['condition']}: weighed with how often {ai['title']} is right ({percent(ai['accuracy'])} of "
        f"{ai['images']} images), the team decides correctly in {percent(team['mean'])}, "
        f"{points(team['mean'] - ai['accuracy'])} points against the AI alone"
    )
    if team["low"] is not None:
        low, high = team["low"] - ai["accuracy"], team["high"] - ai["accuracy"]
        said += f" (95 % interval {points(low)} to {points(high)})"
    decides = ai["decides"]
    if not decides["reason"] and decides["team"] is not None:
        said += (
            f"; an AI that accepts from a confidence of {decides['threshold']:.2f}, fixed on "
            f"{decides['outside']['images']} other images, reaches {percent(decides['team'])}"
        )
    return f"{said}."


def _compared(report: Mapping[str, Any]) -> list[str]:
    # A test that could not be made was declared all the same, and is paid for.
    tested = [one for one in report["differences"] if one["measure"] in _WHERE]
    if not tested:
        return []
    clear = [one for one in tested if one["p_holm"] is not None and one["p_holm"] < LEVEL]
    if not clear:
        return [f"None of the {len(tested)} declared comparisons is clear after Holm’s correction."]
    named = [
        f"“{one['first']}” {points(one['mean'])} points against “{one['second']}”{_WHERE[one['measure']]} "
        f"(p = {one['p_holm']:.3f})"
        for one in clear
    ]
    return [f"After Holm’s correction over {len(tested)} declared comparisons: {'; '.join(named)}."]
