"""Answers of a preference study as rows for exports, in constant memory."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet

from annotation.exchange.rows import pieces
from annotation.models import Answer, Judgement, Stimulus


def preference(answers: "QuerySet[Answer]") -> Iterator[dict[str, Any]]:
    """One row an answer, by condition and by side."""
    for piece in pieces(answers):
        shown: dict[int, dict[int, dict[str, Any]]] = defaultdict(dict)
        rows = Stimulus.objects.filter(trial__in={common["_trial"] for common in piece.values()})
        for trial, slot, condition, method, classifier in rows.values_list(
            "trial", "slot", "condition", "explanation__set__method", "explanation__set__classifier__uuid"
        ):
            shown[trial][slot] = {"condition": condition, "method": method, "classifier": classifier}
        said = {
            answer: (slot, number)
            for answer, slot, number in Judgement.objects.filter(answer__in=list(piece)).values_list(
                "answer", "stimulus__slot", "number"
            )
        }
        for answer, common in piece.items():
            if answer in said:
                yield _row(common, shown[common["_trial"]], *said[answer])


def _row(
    common: dict[str, Any], shown: dict[int, dict[str, Any]], chosen: int | None, number: float | None
) -> dict[str, Any]:
    if number:
        chosen = 1 if number > 0 else 0
    first, second = shown[0], shown[1]
    # Imported answers may come without the sides that the person saw.
    order = common["_order"]
    left, right = (shown[slot]["condition"] for slot in order) if order else (None, None)
    names = common["_class_names"]
    row = {key: value for key, value in common.items() if not key.startswith("_")}
    if row["shown_class"] is None and names:
        row["shown_class"] = " / ".join(dict.fromkeys(names))
    return row | {
        "first": first["condition"],
        "second": second["condition"],
        "left": left,
        "right": right,
        "chosen": None if chosen is None else shown[chosen]["condition"],
        "side": "neither" if chosen is None else ("left", "right")[order.index(chosen)] if order else None,
        "neither": chosen is None,
        "preference": None if number is None else int(number),
        "first_classifier": first["classifier"] and str(first["classifier"]),
        "second_classifier": second["classifier"] and str(second["classifier"]),
        "first_method": first["method"],
        "second_method": second["method"],
    }
