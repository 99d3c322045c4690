"""A report as files: CSV with every number, and a LaTeX table (package booktabs) with those that fit on a page."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from mlcore.exchange import latex
from mlcore.exchange.csv_cells import csv_cell
from mlcore.exchange.latex import escaped
from mlcore.runs.paired import Difference
from mlcore.runs.report import ACCURACY, Cell, Column, Report, Row

_NOTHING = "--"
CSV_COLUMNS = (
    "classifier", "architecture", "method", "baseline", "layer", "preset", "target", "part", "metric", "better",
    "unit", "value", "low", "high", "n", "left_out", "against", "difference", "difference_low", "difference_high",
    "difference_n", "classifier_id", "explanation_set", "run",
)  # fmt: skip


def csv_text(report: Report) -> str:
    """One line a classifier, method and metric, and one for each classifier's accuracy; values as they are stored.

    What is missing is empty; names that a spreadsheet would run as a formula get an apostrophe in front.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, CSV_COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({key: csv_cell(value) for key, value in row.items()} for row in _csv_rows(report))
    return stream.getvalue()


def _csv_rows(report: Report) -> Iterable[dict[str, Any]]:
    against = report.against.title if report.against else ""
    told: set[int] = set()
    for row in report.everything:
        one = row.explained
        for column, cell in zip(report.columns, row.cells, strict=True):
            score = cell.score
            if score is None or score.pk in told:
                continue
            told.add(score.pk)  # a classifier's accuracy stands in each of its rows
            of_maps = column.name != ACCURACY
            yield {
                "classifier": row.who if of_maps else one.classifier.name,
                "architecture": "" if row.any_classifier else one.classifier.architecture,
                "method": one.method if of_maps else "",
                "baseline": ("yes" if row.baseline else "no") if of_maps else "",
                "layer": one.layer if of_maps else "",
                "preset": one.preset if of_maps else "",
                "target": one.target if of_maps else "",
                "part": score.part,
                "metric": column.name,
                "better": {True: "higher", False: "lower", None: ""}[column.higher],
                "unit": column.unit,
                **{name: getattr(score, name) for name in ("value", "low", "high", "n")},
                "left_out": "; ".join(f"{reason}: {count}" for reason, count in score.left_out.items()),
                "against": against,
                **_apart(cell.apart),
                "classifier_id": "" if row.any_classifier else one.classifier.uuid,
                "explanation_set": one.uuid if of_maps else "",
                "run": report.run.uuid,
            }


def _apart(found: Difference | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "difference": found.value,
        "difference_low": found.low,
        "difference_high": found.high,
        "difference_n": found.n,
    }


def latex_text(report: Report, *, label: str = "tab:report") -> str:
    """One table of what was measured; published rows in a second one. Needs \\usepackage{booktabs}."""
    return "\n".join(filter(None, [_measured(report, label), _published(report, f"{label}-published")]))


def _measured(report: Report, label: str) -> str:
    reference = f" Below: difference to {escaped(report.against.title)}, paired over images." if report.against else ""
    lines: list[str] = []
    for rows in report.groups:
        lines += [r"\midrule"] if lines else []
        before = ""
        for row in rows:
            lines += _lines(report, row, "" if row.who == before else row.who)
            before = row.who
    return latex.table(
        lines, caption=f"{_caption(report)}{reference}", label=label, columns=f"ll{'r' * len(report.columns)}",
        head=("Classifier", "Method", *map(_column, report.columns)), small=True,
    )  # fmt: skip


def _lines(report: Report, row: Row, who: str) -> list[str]:
    lines = [
        f"{escaped(who)} & {escaped(row.method)} & {' & '.join(map(_value, row.cells))} \\\\",
        f"& & {' & '.join(map(_interval, row.cells))} \\\\",
    ]
    if report.against is not None and row is not report.against:
        lines.append(f"& & {' & '.join(map(_difference, row.cells))} \\\\")
    return lines


def _published(report: Report, label: str) -> str:
    if not report.published:
        return ""
    places = [place for place, _ in enumerate(report.columns) if any(one.figures[place] for one in report.published)]
    source = escaped("; ".join(report.sources))
    lines = []
    for one in report.published:
        figures = (one.figures[place] for place in places)
        told = " & ".join(_NOTHING if figure is None else str(figure) for figure in figures)
        lines.append(f"{escaped(one.architecture)} & {escaped(one.row.title)} & {told} \\\\")
    return latex.table(
        lines, caption=f"Published figures of the same architectures, not measured here ({source}).", label=label,
        columns=f"ll{'r' * len(places)}", head=("Architecture", "", *(_column(report.columns[at]) for at in places)),
        small=True,
    )  # fmt: skip


def _caption(report: Report) -> str:
    part = report.run.recipe.get("part", "all")
    where = "all images" if part == "all" else f"the part “{str(part).replace('_', ' ')}”"
    target = {"true": "true", "predicted": "predicted"}.get(str(report.run.recipe.get("target")), "true")
    return escaped(f"{report.run.image_set}, {where}: {report.images} images; maps of the {target} class. ") + (
        r"Below each value its 95\,\% interval over images; \textbf{bold}: best of its column, baselines apart."
    )


def _column(column: Column) -> str:
    words = " ".join(filter(None, (column.arrow, column.shown_unit)))
    lines = r"\\".join(map(escaped, [*_broken(column.title), words]))
    return rf"\shortstack{{{lines}}}"


def _broken(title: str) -> list[str]:
    """A head in lines of about twelve letters."""
    lines: list[str] = []
    for word in title.split():
        if lines and len(lines[-1]) + len(word) < 12:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _value(cell: Cell) -> str:
    if not cell.value:
        return _NOTHING
    return rf"\textbf{{{_math(cell.value)}}}" if cell.best else _math(cell.value)


def _interval(cell: Cell) -> str:
    return "" if cell.interval is None else rf"{{\tiny [{', '.join(map(_math, cell.interval))}]}}"


def _difference(cell: Cell) -> str:
    if not cell.difference:
        return ""
    ends = cell.difference_interval
    within = "" if ends is None else f" [{', '.join(map(_math, ends))}]"
    return rf"{{\tiny {_math(cell.difference)}{within}}}"


def _math(number: str) -> str:
    """A printed number, its minus as long as a plus."""
    return f"${number.replace('−', '-')}$" if number[:1] in "+−" else number
