"""The result of a study for its page: a sentence with its interval, the matrix of each classifier, then the tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F

from annotation.models import Participant, Study
from annotation.statistics.intervals import wilson
from annotation.studies import kind_of
from annotation.studies.base import Table
from harmony.researcher import owned
from harmony.templatetags.researcher import method_title
from mlcore.catalogue import METHODS
from mlcore.models import Classifier, SupervisionItem, SupervisionSet


@dataclass(frozen=True)
class MatrixView:
    """A 2 × 2 matrix as the page shows it: rows reasonable and unreasonable, columns accurate and inaccurate."""

    title: str
    cells: list[list[tuple[int, float | None]]]
    total: int
    aside: str = ""


@dataclass(frozen=True)
class Bar:
    """Shares of a pair's first, neither and second, as a bar around the middle of neither."""

    title: str
    first: str
    second: str
    counts: tuple[int, int, int]
    shares: tuple[float, float, float]

    @property
    def start(self) -> float:
        """Where the bar begins so that the middle of “neither” stands at 100 of 200."""
        return 100.0 * (1 - self.shares[0] - self.shares[1] / 2)

    @property
    def parts(self) -> list[dict[str, Any]]:
        place, found = self.start, []
        for name, share, count in zip(("first", "neither", "second"), self.shares, self.counts, strict=True):
            found.append({"name": name, "x": round(place, 2), "width": round(100 * share, 2), "n": count})
            place += 100 * share
        return found


@dataclass(frozen=True)
class Point:
    """A mean with its interval on an axis from 0 to 1; `low` and `high` may reach beyond it."""

    title: str
    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def x(self) -> float:
        return _on_axis(self.mean)

    @property
    def whisker(self) -> tuple[float, float] | None:
        if self.low is None or self.high is None:
            return None
        start = _on_axis(self.low)
        return start, round(max(_on_axis(self.high) - start, 0.4), 2)


def _on_axis(value: float) -> float:
    return round(200 * min(max(value, 0.0), 1.0), 2)


def kinds_of(counts: Mapping[str, int]) -> list[str]:
    """Whose answers are counted, from kind → answers: people's; where nobody but scripted annotators has answered,
    theirs, and said so."""
    answered = {str(kind) for kind, n in counts.items() if n}
    human = str(Participant.Kind.HUMAN)
    return [human] if human in answered or not answered else sorted(answered)


def shown(study: Study, counts: Mapping[str, int]) -> dict[str, Any]:
    """What the result's part of the page needs, whatever the kind: sentences, a picture where one is known, tables.

    A kind says its result in `sentence` of its figures or of their parts; the reasonability matrix, the bars of a
    preference and the points of accuracies are drawn where the figures hold them.
    """
    kinds = kinds_of(counts)
    kind = kind_of(study)
    figures = kind.statistics(study, kinds)
    models = [model for model in figures.get("models", []) if "matrix" in model]
    return {
        "shown_kinds": kinds if kinds != [Participant.Kind.HUMAN] else [],
        "answered": bool(figures.get("answers")),
        "tables": [table_view(table) for table in kind.tables(study, kinds)],
        "sentences": sentences_of(figures),
        "matrices": [view_of(f"{model['name']}, {method_title(model['method'])}", model["matrix"]) for model in models],
        "bars": bars_of(figures),
        "points": points_of(figures),
    }


def sentences_of(figures: Mapping[str, Any]) -> list[str]:
    """The result in a sentence, or one for each part; empty where nobody has answered."""
    if not figures.get("answers"):
        return []
    rated = [sentence for model in figures.get("models", []) if "matrix" in model
             if (sentence := rating_sentence(model))]  # fmt: skip
    parts = [part for name in ("cells", "conditions") for part in figures.get(name, []) if part.get("answers")]
    said = [str(part["sentence"]) for part in parts if part.get("sentence")]
    overall = figures.get("overall")
    if len(said) != 1 and isinstance(overall, Mapping) and overall.get("sentence"):
        said.append(str(overall["sentence"]))
    own = [str(figures["sentence"])] if figures.get("sentence") else []
    return rated or own or said or drawing_sentence(figures) or [f"{figures['answers']} answers."]


def bars_of(figures: Mapping[str, Any]) -> list[Bar]:
    """A bar for each pair of a preference study that has answers."""
    found = []
    for cell in figures.get("cells", []):
        counts = cell.get("counts", {})
        if set(counts) != {"first", "neither", "second"} or not sum(counts.values()):
            continue
        numbers = (counts["first"], counts["neither"], counts["second"])
        total = sum(numbers)
        shares = (numbers[0] / total, numbers[1] / total, numbers[2] / total)
        found.append(Bar(str(cell.get("cell") or ""), cell["first"], cell["second"], numbers, shares))
    return found


def points_of(figures: Mapping[str, Any]) -> list[Point]:
    """Accuracy of each condition of a team study with its interval, and that of each AI alone."""
    found = []
    for one in figures.get("conditions", []):
        accuracy = one.get("accuracy", {}).get("overall", {})
        if accuracy.get("mean") is not None:
            found.append(
                Point(one["condition"], accuracy["mean"], accuracy.get("low"), accuracy.get("high"), accuracy["people"])
            )
    ais = [ai for ai in figures.get("ais", []) if ai["accuracy"] is not None] if found else []
    for ai in ais:
        title = "The AI alone" if len(ais) == 1 else f"AI alone: {ai['title']}"
        found.append(Point(title, ai["accuracy"], None, None, ai["images"]))
    return found


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
    from annotation.admin.study_page import kinds_that_answered

    figures = kind_of(study).statistics(study, kinds_of(kinds_that_answered(study)))
    for model in figures.get("models", []):
        if model["classifier"] == str(classifier.uuid):
            return view_of(str(classifier), model["matrix"])
    return None
