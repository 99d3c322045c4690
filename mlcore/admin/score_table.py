"""Scores of sets of maps as a table: rows are sets, columns metrics; the newest score of a set, part and metric counts.

Read in a fixed number of queries, however many images the scores are over: values per image stay in the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet

from harmony.researcher import owned
from mlcore.catalogue import METHODS, METRICS
from mlcore.models import ExplanationSet, Run, Score
from mlcore.runs.metric_columns import MetricColumn, sort_by_metric

MOST_SETS = 200
# Ways a table can be put in order besides by a metric's name.
BY_SET = "set"


@dataclass
class Cell:
    """A score in its place. `best`: nobody in the column is better; `of_ceiling`: its share of people's agreement."""

    score: Score | None = None
    best: bool = False
    of_ceiling: float | None = None

    @property
    def left_out(self) -> int:
        return sum(self.score.left_out.values()) if self.score else 0


@dataclass
class Row:
    explained: ExplanationSet
    cells: list[Cell] = field(default_factory=list)

    @property
    def baseline(self) -> bool:
        return is_baseline(self.explained.method)


@dataclass
class Table:
    columns: list[MetricColumn]
    rows: list[Row]
    baselines: list[Row]
    ceiling: list[dict[str, Any] | None]
    cut: bool = False
    set_sorted: str = ""
    set_order: str = ""

    @property
    def has_ceiling(self) -> bool:
        return any(self.ceiling)

    @property
    def groups(self) -> list[list[Row]]:
        return [rows for rows in (self.rows, self.baselines) if rows]


def is_baseline(method: str) -> bool:
    spec = METHODS.get(method)
    return spec is not None and spec.baseline


def higher_is_better(metric: str) -> bool | None:
    spec = METRICS.get(metric)
    return spec.higher_is_better if spec else None


def in_catalogue_order(metrics: Iterable[str]) -> list[str]:
    """Metrics as the catalogue lists them; those it does not know at the end, by name."""
    places = {name: place for place, name in enumerate(METRICS)}
    return sorted(set(metrics), key=lambda name: (places.get(name, len(places)), name))


def scores_of(sets: QuerySet, part: str) -> list[Score]:
    """The newest score of each set and metric on this part, without its values per image."""
    found = (
        Score.objects.filter(explanation_set__in=sets, part=part)
        .defer("per_image")
        .order_by("created", "pk")
        .select_related("run")
        .only(
            "metric", "part", "value", "low", "high", "n", "left_out", "explanation_set", "created", "run__name",
        )
    )  # fmt: skip
    newest = {(score.explanation_set_id, score.metric): score for score in found}
    return list(newest.values())


def parts_with_scores(sets: QuerySet) -> list[str]:
    """The parts that there are scores of, all images first."""
    parts = Score.objects.filter(explanation_set__in=sets).order_by().values_list("part", flat=True).distinct()
    return sorted(parts, key=lambda part: (part != "all", part))


@dataclass
class People:
    """How far people agree with each other, by metric; and what share of that sets of maps reach, as score runs said:
    (run, metric, set's UUID) → share."""

    ceiling: dict[str, dict[str, Any]] = field(default_factory=dict)
    shares: dict[tuple[int, str, str], float] = field(default_factory=dict)

    def add(self, run: int, result: Mapping[str, Any]) -> None:
        """What a run says; of two, the first one's ceiling stays."""
        for metric, said in (result.get("ceiling") or {}).items():
            if said.get("value") is None:
                continue
            self.ceiling.setdefault(metric, {name: said.get(name) for name in ("value", "low", "high", "n")})
            for one, share in (said.get("share") or {}).items():
                if share.get("value") is not None:
                    self.shares[run, metric, one] = share["value"]


def people_of(runs: QuerySet, part: str) -> People:
    """From the newest score runs that compared with people's maps on this part."""
    found = People()
    wanted = runs.filter(
        kind=Run.Kind.SCORE, state=Run.State.SUCCEEDED, human_maps__isnull=False, recipe__part=part
    )  # fmt: skip
    for pk, result in wanted.order_by("-created").values_list("pk", "result")[:5]:
        found.add(pk, result)
    return found


def build(
    sets: Sequence[ExplanationSet],
    scores: Sequence[Score],
    people: People,
    *,
    sort: str = BY_SET,
    order: str = "",
) -> Table:
    """The table of these sets (those without a score are left out), in the order asked for."""
    names = in_catalogue_order([score.metric for score in scores])
    columns = [MetricColumn.of(name) for name in names]
    by_place = {(score.explanation_set_id, score.metric): score for score in scores}
    scored = {score.explanation_set_id for score in scores}
    rows = [Row(one) for one in sets if one.pk in scored]
    for row in rows:
        row.cells = [Cell(by_place.get((row.explained.pk, name))) for name in names]
    for place, name in enumerate(names):
        _mark_best([row.cells[place] for row in rows if not row.baseline], higher_is_better(name))
        for row in rows:
            cell = row.cells[place]
            if cell.score:  # definitions §7: agreement with people also as a share of people's with each other
                cell.of_ceiling = people.shares.get((cell.score.run_id, name, str(row.explained.uuid)))
    table = Table(
        columns=columns,
        rows=[row for row in rows if not row.baseline],
        baselines=[row for row in rows if row.baseline],
        ceiling=[people.ceiling.get(name) for name in names],
    )
    _sort(table, sort, order)
    return table


def of_run(run: Run, *, sort: str = BY_SET, order: str = "") -> Table | None:
    """The table of what one score run computed; None for every other run and before there is a score."""
    if run.kind != Run.Kind.SCORE:
        return None
    scores = list(Score.objects.filter(run=run, explanation_set__isnull=False).defer("per_image"))
    if not scores:
        return None
    sets = ExplanationSet.objects.filter(pk__in={score.explanation_set_id for score in scores})
    people = People()
    people.add(run.pk, run.result or {})
    return build(list(sets.select_related("classifier")), scores, people, sort=sort, order=order)


def sets_of(image_set: Any, user: Any) -> QuerySet:
    """The sets of maps of these images that this person may see, newest first."""
    return owned(ExplanationSet.objects.filter(image_set=image_set), user)


def _mark_best(cells: list[Cell], higher: bool | None) -> None:
    values = [cell.score.value for cell in cells if cell.score and cell.score.value is not None]
    if higher is None or len(values) < 2:
        return
    best = max(values) if higher else min(values)
    for cell in cells:
        cell.best = bool(cell.score and cell.score.value == best)


def _sort(table: Table, sort: str, order: str) -> None:
    if not sort_by_metric(table.columns, table.groups, sort, order):
        down = order == "down"
        table.set_sorted = "descending" if down else "ascending"
        for rows in table.groups:
            rows.sort(key=_by_set, reverse=down)
    table.set_order = "up" if table.set_sorted == "descending" else "down" if table.set_sorted else "up"


def _by_set(row: Row) -> tuple[str, str, int]:
    places = {name: place for place, name in enumerate(METHODS)}
    one = row.explained
    return (one.classifier.name, f"{places.get(one.method, 999):03} {one.method}", -one.pk)
