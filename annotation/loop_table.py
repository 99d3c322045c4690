"""The table of a loop over several seeds: each seed, mean ± standard deviation, and the two differences."""

import statistics
from collections.abc import Sequence

from annotation.loop import LoopResult
from mlcore.exchange.scripted import ErrorRates

CONDITIONS = ("phase 1", "control", "phase 2")
COLUMNS = (
    ("accuracy", "accuracy (%)", 100.0, 1),
    ("attention_iou_50", "attention IoU@0.5", 1.0, 3),
    ("pointing", "pointing (%)", 100.0, 1),
)


def table(results: Sequence[LoopResult], rates: ErrorRates) -> str:
    """Markdown. Every figure is of the test part; the last rows are phase 2 minus control and minus phase 1."""
    rows = [
        "| seed | classifier | " + " | ".join(title for _, title, _, _ in COLUMNS) + " |",
        "|---|---|" + "---:|" * len(COLUMNS),
    ]
    for result in results:
        for name in CONDITIONS:
            cells = [_cell(result.scores[name][metric], scale, digits) for metric, _, scale, digits in COLUMNS]
            rows.append(f"| {result.seed} | {name} | " + " | ".join(cells) + " |")
    label = "mean ± sd" if len(results) > 1 else str(results[0].seed)
    for name in CONDITIONS if len(results) > 1 else ():
        cells = [
            _spread([result.scores[name][metric] for result in results], scale, digits)
            for metric, _, scale, digits in COLUMNS
        ]
        rows.append(f"| {label} | {name} | " + " | ".join(cells) + " |")
    for other in ("control", "phase 1"):
        cells = [
            _spread(
                [_minus(result.scores["phase 2"][metric], result.scores[other][metric]) for result in results],
                scale,
                digits,
                sign=True,
            )
            for metric, _, scale, digits in COLUMNS
        ]
        rows.append(f"| {label} | phase 2 − {other} | " + " | ".join(cells) + " |")
    return "\n".join([*rows, "", rates.sentence()])


def _minus(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right


def _cell(value: float | None, scale: float, digits: int) -> str:
    return "–" if value is None else f"{value * scale:.{digits}f}"


def _spread(values: Sequence[float | None], scale: float, digits: int, sign: bool = False) -> str:
    known = [value * scale for value in values if value is not None]
    if not known:
        return "–"
    plus = "+" if sign else ""
    mean = f"{statistics.mean(known):{plus}.{digits}f}"
    return mean if len(known) < 2 else f"{mean} ± {statistics.stdev(known):.{digits}f}"
