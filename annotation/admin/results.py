"""The result of a study for its page: a sentence, the matrix of each classifier, then the tables."""

from collections.abc import Sequence
from typing import Any

from annotation.models import Participant, Study
from annotation.studies import kind_of


def kinds_of(people: Sequence[Participant]) -> list[str]:
    """Whose answers are counted: people's; where nobody but scripted annotators has answered, theirs, and said so."""
    answered = {person.kind for person in people if getattr(person, "n_answers", 1)}
    human = str(Participant.Kind.HUMAN)
    return [human] if human in answered or not answered else sorted(answered)


def shown(study: Study, people: Sequence[Participant]) -> dict[str, Any]:
    """What the result's part of the page needs."""
    kinds = kinds_of(people)
    kind = kind_of(study)
    figures = kind.statistics(study, kinds)
    return {
        "shown_kinds": kinds,
        "tables": kind.tables(study, kinds),
        "matrices": matrices(figures),
        "figures": figures,
    }


def matrices(figures: dict[str, Any]) -> list[dict[str, Any]]:
    return []


def matrices_of(classifiers: dict[str, Any], user: Any) -> list[dict[str, Any]]:
    return []
