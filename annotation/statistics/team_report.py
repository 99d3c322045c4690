"""The analysis of a team study as one dictionary of plain values: what its page, its files and its command print.

A worker makes it: beside the figures of the study's page it holds the two other ways of asking (definitions §8), a
two-way bootstrap over people and images and a crossed mixed model, which load large libraries.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from django.db.models import Count

from annotation.models import Assignment, Participant, Study
from annotation.models.studies import Phase
from annotation.statistics import table, team_table
from annotation.statistics.alignment import bootstrap, mixed
from annotation.statistics.alignment.rows import rows_of
from annotation.statistics.team import figures_of
from annotation.statistics.team_table import Decision
from annotation.statistics.team_words import sentences

VERSION = 1
_KEPT = ("condition", "people", "answers", "accuracy", "team", "over_reliance", "under_reliance")


def report(study: Study, kinds: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of these answers (docs/team.md says what each is).

    kinds: whose answers. options: `without`, pseudonyms who are left out in a second look; where none are named and the
    study has attention checks, it leaves out whoever missed more of them than the plan allows.
    """
    decisions = list(team_table.decisions(study, kinds))
    found = figures_of(study, kinds, decisions)
    drawing = {"draws": int(options.get("draws", bootstrap.DRAWS)), "seed": int(options.get("seed", 0))}
    by_condition: dict[str, list[Decision]] = defaultdict(list)
    for one in decisions:
        by_condition[one.condition].append(one)
    for one in found["conditions"]:
        one["beside"] = _beside(by_condition[one["condition"]], drawing)
    named = [str(name) for name in options.get("without", ())]
    left_out = named or failed_checks(study, kinds)
    result = {
        "version": VERSION,
        "study": study.version.title,
        **found,
        "images": len({one.image for one in decisions}),
        "persons": _persons(study, decisions),
        "without": _without(study, kinds, left_out, "named" if named else "checks") if left_out else None,
    }
    return result | {"text": sentences(result)}


def failed_checks(study: Study, kinds: Sequence[str]) -> list[str]:
    """Pseudonyms of those who missed more attention checks than the plan allows: the rule was published with it."""
    allowed = int((study.version.plan or {}).get("checks", {}).get("allowed_misses", 1))
    missed = (
        Assignment.objects.filter(
            trial__study=study, trial__phase=Phase.CHECK, state=Assignment.State.ANSWERED, answer__correct=False,
            participant__kind__in=table.checked_kinds(kinds),
        )
        .order_by()
        .values_list("participant__pseudonym")
        .annotate(n=Count("pk"))
        .filter(n__gt=allowed)
    )  # fmt: skip
    return sorted(name for name, _ in missed)


def _beside(decisions: Sequence[Decision], drawing: Mapping[str, int]) -> dict[str, Any]:
    """Two-way bootstrap of the accuracy, and the log-odds of a correct decision by the mixed model."""
    said = [(one.person, one.image, "", 1 if one.correct else -1) for one in decisions if one.correct is not None]
    if not said:
        return {"bootstrap": {"reason": "Nobody has answered."}, "mixed_model": {"reason": "Nobody has answered."}}
    rows = rows_of(said)
    drawn = bootstrap.interval(rows, **drawing)
    if "low" in drawn:  # from −1 … 1 to a share
        drawn |= {"low": (1 + drawn["low"]) / 2, "high": (1 + drawn["high"]) / 2}
    fitted = mixed.summary(rows)
    if "reason" in fitted and "never preferred" in fitted["reason"]:
        fitted = {"reason": "All decisions were correct, or none: the log-odds has no bound."}
    return {"bootstrap": drawn, "mixed_model": fitted}


def _persons(study: Study, decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """Each person in each condition, by pseudonym."""
    known = {
        pk: (name, kind)
        for pk, name, kind in Participant.objects.filter(study=study).values_list("pk", "pseudonym", "kind")
    }
    own: dict[tuple[str, int], list[Decision]] = defaultdict(list)
    for one in decisions:
        own[one.condition, one.person].append(one)
    found = []
    for (condition, person), rows in own.items():
        times = [one.milliseconds for one in rows if one.milliseconds is not None]
        name, kind = known[person]
        found.append(
            {
                "condition": condition, "person": name, "kind": kind, "answers": len(rows),
                "overall": _share([one for one in rows if one.correct is not None]),
                "ai_right": _share([one for one in rows if one.ai_right is True]),
                "ai_wrong": _share([one for one in rows if one.ai_right is False]),
                "accepted": fmean(one.accepted for one in rows),
                "median_seconds": median(times) / 1000 if times else None,
            }
        )  # fmt: skip
    return sorted(found, key=lambda one: (one["condition"], one["person"]))


def _share(rows: Sequence[Decision]) -> float | None:
    return fmean(bool(one.correct) for one in rows) if rows else None


def _without(study: Study, kinds: Sequence[str], left_out: Sequence[str], rule: str) -> dict[str, Any]:
    """The conditions and their differences as if these people had not answered."""
    rest = figures_of(study, kinds, list(team_table.decisions(study, kinds, left_out)))
    return {
        "people": sorted(left_out),
        "rule": rule,
        "conditions": [{key: one[key] for key in _KEPT} for one in rest["conditions"]],
        "differences": rest["differences"],
    }
