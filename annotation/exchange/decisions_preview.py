"""How a table of decisions would come in: shown on a page and by a command before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from annotation.exchange.decisions import Sheet
from annotation.exchange.decisions_columns import LABEL, PREDICTED, ROLES, Reading, conditions_of
from annotation.exchange.decisions_rows import Cell, Decisions, Said
from mlcore.exchange.report import Problem

FIRST_ROWS = 8
EXAMPLES = 3
LONGEST = 36  # of an example
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
HEAD = (
    "Row", "Person", "Condition", "Image", "It shows", "The AI says", "Sure", "AI right", "Accepted", "Correct",
    "Seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One role, or the AI's label in one condition, and the column that is read for it (empty: none).

    `option` is what a form and the command call it.
    """

    option: str
    title: str
    help: str
    column: str
    examples: tuple[str, ...]
    needed: bool = False


@dataclass(frozen=True)
class CellLine:
    """The counts of one condition with shares over all its answers, whoever gave them; None where there are none."""

    condition: str
    people: int
    images: int
    answers: int
    accepted: float | None
    accuracy: float | None
    accuracy_right: float | None
    accuracy_wrong: float | None
    right: int
    wrong: int

    @property
    def words(self) -> str:
        """For a terminal."""
        shares = (self.accuracy, self.accuracy_right, self.accuracy_wrong)
        overall, right, wrong = ("–" if value is None else f"{100 * value:.2f} %" for value in shares)
        return (
            f"{self.people:,} people, {self.answers:,} answers, correct {overall} "
            f"(AI right {right} of {self.right:,}, AI wrong {wrong} of {self.wrong:,})"
        )


@dataclass(frozen=True)
class Preview:
    """Everything that is said of a file before it is imported."""

    file: str
    rows: int
    encoding: str
    separator: str
    lines: list[Line]
    unread: list[str]
    decisions: int
    people: int
    images: int
    cells: list[CellLine]
    head: tuple[str, ...]
    first: list[tuple[str, ...]]
    notes: list[str]
    problems: list[Problem]
    bad_rows: int

    @property
    def counts(self) -> str:
        """What comes in, in words."""
        return (
            f"{self.decisions:,} answers of {self.people:,} people about {self.images:,} images in "
            f"{len(self.cells):,} condition{'' if len(self.cells) == 1 else 's'}"
        )


def preview(sheet: Sheet, reading: Reading, found: Decisions | None) -> Preview:
    """What would come in; found None: the reading does not hold yet, and columns are all that can be shown."""
    said = found or Decisions()
    used = reading.used()
    return Preview(
        file=sheet.name,
        rows=len(sheet.rows),
        encoding=sheet.encoding,
        separator=SEPARATORS[sheet.delimiter],
        lines=lines(sheet, reading),
        unread=[column for column in sheet.columns if column not in used],
        decisions=len(said.said),
        people=said.people,
        images=said.images,
        cells=[_cell(cell) for cell in said.cells()],
        head=HEAD,
        first=[_row(one) for one in said.said[:FIRST_ROWS]],
        notes=_notes(sheet, said) if found is not None else [],
        problems=said.problems,
        bad_rows=said.bad_rows,
    )


def lines(sheet: Sheet, reading: Reading) -> list[Line]:
    """Every role in order; where the AI's label may stand in several columns, a line for each condition too."""
    found: list[Line] = []
    conditions = [name for name in conditions_of(sheet, reading.columns.get("condition")) if name]
    several = reading.labels or sum(bool(PREDICTED.search(column.lower())) for column in sheet.columns) > 1
    for role in ROLES:
        column = reading.columns.get(role.name, "")
        examples = _examples(sheet.values(column)) if column else ()
        found.append(Line(role.name, role.title, role.help, column, examples, role.needed))
        if role.name == LABEL and several:
            for name in conditions:
                own = reading.labels.get(name, "")
                told = [row[own] for row in sheet.rows if own and row[reading.columns["condition"]] == name]
                found.append(Line(f"{LABEL}:{name}", f"… in {name}", "", own, _examples(told)))
    return found


def _examples(values: Sequence[str]) -> tuple[str, ...]:
    different = list(dict.fromkeys(value for value in values if value))[:EXAMPLES]
    return tuple(value if len(value) <= LONGEST else value[: LONGEST - 1] + "…" for value in different)


def _cell(cell: Cell) -> CellLine:
    return CellLine(
        condition=cell.condition or "all answers",
        people=cell.people,
        images=cell.images,
        answers=cell.answers,
        accepted=_share(cell.accepted, cell.answers),
        accuracy=_share(cell.correct, cell.known),
        accuracy_right=_share(cell.correct_right, cell.right),
        accuracy_wrong=_share(cell.correct_wrong, cell.wrong),
        right=cell.right,
        wrong=cell.wrong,
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _row(one: Said) -> tuple[str, ...]:
    shown = one.shown
    return (
        str(one.row), one.person, shown.condition or "–", shown.image, one.truth or "–", shown.label or "–",
        "–" if shown.confidence is None else f"{100 * shown.confidence:.0f}\u00a0%",
        _words(shown.ai_right), _words(one.accepted), _words(one.correct),
        "–" if one.milliseconds is None else f"{one.milliseconds / 1000:.1f}",
    )  # fmt: skip


def _words(value: bool | None) -> str:
    return "–" if value is None else "yes" if value else "no"


def _notes(sheet: Sheet, found: Decisions) -> list[str]:
    """What is worth knowing although nothing is wrong with it."""
    said: list[str] = []
    if sheet.encoding == "Windows-1252":
        said.append("The file is not UTF-8; its letters are read as Windows-1252. Look at names with accents below.")
    if found.said and not found.knows_right:
        said.append("Nothing tells whether the AI was right, so there is no accuracy; only how often people accepted.")
    if found.repeated:
        said.append(
            f"{found.repeated:,} rows repeat an answer of the same person to the same trial; the first counts "
            f"({found.contradicting:,} say something else)."
        )
    if found.not_counting:
        said.append(f"{found.not_counting:,} main trials that their source does not count are left out.")
    phases = phases_of(found.said)
    if len(phases) > 1:
        said.append("Only main trials enter figures: " + ", ".join(f"{n:,} {phase}" for phase, n in phases) + ".")
    return said


def phases_of(said: Sequence[Said]) -> list[tuple[str, int]]:
    """How many decisions each phase has, in the order of their first rows."""
    counts: dict[str, int] = {}
    for one in said:
        counts[one.shown.phase] = counts.get(one.shown.phase, 0) + 1
    return list(counts.items())
