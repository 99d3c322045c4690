"""Answers of a team study as rows for exports, in constant memory."""

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet

from annotation.exchange.rows import pieces
from annotation.models import Answer, Stimulus, Study, Trial
from annotation.statistics.team_table import ACCEPT, CONFIDENCE, classifier_of, right_of, said_in
from annotation.team_ai import ais_of


def team(answers: "QuerySet[Answer]") -> Iterator[dict[str, Any]]:
    """One row an answer: what the AI said, whether it was right, and what the person said to it."""
    classifiers: dict[int, str | None] = {}
    whose: dict[int, dict[str, str]] = {}
    for piece in pieces(answers):
        trials = {common["_trial"] for common in piece.values()}
        shown = {
            trial: (payload, method)
            for trial, payload, method in Stimulus.objects.filter(trial__in=trials, explanation__isnull=False)
            .order_by("slot")
            .values_list("trial", "explanation__payload", "explanation__set__method")
        }
        facts = {
            row[0]: row[1:]
            for row in Trial.objects.filter(pk__in=trials).values_list("pk", "study", "image", "context", "arm__name")
        }
        right = _right(facts)
        for study in {fact[0] for fact in facts.values()} - set(classifiers):
            row_of_study = Study.objects.get(pk=study)
            found = classifier_of(row_of_study)
            classifiers[study] = str(found.uuid) if found else None
            ais = ais_of(row_of_study)
            whose[study] = {name: ai.speaker.method if ai.speaker else "head" for name, ai in ais.items()}
        said = said_in(list(piece))
        for answer, common in piece.items():
            if ACCEPT not in said[answer]:
                continue
            trial = common["_trial"]
            study, _, context, arm = facts[trial]
            accepted, ai_right = bool(said[answer][ACCEPT]), right.get(trial)
            confidence = said[answer].get(CONFIDENCE)
            payload, method = shown.get(trial, ("none", None))
            row = {key: value for key, value in common.items() if not key.startswith("_")}
            yield row | {
                "condition": arm,
                "ai_label": context.get("class_name"),
                "ai": whose[study].get(arm or ""),
                "ai_confidence": context.get("confidence"),
                "ai_right": ai_right,
                "accepted": accepted,
                "correct": None if ai_right is None else accepted == ai_right,
                "own_confidence": None if confidence is None else int(confidence),
                "explanation": "alone" if context.get("alone") else payload,
                "method": method,
                "classifier": classifiers[study],
            }


def _right(facts: dict[int, tuple]) -> dict[int, bool]:
    """Trial → whether the AI is right, study by study."""
    found: dict[int, bool] = {}
    for study in {fact[0] for fact in facts.values()}:
        said = [(trial, fact[1], fact[2].get("class_name")) for trial, fact in facts.items() if fact[0] == study]
        found |= right_of(Study.objects.select_related("image_set").get(pk=study), said)
    return found
