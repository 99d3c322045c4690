"""What every kind of study is: its words and settings, its trials, its page, its answers and its figures."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from annotation.drawings import Drawing
from annotation.errors import StudyRefused
from mlcore.catalogue.fields import Field, RecipeError, clean_fields

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from annotation.models import Answer, Assignment, Study, Trial
    from annotation.studies.trials import Built, Group
    from mlcore.models import Image

HUMAN_ONLY: tuple[str, ...] = ("human",)


@dataclass(frozen=True)
class Cleaned:
    """A checked answer: `payload` is JSON as it is kept, `drawing` the decoded picture that came with it."""

    payload: dict[str, Any]
    drawing: Drawing | None = None


@dataclass(frozen=True)
class Grade:
    """An answer held against the trial's gold. `right` is None where the gold says nothing about it.

    `sentence` is what a practice trial tells the person, in their language.
    """

    right: bool | None
    sentence: str


@dataclass(frozen=True)
class Column:
    """One column of an export, with its line in the codebook."""

    name: str
    meaning: str
    values: str = ""


@dataclass(frozen=True)
class Table:
    """Figures as a table that a page shows and an export writes."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]] = field(default_factory=list)


class Kind:
    """One kind of study. A subclass and a template are all that a new kind needs."""

    name: str
    title: str
    summary: str
    task: str
    template: str
    takes_drawing = False
    # How many explanations one trial shows, and of which payloads.
    maps_at_least = 0
    maps_at_most = 4
    payloads: tuple[str, ...] = ("map",)
    # How conditions can meet people (Study.Conditions), the first one by default.
    condition_modes: tuple[str, ...] = ("together",)
    # Whether a condition may show no explanation at all, and whether one may say nothing of an AI.
    none_condition = False
    alone_condition = False
    fields: tuple[Field, ...] = ()
    # What a right answer is, for practice, qualification and check trials; empty: this kind is not graded by hand.
    gold_fields: tuple[Field, ...] = ()
    columns: tuple[Column, ...] = ()

    def default_settings(self) -> dict[str, Any]:
        return {item.name: item.default for item in self.fields}

    def clean_settings(self, values: Mapping[str, Any] | None) -> dict[str, Any]:
        """Every setting with its value or default. Raises StudyRefused naming what is wrong."""
        try:
            return clean_fields(self.fields, values or {})
        except RecipeError as error:
            sentences = [f"{name}: {sentence}" for name, sentence in error.errors.items()]
            raise StudyRefused("These settings do not fit. " + " ".join(sentences)) from error

    def usual_task(self, groups: "Sequence[Group]") -> str:
        """The task in one line where the researcher wrote none."""
        return self.task

    @property
    def usual_tasks(self) -> tuple[str, ...]:
        """Every such line, which readers of another language read in theirs."""
        return (self.task,)

    def problems(self, study: "Study") -> list[str]:
        """What keeps a draft of this kind from going live, a sentence each."""
        return []

    def check_sets(self, groups: "Sequence[Group]", settings: Mapping[str, Any]) -> None:
        """Whether these explanations can be shown together under these settings. Raises StudyRefused."""

    def build_trials(
        self,
        study: "Study",
        *,
        images: "Iterable[Image]",
        groups: "Sequence[Group]",
        settings: Mapping[str, Any],
        block_of: "Callable[[Image, int], int] | None" = None,
    ) -> "Built":
        """Write the main trials and their stimuli: one trial for each image and group of explanations."""
        from annotation.studies.trials import build

        return build(study, images=images, groups=groups, settings=settings, block_of=block_of)

    def neighbours_ahead(self, settings: Mapping[str, Any]) -> int:
        """How many neighbours of a picture its page shows, so that they can be fetched before."""
        return 0

    def known_gold(self, trial: "Trial") -> dict[str, Any] | None:
        """The right answer as far as labels and masks tell it; None where a researcher has to say it."""
        return None

    def clean_gold(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The right answer as a researcher gave it. Raises StudyRefused naming what is wrong."""
        try:
            return clean_fields(self.gold_fields, values)
        except RecipeError as error:
            sentences = [f"{name}: {sentence}" for name, sentence in error.errors.items()]
            raise StudyRefused("This right answer does not fit. " + " ".join(sentences)) from error

    def grade(self, assignment: "Assignment", cleaned: Cleaned, gold: Mapping[str, Any]) -> Grade:
        """The answer against `gold`, as `clean_gold` or `known_gold` made it."""
        return Grade(None, "")

    def page_context(self, assignment: "Assignment", settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the page shows; nothing in it gives a condition away."""
        raise NotImplementedError

    def clean(
        self, assignment: "Assignment", payload: Any, drawing: bytes | None, settings: Mapping[str, Any]
    ) -> Cleaned:
        """The checked answer. Raises AnswerInvalid."""
        raise NotImplementedError

    def record(self, answer: "Answer", cleaned: Cleaned, assignment: "Assignment") -> None:
        """Write what the answer says, in place of what it said before."""
        raise NotImplementedError

    def in_words(self, assignment: "Assignment") -> list[str]:
        """What the person answered, in lines of a few words, for the list of their own answers.

        The answer's judgements with their stimuli and the drawn map are loaded already.
        """
        return [f"{judgement.question}: {judgement.value}" for judgement in assignment.answer.judgements.all()]

    def statistics(self, study: "Study", kinds: Sequence[str] = HUMAN_ONLY) -> dict[str, Any]:
        """The figures of the study, ready for JSON, of the people of these kinds."""
        raise NotImplementedError

    def tables(self, study: "Study", kinds: Sequence[str] = HUMAN_ONLY) -> list[Table]:
        """The same figures as tables."""
        raise NotImplementedError

    def export_rows(self, answers: "QuerySet[Answer]", *, full: bool = False) -> Iterator[dict[str, Any]]:
        """One row for each line of the export, keys as in `columns`, in constant memory.

        `full` adds what a flat table cannot hold, for JSON.
        """
        raise NotImplementedError
