"""The result of a study for its page: a sentence with its interval, the matrix of each classifier, then the tables."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F

from annotation.models import Participant, Study
from annotation.studies import kind_of
from annotation.studies.base import Table
from harmony.researcher import owned
from harmony.templatetags.researcher import method_title
from mlcore.catalogue import METHODS
from mlcore.models import Classifier, SupervisionItem, SupervisionSet

Z95 = 1.959963984540054


@dataclass(frozen=True)
class MatrixView:
    """A 2 × 2 matrix as the page shows it: rows reasonable and unreasonable, columns accurate and inaccurate."""

    title: str
    cells: list[list[tuple[int, float | None]]]
    total: int
    aside: str = ""


def kinds_of(people: Sequence[Any]) -> list[str]:
    """Whose answers are counted: people's; where nobody but scripted annotators has answered, theirs, and said so."""
    answered = {person.kind for person in people if person.n_answers}
    human = str(Participant.Kind.HUMAN)
    return [human] if human in answered or not answered else sorted(answered)


def shown(study: Study, people: Sequence[Any]) -> dict[str, Any]:
    """What the result's part of the page needs."""
    kinds = kinds_of(people)
    kind = kind_of(study)
    figures = kind.statistics(study, kinds)
    models = figures.get("models", [])
    return {
        "shown_kinds": kinds if kinds != [Participant.Kind.HUMAN] else [],
        "tables": [table_view(table) for table in kind.tables(study, kinds)],
        "sentences": [sentence for model in models if (sentence := rating_sentence(model))]
        or drawing_sentence(figures),
        "matrices": [view_of(f"{model['name']}, {method_title(model['method'])}", model["matrix"]) for model in models],
    }


@dataclass(frozen=True)
class TableView:
    """A table of figures as the page shows it: each cell with whether its column holds numbers."""

    title: str
    columns: list[dict[str, Any]]
    rows: list[list[tuple[Any, bool]]]


def table_view(table: Table) -> TableView:
    """Numbers go to the right, with their heads; methods get their titles."""
    numeric = [
        place > 0 and all(isinstance(row[place], int | float | None) for row in table.rows)
        for place in range(len(table.columns))
    ]
    return TableView(
        table.title,
        [{"name": name, "numeric": flag} for name, flag in zip(table.columns, numeric, strict=True)],
        [
            [
                (method_title(value) if isinstance(value, str) and value in METHODS else value, flag)
                for value, flag in zip(row, numeric, strict=True)
            ]
            for row in table.rows
        ],
    )


def wilson(successes: int, n: int) -> tuple[float, float] | None:
    """The 95 % Wilson interval of a share; None where n is 0."""
    if n == 0:
        return None
    share, z2 = successes / n, Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def rating_sentence(model: Mapping[str, Any]) -> str:
    """The result of one model in a sentence: how many images are looked at reasonably, with the interval."""
    counts = model["matrix"]["counts"]
    good = counts["reasonable_accurate"] + counts["reasonable_inaccurate"]
    n = sum(counts.values())
    interval = wilson(good, n)
    if interval is None:
        return ""
    low, high = interval
    return (
        f"{model['name']} looks at the reasonable details on {good} of {n} images: {100 * good / n:.0f} % "
        f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %)."
    )


def drawing_sentence(figures: Mapping[str, Any]) -> list[str]:
    """The result of drawn maps in a sentence; nothing where no map was drawn."""
    if not figures.get("maps"):
        return []
    said = f"{figures['maps']} maps of {figures['images']} images"
    if figures.get("mean_share") is not None:
        said += f"; people paint {100 * figures['mean_share']:.0f} % of a picture"
    agreement = figures.get("agreement", {})
    if agreement.get("iou") is not None:
        said += f", and two people's maps overlap with an IoU of {agreement['iou']:.2f} on average"
    return [f"{said}."]


def view_of(title: str, matrix: Mapping[str, Any]) -> MatrixView:
    """The matrix of `statistics.reasonability` laid out for the page."""
    counts, shares = matrix["counts"], matrix["shares"]
    aside = [f"{n} images {why}" for n, why in (
        (matrix["tied"], "evenly split, not rated"), (matrix["unknown"], "without a prediction or a label")
    ) if n]  # fmt: skip
    return MatrixView(
        title,
        [
            [(counts[f"{row}_{column}"], shares[f"{row}_{column}"]) for column in ("accurate", "inaccurate")]
            for row in ("reasonable", "unreasonable")
        ],
        sum(counts.values()),
        "; ".join(aside),
    )


def view_of_supervision(title: str, supervision: SupervisionSet) -> MatrixView | None:
    """The matrix as it was frozen when phase 2 started; None where no image was rated."""
    counts = dict.fromkeys(SupervisionItem.Case.values, 0)
    for case in supervision.items.values_list("case", flat=True):
        counts[case] += 1
    unrated = counts.pop(SupervisionItem.Case.NOT_RATED)
    total = sum(counts.values())
    if not total:
        return None
    shares = {case: n / total for case, n in counts.items()}
    view = view_of(title, {"counts": counts, "shares": shares, "tied": 0, "unknown": 0})
    return MatrixView(view.title, view.cells, total, f"{unrated} images drawn but not rated" if unrated else "")


@dataclass(frozen=True)
class Rated:
    """What people say of one classifier's maps, or where to ask them or to read it."""

    label: str
    classifier: Classifier
    matrix: MatrixView | None
    study: Study | None  # live: its result is folded on its own page


def ratings_of(
    classifiers: Sequence[tuple[str, Classifier]], before: Classifier, supervision: SupervisionSet | None, user: Any
) -> list[Rated]:
    """The matrix of each classifier. The one before comes from the snapshot that phase 2 learned from; others from
    their newest closed study. A live study's result is not shown here: looking at it is logged on its page."""
    newest = _newest_studies([classifier for _, classifier in classifiers], user)
    found = []
    for label, classifier in classifiers:
        if classifier.pk == before.pk and supervision is not None:
            frozen = view_of_supervision(str(classifier), supervision)
            if frozen is not None:
                found.append(Rated(label, classifier, frozen, None))
                continue
        studies = newest.get(classifier.pk, [])
        closed = next((study for study in studies if study.state == Study.State.CLOSED), None)
        matrix = _closed_matrix(closed, classifier) if closed is not None else None
        found.append(Rated(label, classifier, matrix, None if matrix or not studies else studies[0]))
    return found


def _newest_studies(classifiers: Sequence[Classifier], user: Any) -> dict[int, list[Any]]:
    """Published studies in which maps of each classifier were rated, newest first; one query."""
    rated = "trials__stimuli__explanation__set__classifier"
    studies = owned(Study.objects.filter(kind="reasonability"), user).exclude(state=Study.State.DRAFT)
    found: dict[int, list[Any]] = {}
    for study in studies.filter(**{f"{rated}__in": classifiers}).annotate(rated=F(rated)).distinct().order_by("-pk"):
        found.setdefault(study.rated, []).append(study)
    return found


def _closed_matrix(study: Study, classifier: Classifier) -> MatrixView | None:
    from annotation.admin.study_page import people

    figures = kind_of(study).statistics(study, kinds_of(people(study)))
    for model in figures.get("models", []):
        if model["classifier"] == str(classifier.uuid):
            return view_of(str(classifier), model["matrix"])
    return None
