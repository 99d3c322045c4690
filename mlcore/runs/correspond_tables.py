"""A classification by comparison as CSV with every number, a LaTeX table (package booktabs) and a JSON document."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from mlcore.exchange import latex
from mlcore.exchange.csv_cells import csv_cell
from mlcore.exchange.latex import escaped
from mlcore.runs.correspond_report import HEAD, NO_CLASS, Outcome, Way, class_name, way_title
from mlcore.runs.correspond_sets import gallery_of

COLUMNS = (
    "table", "way", "against", "class", "said", "n", "right", "value", "low", "high", "first_value", "confidence_right",
    "confidence_wrong", "converged", "compared", "milliseconds", "wrong_to_right", "right_to_wrong", "p", "set", "run",
)  # fmt: skip


def csv_text(outcome: Outcome) -> str:
    """Lines of four tables, told by the first column: accuracy, class, confusion (cells that are not empty), change.

    Shares are 0…1; what is missing is empty; names that a spreadsheet would run as a formula get an apostrophe.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for row in _rows(outcome):
        writer.writerow({key: csv_cell(value) for key, value in row.items()} | {"run": outcome.run.uuid})
    return stream.getvalue()


def _rows(outcome: Outcome) -> Iterable[dict[str, Any]]:
    for way in outcome.ways:
        share = way.accuracy
        yield {
            "table": "accuracy", "way": way.name, "n": share.n, "right": share.right, "value": share.value,
            "low": share.low, "high": share.high, "first_value": way.first.value if way.first else None,
            "set": str(way.explained.uuid) if way.explained else None,
            **{key: way.told.get(key) for key in ("confidence_right", "confidence_wrong", "converged", "compared",
                                                  "milliseconds")},
        }  # fmt: skip
    for row in outcome.per_class:
        for way, one in zip(outcome.ways, row.shares, strict=True):
            if one is not None:
                yield {
                    "table": "class", "way": way.name, "class": row.name, "n": one.n, "right": one.right,
                    "value": one.value,
                }  # fmt: skip
    for name, cells in outcome.told["confusion"].items():
        for true, said, count in cells:
            yield {
                "table": "confusion", "way": name, "class": class_name(outcome.classes, true),
                "said": "" if said == NO_CLASS else class_name(outcome.classes, said), "n": count,
            }  # fmt: skip
    for change in outcome.changes:
        yield {
            "table": "change", "way": change.after, "against": change.before, "n": change.n,
            "wrong_to_right": change.mended, "right_to_wrong": change.broken, "p": change.p,
        }  # fmt: skip


def latex_text(outcome: Outcome, *, label: str = "tab:correspondence") -> str:
    """One row a way of deciding. Needs \\usepackage{booktabs}."""
    run, gallery = outcome.run, gallery_of(outcome.run)
    where = "" if run.recipe.get("part", "all") == "all" else f", the part “{run.recipe['part'].replace('_', ' ')}”"
    against = "the others of the same set" if gallery.pk == run.image_set_id else f"{gallery} ({outcome.gallery})"
    caption = escaped(
        f"{run.image_set}{where}: {outcome.queries} queries against {against}; features of {run.classifier}. "
    ) + (
        r"Per cent right with Wilson's 95\,\% interval; changes against nearest neighbours, "
        r"$p$ by McNemar's exact test."
    )
    head = ("Decided by", "Right", r"95\,\%", "$n$", "Mended", "Broken", "$p$")
    lines = [_line(outcome, way) for way in outcome.ways]
    return latex.table(lines, caption=caption, label=label, columns="lrlrrrr", head=head)


def _line(outcome: Outcome, way: Way) -> str:
    share, interval = way.accuracy, way.accuracy.interval
    within = f"[{interval[0]}, {interval[1]}]" if interval else "--"
    change = next((one for one in outcome.changes if (one.before, one.after) == ("knn", way.name)), None)
    changed = ("--", "--", "--") if change is None else (change.mended, change.broken, _latex_p(change.p))
    value = rf"\textbf{{{share.percent}}}" if way.best else share.percent
    cells = (escaped(way.title), value, within, share.n, *changed)
    return f"{' & '.join(map(str, cells))} \\\\"


def _latex_p(p: float) -> str:
    return "$<0.001$" if p < 0.001 else f"{p:.3f}"


def document(outcome: Outcome) -> dict[str, Any]:
    """Everything as one JSON document; classes by their names."""
    run = outcome.run
    return {
        "run": str(run.uuid),
        "name": run.name,
        "classifier": str(run.classifier.uuid) if run.classifier else None,
        "image_set": str(run.image_set.uuid),
        "gallery": str(gallery_of(run).uuid),
        "part": run.recipe.get("part"),
        "queries": outcome.queries,
        "gallery_images": outcome.gallery,
        "left_out": outcome.told["left_out"],
        "search": outcome.told["search"],
        "features": outcome.told["features"],
        "ways": [
            way.told | {"title": way.title} for way in outcome.ways
        ],
        "per_class": [
            {"class": row.name} | {
                way.name: {"n": one.n, "right": one.right}
                for way, one in zip(outcome.ways, row.shares, strict=True) if one
            }
            for row in outcome.per_class
        ],
        "changes": outcome.told["changes"],
        "confusion": {
            name: [
                {"class": class_name(outcome.classes, true),
                 "said": None if said == NO_CLASS else class_name(outcome.classes, said), "n": count}
                for true, said, count in cells
            ]
            for name, cells in outcome.told["confusion"].items()
        },
    }  # fmt: skip


def table(outcome: Outcome) -> list[str]:
    """Lines for a terminal: a row a way, then what re-ranking changes, and what was left out."""
    rows = [["", "right %", "95 %", "n", "first %", "sure: right", "wrong", "not converged", "ms a query"]]
    for way in outcome.ways:
        interval, unfinished = way.accuracy.interval, way.unfinished
        rows.append(
            [
                way.title,
                way.accuracy.percent,
                f"{interval[0]}–{interval[1]}" if interval else "–",
                str(way.accuracy.n),
                way.first.percent if way.first else "–",
                *way.sure,
                "–" if unfinished is None else f"{unfinished} of {way.told['compared']}",
                "–" if way.milliseconds is None else f"{way.milliseconds:.1f}",
            ]
        )
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  ".join(text.ljust(width) if place == 0 else text.rjust(width) for place, (text, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    for change in outcome.changes:
        lines.append(
            f"{change.title}: {change.mended} wrong → right, {change.broken} right → wrong of {change.n} "
            f"({change.difference} points, p {change.shown_p if change.p < 0.001 else f'= {change.shown_p}'})"
        )
    if outcome.recall:
        lines.append(f"search: {outcome.told['search']['index']}, {outcome.recall} % of the exact neighbours found")
    unknown = next((way.unknown for way in outcome.ways if way.name == HEAD), 0)
    if unknown:
        lines.append(f"{way_title(HEAD)} was not asked about {unknown} images of classes that it does not know by name")
    if outcome.left_out:
        lines.append(f"left out: {', '.join(f'{count} {reason}' for reason, count in outcome.left_out)}")
    return lines
