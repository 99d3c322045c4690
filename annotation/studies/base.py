"""What every kind of study is: its words and settings, its trials, its page, its answers and its figures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from annotation.drawings import Drawing
from annotation.errors import StudyRefused
from mlcore.catalogue.fields import Field, RecipeError, clean_fields

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from annotation.models import Answer, Assignment, Study
    from annotation.studies.trials import Built
    from mlcore.models import ExplanationSet, Image

HUMAN_ONLY: tuple[str, ...] = ("human",)


@dataclass(frozen=True)
class Cleaned:
    """A checked answer: `payload` is JSON as it is kept, `drawing` the decoded picture that came with it."""

    payload: dict[str, Any]
    drawing: Drawing | None = None


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
    maps_at_least = 0
    maps_at_most = 4
    fields: tuple[Field, ...] = ()
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

    def build_trials(
        self,
        study: "Study",
        *,
        images: "Iterable[Image]",
        explanation_sets: "Sequence[ExplanationSet]",
        settings: Mapping[str, Any],
    ) -> "Built":
        """Write the trials and stimuli of a new study."""
        from annotation.studies.trials import build

        return build(study, images=images, explanation_sets=explanation_sets, settings=settings)

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
