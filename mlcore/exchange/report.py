"""What an import says at its end: what came in, what stayed out and why, what was changed on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mlcore.models import ImageSet

# progress(done, total): called after each file, so a caller may draw a bar; it must be quick.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Problem:
    """One sentence about one place. `row` is the line in the table (the header is line 1)."""

    sentence: str
    file: str = ""
    row: int | None = None
    field: str = ""

    def __str__(self) -> str:
        place = ", ".join(
            part
            for part in (self.file, f"row {self.row}" if self.row else "", f"column {self.field}" if self.field else "")
            if part
        )
        return f"{place}: {self.sentence}" if place else self.sentence


class ImportRefused(Exception):
    """Nothing could be imported at all. `sentence` says why, `problems` name the files that were tried."""

    def __init__(self, sentence: str, problems: list[Problem] | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.problems = problems or []


@dataclass
class ImportReport:
    """The outcome of one import.

    `problems` name what was left out; `notes` name what came in but not as it was (re-encoded, cut at the edge).
    `splits` maps an image's name to the part that the source gave it, for `partition_from_splits`.
    """

    image_set: ImageSet
    added: int = 0
    already: int = 0
    masks: int = 0
    boxes: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    splits: dict[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether the import wrote anything."""
        return bool(self.added or self.masks or self.boxes)

    def sentence(self) -> str:
        """The counts in words."""
        said = [f"{self.added} image{'' if self.added == 1 else 's'} added"]
        if self.already:
            said.append(f"{self.already} already there")
        if self.masks:
            said.append(f"{self.masks} mask{'' if self.masks == 1 else 's'}")
        if self.boxes:
            said.append(f"{self.boxes} box{'' if self.boxes == 1 else 'es'}")
        if self.problems:
            said.append(f"{len(self.problems)} problem{'' if len(self.problems) == 1 else 's'}")
        return f"{self.image_set.name}: {', '.join(said)}."
