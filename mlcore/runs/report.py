"""The table of a report, read from rows: what its page, its downloads and the command line show.

Rows are sets of maps: a classifier by a method. Read in a fixed number of queries; values of single images are read
only where a row is compared with another, and one score at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from mlcore.catalogue import METHODS, upgrade
from mlcore.catalogue.published import PUBLISHED, Published
from mlcore.models import Classifier, ExplanationSet, Run, Score
from mlcore.runs.manifest import entries_of
from mlcore.runs.metric_columns import MetricColumn, sort_by_metric
from mlcore.runs.paired import Difference, difference
from mlcore.runs.report_plan import asks_classifier, classifiers_of

ACCURACY = "accuracy"
OVER_CLASSES = ("pointing",)  # their value is a mean over classes, not over images
BY_ROW = "row"


@dataclass
class Column(MetricColumn):
    """A metric, its shares in per cent."""

    @property
    def scale(self) -> int:
        """What a stored value is multiplied with: shares are told in per cent, as published tables do."""
        return 100 if self.unit == "share" else 1

    @property
    def shown_unit(self) -> str:
        return "%" if self.unit in ("share", "%") else self.unit

    def told(self, value: float, sign: str = "") -> str:
        """A stored value as it is printed; sign "+" shows it always."""
        return f"{self.scale * value:{sign}.{self.decimals}f}".replace("-", "−")


@dataclass
class Cell:
    """A figure in its place, as stored. apart: this row minus the reference; best: nobody in the column is better."""

    column: Column
    score: Score | None = None
    apart: Difference | None = None
    best: bool = False

    @property
    def left_out(self) -> int:
        return sum(self.score.left_out.values()) if self.score else 0

    @property
    def value(self) -> str:
        """As it is printed; empty where there is none."""
        return "" if self.score is None or self.score.value is None else self.column.told(self.score.value)

    @property
    def interval(self) -> tuple[str, str] | None:
        score = self.score
        if score is None or score.low is None or score.high is None:
            return None
        return self.column.told(score.low), self.column.told(score.high)

    @property
    def difference(self) -> str:
        """This row minus the reference, as it is printed; empty where nothing is compared."""
        return "" if self.apart is None else self.column.told(self.apart.value, "+")

    @property
    def difference_interval(self) -> tuple[str, str] | None:
        if self.apart is None or self.apart.low is None or self.apart.high is None:
            return None
        return self.column.told(self.apart.low, "+"), self.column.told(self.apart.high, "+")


@dataclass
class Row:
    """One set of maps. any_classifier: a baseline whose figures hold for every classifier."""

    explained: ExplanationSet
    cells: list[Cell] = field(default_factory=list)
    any_classifier: bool = False

    @property
    def key(self) -> str:
        return str(self.explained.pk)

    @property
    def method(self) -> str:
        spec = METHODS.get(self.explained.method)
        return spec.title if spec else self.explained.method

    @property
    def baseline(self) -> bool:
        spec = METHODS.get(self.explained.method)
        return spec is not None and spec.baseline

    @property
    def who(self) -> str:
        return "any classifier" if self.any_classifier else self.explained.classifier.name

    @property
    def title(self) -> str:
        return f"{self.who} · {self.method}"


@dataclass(frozen=True)
class PublishedRow:
    """A published row under the report's columns; None where nothing was published."""

    architecture: str
    row: Published
    figures: list[Decimal | None]


@dataclass
class Report:
    run: Run
    classifiers: list[Classifier]
    columns: list[Column]
    rows: list[Row]
    baselines: list[Row]
    published: list[PublishedRow]
    against: Row | None = None
    row_sorted: str = ""
    row_order: str = "up"

    @property
    def groups(self) -> list[list[Row]]:
        return [rows for rows in (self.rows, self.baselines) if rows]

    @property
    def everything(self) -> list[Row]:
        return [*self.rows, *self.baselines]

    @property
    def images(self) -> int:
        return sum(len(entries) for entries in self.run.manifest.values())

    @property
    def sources(self) -> list[str]:
        """Where the published rows come from, each once."""
        return list(dict.fromkeys(one.row.source for one in self.published))


def report_of(run: Run, *, against: str = "", sort: str = BY_ROW, order: str = "") -> Report | None:
    """The table of a report; None for every other run and before there is a figure.

    against: the key of the row that every other one is compared with, over the same images. sort: a metric, or rows
    in the order of classifiers and methods; order: "up" or "down".
    """
    if run.kind != Run.Kind.REPORT:
        return None
    scores = list(Score.objects.filter(run=run).defer("per_image").order_by("pk"))
    if not scores:
        return None
    recipe = upgrade(run.kind, run.recipe)
    classifiers = classifiers_of(run)
    columns = _columns(scores, recipe)
    rows = _rows(run, recipe, classifiers, columns, scores)
    for place, column in enumerate(columns):
        _mark_best([row.cells[place] for row in rows if not row.baseline], column, classifiers)
    report = Report(
        run=run,
        classifiers=classifiers,
        columns=columns,
        rows=[row for row in rows if not row.baseline],
        baselines=[row for row in rows if row.baseline],
        published=_published(classifiers, columns),
    )
    report.against = next((row for row in rows if row.key == against), None)
    if report.against is not None:
        _compare(run, report.against, rows, columns)
    _sort(report, sort, order)
    return report


def _columns(scores: Iterable[Score], recipe: dict[str, Any]) -> list[Column]:
    there = {score.metric for score in scores}
    named = [ACCURACY, *recipe.get("metrics", ())]
    return [Column.of(name) for name in [*(name for name in named if name in there), *sorted(there - set(named))]]


def _rows(
    run: Run, recipe: dict[str, Any], classifiers: list[Classifier], columns: list[Column], scores: Iterable[Score]
) -> list[Row]:
    by_set = {(score.explanation_set_id, score.metric): score for score in scores if score.explanation_set_id}
    by_classifier = {(score.classifier_id, score.metric): score for score in scores if not score.explanation_set_id}
    place = {classifier.pk: number for number, classifier in enumerate(classifiers)}
    methods = {name: number for number, name in enumerate(recipe.get("methods", ()))}
    sets = [one for one in run.explanation_sets.select_related("classifier") if one.classifier_id in place]
    sets.sort(key=lambda one: (place[one.classifier_id], methods.get(one.method, len(methods))))
    count: dict[str, int] = {}
    for one in sets:
        count[one.method] = count.get(one.method, 0) + 1
    found = []
    for one in sets:
        row = Row(one)
        row.any_classifier = row.baseline and count[one.method] == 1 and not asks_classifier(recipe)
        row.cells = [
            Cell(column, by_set.get((one.pk, column.name)))
            if column.name != ACCURACY
            # A baseline looks at no classifier, and accuracy is nothing of its maps.
            else Cell(column, None if row.baseline else by_classifier.get((one.classifier_id, ACCURACY)))
            for column in columns
        ]
        found.append(row)
    return found


def _mark_best(cells: Sequence[Cell], column: Column, classifiers: Sequence[Classifier]) -> None:
    """The best of at least two different ones; accuracy is compared between classifiers."""
    if column.higher is None or (column.name == ACCURACY and len(classifiers) < 2):
        return
    values = [cell.score.value for cell in cells if cell.score and cell.score.value is not None]
    if len(values) < 2 or len(set(values)) < 2:
        return
    top = max(values) if column.higher else min(values)
    for cell in cells:
        cell.best = cell.score is not None and cell.score.value == top


def _published(classifiers: Iterable[Classifier], columns: Sequence[Column]) -> list[PublishedRow]:
    return [
        PublishedRow(architecture, row, [row.figures.get(column.name) for column in columns])
        for architecture in dict.fromkeys(classifier.architecture for classifier in classifiers)
        for row in PUBLISHED.get(architecture, ())
        if any(column.name in row.figures for column in columns)
    ]


def _compare(run: Run, reference: Row, rows: Sequence[Row], columns: Sequence[Column]) -> None:
    """Fill in how each row differs from the reference, paired over images."""
    classes = {image: label if isinstance(label, int) else None for _, image, label, _ in entries_of(run.manifest)}
    theirs: dict[int, dict[str, float]] = {}
    wanted = {cell.score.pk: place for place, cell in enumerate(reference.cells) if cell.score is not None}
    for pk, values in Score.objects.filter(pk__in=wanted).order_by().values_list("pk", "per_image"):
        theirs[wanted[pk]] = _numbers(values)
    cells: dict[int, list[tuple[int, Cell]]] = {}
    for row in rows:
        for place, cell in enumerate(row.cells):
            if cell.score is not None and place in theirs and cell.score.pk not in wanted:
                cells.setdefault(cell.score.pk, []).append((place, cell))
    for pk, values in Score.objects.filter(pk__in=cells).order_by().values_list("pk", "per_image").iterator():
        ours = _numbers(values)
        for place, cell in cells[pk]:
            over = classes if columns[place].name in OVER_CLASSES else None
            cell.apart = difference(ours, theirs[place], over)


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if isinstance(value, (int, float))}


def _sort(report: Report, sort: str, order: str) -> None:
    if sort_by_metric(report.columns, report.groups, sort, order):
        return
    report.row_sorted = "descending" if order == "down" else "ascending"
    report.row_order = "up" if order == "down" else "down"
    if order == "down":
        for rows in report.groups:
            rows.reverse()
