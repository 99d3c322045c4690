"""The rows of a table of decisions under a reading of its columns: checked one by one, and held against each other.

A decision says whether a person accepted what an AI said. Whether the AI was right is told by its label beside the true
class, by a column, or by accepting beside being correct; where a row tells it in several ways they have to agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from annotation.exchange.decisions import Sheet
from annotation.exchange.decisions_cells import MOST_NUMBER, number
from annotation.exchange.decisions_columns import BY_NAME, LABEL, TIMES, Reading, Role, checked
from annotation.models import Participant
from annotation.models.studies import Phase
from mlcore.exchange.readers import Row
from mlcore.exchange.report import Problem


@dataclass(frozen=True)
class Shown:
    """What a trial is: one image under one condition, with what the AI said of it."""

    phase: str
    condition: str
    image: str
    label: str
    confidence: float | None
    ai_right: bool | None


@dataclass(frozen=True)
class Said:
    """One row: who answered what to which trial. `row` is its line in the file."""

    row: int
    person: str
    kind: str
    shown: Shown
    truth: str
    accepted: bool
    milliseconds: int | None
    place: int | None
    own_confidence: int | None

    @property
    def correct(self) -> bool | None:
        """Accepted a right answer or rejected a wrong one; None where nobody knows whether it was right."""
        return None if self.shown.ai_right is None else self.accepted == self.shown.ai_right


@dataclass(frozen=True)
class Cell:
    """What the rows of one condition come to, counted over its main trials whoever gave them."""

    condition: str
    people: int
    images: int
    answers: int
    accepted: int
    right: int  # the AI is right
    correct_right: int  # of them, the person was correct
    wrong: int
    correct_wrong: int

    @property
    def known(self) -> int:
        return self.right + self.wrong

    @property
    def correct(self) -> int:
        return self.correct_right + self.correct_wrong


@dataclass
class Decisions:
    """Everything that counts, and what was left out. `problems` name rows that cannot be taken, by line and column."""

    said: list[Said] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    repeated: int = 0
    contradicting: int = 0
    not_counting: int = 0
    percent: bool = False

    @property
    def people(self) -> int:
        return len({one.person for one in self.said})

    @property
    def images(self) -> int:
        return len({one.shown.image for one in self.said})

    @property
    def bad_rows(self) -> int:
        """How many rows have a problem."""
        return len({problem.row for problem in self.problems})

    @property
    def conditions(self) -> list[str]:
        return list(dict.fromkeys(one.shown.condition for one in self.said))

    @property
    def knows_right(self) -> bool:
        return any(one.shown.ai_right is not None for one in self.said)

    def cells(self) -> list[Cell]:
        """The counts of each condition, in the order of their first rows."""
        return [
            _cell(name, [one for one in self.said if one.shown.condition == name and one.shown.phase == Phase.MAIN])
            for name in self.conditions
        ]


def read_decisions(sheet: Sheet, reading: Reading) -> Decisions:
    """Every row as a decision, or as a problem. Raises ImportRefused where the reading itself does not hold."""
    checked(sheet, reading)
    reader = _Reader(sheet, reading)
    found = Decisions(problems=list(sheet.problems), percent=reader.percent)
    first: dict[tuple[str, Shown], bool] = {}
    rights: dict[tuple[str, str], tuple[bool, int]] = {}
    for row in sheet.rows:
        try:
            said = reader.decision(row)
            if said is None:
                found.not_counting += 1
                continue
            reader.agree(said, rights)
        except _BadRow as bad:
            found.problems.append(Problem(bad.sentence, sheet.name, row.number, bad.column))
            continue
        # The first answer of a person to a trial counts, as it was given first.
        known = first.setdefault((said.person, said.shown), said.accepted)
        if len(first) == len(found.said):
            found.repeated += 1
            found.contradicting += known != said.accepted
        else:
            found.said.append(said)
    found.problems.sort(key=lambda problem: problem.row or 0)
    return found


class _BadRow(Exception):
    def __init__(self, sentence: str, column: str) -> None:
        super().__init__(sentence)
        self.sentence, self.column = sentence + ".", column


class _Reader:
    """Reads one row after another."""

    def __init__(self, sheet: Sheet, reading: Reading) -> None:
        self.columns, self.reading = dict(reading.columns), reading
        self.percent = _in_percent(sheet, self.columns.get("confidence"))
        # What a picture shows may stand in some of its rows alone; it is known in all of them then.
        self.truths: dict[str, tuple[str, int]] = {}
        image, truth = self.columns["image"], self.columns.get("truth")
        for row in sheet.rows if truth else ():
            if row[image] and row[truth or ""]:
                self.truths.setdefault(row[image], (row[truth or ""], row.number))

    def decision(self, row: Row) -> Said | None:
        """None: a main trial that its source does not count. Raises _BadRow."""
        person, image = self._needed(row, "person"), self._needed(row, "image")
        condition = self._needed(row, "condition") if "condition" in self.columns else ""
        phase = self._value(row, "phase") or str(Phase.MAIN)
        if self._value(row, "counts") is False and phase == Phase.MAIN:
            return None
        label_column = self.reading.label_column(condition)
        label = (self._read(row, BY_NAME[LABEL], label_column) if label_column else None) or ""
        truth, known_from = self.truths.get(image, ("", 0))
        own = self._value(row, "truth")
        if own is not None and own != truth:
            raise _BadRow(f"“{image}” shows “{own}” here and “{truth}” in row {known_from}", self.columns["truth"])
        ai_right, accepted = self._decided(row, label, truth)
        return Said(
            row=row.number,
            person=person,
            kind=self._value(row, "kind") or str(Participant.Kind.IMPORTED),
            shown=Shown(phase, condition, image, label, self._confidence(row), ai_right),
            truth=truth,
            accepted=accepted,
            milliseconds=self._milliseconds(row),
            place=self._value(row, "trial"),
            own_confidence=self._value(row, "own_confidence"),
        )

    def agree(self, said: Said, rights: dict[tuple[str, str], tuple[bool, int]]) -> None:
        """A label is right about a picture, or wrong, in every row. Raises _BadRow."""
        shown = said.shown
        if not shown.label or shown.ai_right is None:
            return
        right, row = rights.setdefault((shown.image, shown.label), (shown.ai_right, said.row))
        if right != shown.ai_right:
            words = {True: "right", False: "wrong"}
            raise _BadRow(
                f"“{shown.label}” is {words[shown.ai_right]} for “{shown.image}” here and {words[right]} in row {row}",
                self.columns.get("ai_right") or self.columns["correct"],
            )

    def _decided(self, row: Row, label: str, truth: str) -> tuple[bool | None, bool]:
        """Whether the AI was right, and whether the person accepted it."""
        ai_right, accepted, correct = (self._value(row, name) for name in ("ai_right", "accepted", "correct"))
        if label and truth:
            if ai_right is not None and ai_right != (label == truth):
                told = "is right" if ai_right else "is wrong"
                raise _BadRow(
                    f"it says that the AI {told}, but the AI said “{label}” and the picture shows “{truth}”",
                    self.columns["ai_right"],
                )
            ai_right = label == truth
        if accepted is None and correct is None:
            role = "accepted" if "accepted" in self.columns else "correct"
            raise _BadRow("it is empty", self.columns[role])
        if accepted is not None and correct is not None:
            if ai_right is not None and correct != (accepted == ai_right):
                raise _BadRow(
                    f"the person {'accepted' if accepted else 'rejected'} what was {'right' if ai_right else 'wrong'}, "
                    f"and is called {'correct' if correct else 'wrong'}",
                    self.columns["correct"],
                )
            ai_right = accepted == correct if ai_right is None else ai_right
        if accepted is None:
            if ai_right is None:
                raise _BadRow("without knowing whether the AI was right it does not say what was answered",
                              self.columns["correct"])  # fmt: skip
            accepted = bool(correct) == ai_right
        return ai_right, bool(accepted)

    def _confidence(self, row: Row) -> float | None:
        value = self._value(row, "confidence")
        if value is None:
            return None
        share = value / 100 if self.percent else value
        if share > 1:
            raise _BadRow(f"“{row[self.columns['confidence']]}” is more than 100 %", self.columns["confidence"])
        return float(round(share, 6))

    def _milliseconds(self, row: Row) -> int | None:
        for name in TIMES:
            value = self._value(row, name)
            if value is not None:
                value *= 1 if name == "milliseconds" else 1000
                if value > MOST_NUMBER:
                    raise _BadRow(f"“{row[self.columns[name]]}” is longer than 24 days", self.columns[name])
                return round(value)
        return None

    def _needed(self, row: Row, name: str) -> str:
        value = self._value(row, name)
        if value is None:
            raise _BadRow("it is empty", self.columns[name])
        return str(value)

    def _value(self, row: Row, name: str) -> Any:
        """What the role's column says in this row; None where it is empty or there is none."""
        return self._read(row, BY_NAME[name], self.columns.get(name))

    def _read(self, row: Row, role: Role, column: str | None) -> Any:
        text = row[column] if column else ""
        if not text:
            return None
        try:
            return role.read(text)
        except ValueError as error:
            raise _BadRow(str(error), column or "") from error


def _in_percent(sheet: Sheet, column: str | None) -> bool:
    """Whether a column of confidence is in per cent: its name says so, or most values are such as no share can have."""
    if column is None:
        return False
    if "pct" in column.lower() or "percent" in column.lower() or "%" in column:
        return True
    values = sheet.values(column)
    return sum(text.endswith("%") or _number(text) > 1 for text in values) > len(values) / 2


def _number(text: str) -> float:
    try:
        return number(text)
    except ValueError:
        return 0.0


def _cell(name: str, rows: Iterable[Said]) -> Cell:
    listed = list(rows)
    right = [one for one in listed if one.shown.ai_right]
    wrong = [one for one in listed if one.shown.ai_right is False]
    return Cell(
        condition=name,
        people=len({one.person for one in listed}),
        images=len({one.shown.image for one in listed}),
        answers=len(listed),
        accepted=sum(one.accepted for one in listed),
        right=len(right),
        correct_right=sum(bool(one.correct) for one in right),
        wrong=len(wrong),
        correct_wrong=sum(bool(one.correct) for one in wrong),
    )
