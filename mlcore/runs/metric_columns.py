"""A metric as the column of a table, and the order of a table's rows by one: reports and tables of scores share it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from mlcore.catalogue import METRICS


@dataclass
class MetricColumn:
    """A metric. higher: which way is better (None: neither); sorted: "ascending", "descending" or nothing; order: how
    a click on its head sorts next, "up" or "down"."""

    name: str
    title: str
    summary: str
    unit: str
    higher: bool | None
    sorted: str = ""
    order: str = "down"

    @classmethod
    def of(cls, metric: str) -> Self:
        """The column of a metric as the catalogue describes it; one that it does not know has only its name."""
        spec = METRICS.get(metric)
        source = f" ({spec.reference})" if spec and spec.reference else ""
        return cls(
            name=metric,
            title=spec.title if spec else metric.replace("_", " "),
            summary=f"{spec.summary}{source}" if spec else "",
            unit=spec.unit if spec else "",
            higher=spec.higher_is_better if spec else None,
        )

    @property
    def shown_unit(self) -> str:
        """The unit of the figures as they are printed."""
        return self.unit

    @property
    def decimals(self) -> int:
        return 1 if self.shown_unit == "%" else 3

    @property
    def arrow(self) -> str:
        return "" if self.higher is None else "↑" if self.higher else "↓"


def sort_by_metric(columns: Sequence[MetricColumn], groups: Iterable[list[Any]], sort: str, order: str) -> bool:
    """Sort the rows of each group by the column called `sort`; False, and nothing sorted, where there is none.

    Rows have `cells`, one a column, with a `score` or None. The better end comes first unless `order` is "up" or
    "down"; rows without a value come last. Every column is told how it is sorted, and how a click on it sorts next.
    """
    place = next((number for number, column in enumerate(columns) if column.name == sort), None)
    if place is not None:
        down = order == "down" if order in ("up", "down") else columns[place].higher is not False
        columns[place].sorted = "descending" if down else "ascending"

        def key(row: Any) -> tuple[bool, float]:
            score = row.cells[place].score
            value = score.value if score else None
            return (value is None, 0.0 if value is None else -value if down else value)

        for rows in groups:
            rows.sort(key=key)
    for column in columns:
        better = "up" if column.higher is False else "down"
        column.order = ("up" if column.sorted == "descending" else "down") if column.sorted else better
    return place is not None
