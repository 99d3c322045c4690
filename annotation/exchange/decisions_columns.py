"""What the columns of a table of decisions may mean, and how one table is read.

A role is what a study needs to know of a decision. Published tables name their columns differently, so each role knows
the usual names (annotation.exchange.decisions_guess). The class that the AI named may
stand in a column of its own for each condition, since methods that are compared are AIs with answers of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from annotation.exchange import decisions_cells as cells
from annotation.exchange.decisions import Sheet
from mlcore.exchange.report import ImportRefused

MOST_CONDITIONS = 60
LABEL = "label"
PREDICTED = re.compile(r"^(ai_?)?(label|pred)|^(model|machine|classifier)_?(label|pred)")


@dataclass(frozen=True)
class Role:
    """One thing that a column may say. `names`: how such columns are usually called, the likeliest first."""

    name: str
    title: str
    help: str
    names: tuple[str, ...]
    read: Callable[[str], Any]
    needed: bool = False
    like: re.Pattern[str] | None = None


ROLES = (
    Role(
        "person", "Person", "Whose decision it is. Only a pseudonym is kept.",
        ("participant", "participant_id", "person", "subject", "subject_id", "worker_id", "worker", "user_id", "user",
         "annotator", "rater", "respondent", "prolific_pid", "pid"),
        cells.name, needed=True,
    ),
    Role(
        "image", "Image", "The file's name, or what else the picture is called.",
        ("image_name", "filename", "file_name", "query", "query_image", "image", "picture", "photo", "file",
         "stimulus"),
        cells.image_name, needed=True,
    ),
    Role(
        "condition", "Method or condition", "What was shown. Each is counted by itself; empty: there is one.",
        ("condition", "method", "arm", "task", "explanation", "explanation_type", "treatment", "interface", "group"),
        cells.condition,
    ),
    Role(
        LABEL, "The AI’s label", "The class that the AI named.",
        ("ai_label", "ai_prediction", "predicted", "prediction", "pred", "predicted_class", "model_label"),
        cells.name, like=PREDICTED,
    ),
    Role(
        "confidence", "The AI’s confidence", "From 0 to 1, or in per cent.",
        ("ai_confidence", "ai_confidence_pct", "ai_confidence_percent", "model_confidence", "confidence",
         "confidence_score", "probability", "certainty"),
        cells.number,
    ),
    Role(
        "truth", "What the picture shows", "The true class, written as the AI’s label is.",
        ("ground_truth", "truth", "true_label", "gt", "gt_label", "gt_wnid", "true_class", "correct_label", "label",
         "class"),
        cells.name,
    ),
    Role(
        "ai_right", "The AI is right", "Yes or no, 1 or 0.",
        ("ai_correct", "ai_right", "ai_is_correct", "model_correct", "prediction_correct", "right_answer"),
        cells.truth,
    ),
    Role(
        "accepted", "The person accepted", "Whether the person said that the AI is right: yes or no, 1 or 0.",
        ("accepted", "user_accepts", "accepts_ai_label", "accept", "accepts", "decision", "response", "answer",
         "agree"),
        cells.truth,
    ),
    Role(
        "correct", "The person was correct", "Accepted a right label or rejected a wrong one: yes or no, 1 or 0.",
        ("user_correct", "correct", "is_correct", "human_correct", "answer_correct", "participant_correct"),
        cells.truth,
    ),
    Role(
        "trial", "Number of the trial", "The person’s how-manieth, from 1; empty: the order of the rows.",
        ("trial_number", "trial_index", "trial", "place", "question_number"), cells.count,
    ),
    Role(
        "milliseconds", "Time in milliseconds", "Until the answer was sent.",
        ("duration_ms", "reaction_ms", "response_ms", "time_ms", "rt_ms", "milliseconds", "rt", "reaction_time",
         "response_time", "duration", "time"),
        cells.time,
    ),
    Role(
        "seconds", "Time in seconds", "Until the answer was sent.",
        ("seconds", "duration_s", "time_s", "rt_s", "duration_seconds", "time_seconds", "reaction_time",
         "response_time", "rt", "duration", "time"),
        cells.time,
    ),
    Role(
        "phase", "Phase", "Only main trials (test) enter figures: practice, qualification (validation), main, check.",
        ("phase", "stage"), cells.phase,
    ),
    Role(
        "own_confidence", "How sure the person was", "From 1 to 5.",
        ("own_confidence", "user_confidence", "human_confidence", "participant_confidence"), cells.sure,
    ),
    Role(
        "kind", "Kind of person", "Simulated people stay simulated; all others are imported.",
        ("participant_kind",), cells.kind,
    ),
    Role("counts", "Counts", "Main trials that do not count are left out.", ("counts",), cells.truth),
)  # fmt: skip
BY_NAME = {role.name: role for role in ROLES}
TIMES = ("milliseconds", "seconds")


@dataclass(frozen=True)
class Reading:
    """How a table is read: role → column; and condition → column of the AI's label, where conditions have their own."""

    columns: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)

    def written(self) -> dict[str, Any]:
        """How a study keeps it, so that the same file is read the same way again."""
        return {"columns": dict(sorted(self.columns.items())), "labels": dict(sorted(self.labels.items()))}

    def label_column(self, condition: str) -> str | None:
        """Where the AI's label of this condition stands; None where nothing says it."""
        return self.labels.get(condition) or self.columns.get(LABEL)

    def used(self) -> set[str]:
        """Every column that is read."""
        return {*self.columns.values(), *self.labels.values()}


def changed(sheet: Sheet, reading: Reading, wanted: Mapping[str, str]) -> Reading:
    """The reading with these changes: role → column, `label:CONDITION` → column, an empty column → not read.

    Raises ImportRefused for a role or a column that does not exist, or a role of conditions that are not there.
    """
    columns, labels = dict(reading.columns), dict(reading.labels)
    for key, column in wanted.items():
        role, _, condition = key.partition(":")
        if role not in BY_NAME or (condition and role != LABEL):
            raise ImportRefused(f"There is no “{key}” to read. Known: {', '.join(BY_NAME)}, label:CONDITION.")
        if column and column not in sheet.columns:
            raise ImportRefused(f"{sheet.name}: there is no column “{column}”. There are: {', '.join(sheet.columns)}.")
        target, place = (labels, condition) if condition else (columns, role)
        if column:
            target[place] = column
        else:
            target.pop(place, None)
        if role == LABEL and not condition:
            labels = {}  # one column for all, or none at all
    known = set(conditions_of(sheet, columns.get("condition")))
    stranger = next((condition for condition in labels if condition not in known), None)
    if stranger is not None and any(key == f"{LABEL}:{stranger}" for key in wanted):
        raise ImportRefused(f"No row is of the condition “{stranger}”. There are: {', '.join(sorted(known)[:12])}.")
    return Reading(columns, {condition: column for condition, column in labels.items() if condition in known})


def conditions_of(sheet: Sheet, column: str | None) -> list[str]:
    """The different values of the column of conditions, in the order of their first rows; [""] without one."""
    return list(dict.fromkeys(sheet.values(column))) if column else [""]


def checked(sheet: Sheet, reading: Reading) -> None:
    """Raises ImportRefused where what a study needs is not read, or read twice."""
    missing = [role.title.lower() for role in ROLES if role.needed and role.name not in reading.columns]
    if missing:
        raise ImportRefused(f"Say which column holds the {' and the '.join(missing)}.")
    if not {"accepted", "correct"} & set(reading.columns):
        raise ImportRefused("Say which column holds whether the person accepted, or whether the person was correct.")
    if set(TIMES) <= set(reading.columns):
        raise ImportRefused("A time is read in seconds or in milliseconds, not both.")
    twice = [column for column in reading.columns.values() if list(reading.columns.values()).count(column) > 1]
    if twice:
        raise ImportRefused(f"The column “{twice[0]}” is read as two things.")
    conditions = len(conditions_of(sheet, reading.columns.get("condition")))
    if conditions > MOST_CONDITIONS:
        raise ImportRefused(
            f"The column “{reading.columns['condition']}” has {conditions} different values, too many for conditions; "
            f"at most {MOST_CONDITIONS} are taken."
        )
