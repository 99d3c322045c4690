"""The tables of `bench.grid_loop`: values by image of two trainings, their differences, and what must hold of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from mlcore.metrics import make
from mlcore.metrics.accuracy import Accuracy
from mlcore.metrics.base import Metric

Values = dict[str, dict[str, float | str]]  # metric → image → value, or why it has none
Runs = dict[tuple[int, str], dict[str, Values]]  # (seed, objective) → row → values; accuracy stands in row ""

OBJECTIVES = ("supervised", "grid")
MAPS = ("grad_cam", "hires_cam")
ON_OTHERS = "grad_cam on another image"
BASELINES = ("centre", "random")
ROWS = {
    "grad_cam": "Grad-CAM",
    "hires_cam": "HiResCAM",
    ON_OTHERS: "Grad-CAM of another image",
    "centre": "image centre",
    "random": "noise",
}
COLUMNS = {
    "accuracy": "top-1, %",
    "pointing": "pointing game, %",
    "stochastic_pointing": "stochastic pointing, %",
    "content_heat_map": "content heat map, %",
}
ON_MAPS = tuple(COLUMNS)[1:]
MUST_RISE = ("stochastic_pointing", "content_heat_map")
POINTS_LOST = 2.0  # of top-1, at most
SAME = 5e-4  # what no figure of the table shows


def metric_of(name: str, values: Mapping[str, float | str], labels: Mapping[str, int]) -> Metric:
    """The metric as if it had just found these values; it knows its mean and its interval."""
    metric: Metric = Accuracy() if name == "accuracy" else make(name)
    for image, value in values.items():
        metric.note(image, value)
        if name == "pointing":
            metric.classes[image] = labels[image]  # type: ignore[attr-defined]
    return metric


def difference(
    after: Mapping[str, float | str], before: Mapping[str, float | str], *, missing: float | None = None
) -> dict[str, float | str]:
    """Image by image, after − before: of the images that have both values, or of all, with `missing` for a reason."""
    found: dict[str, float | str] = {}
    for image in after.keys() & before.keys():
        values = [value if not isinstance(value, str) else missing for value in (after[image], before[image])]
        if values[0] is not None and values[1] is not None:
            found[image] = values[0] - values[1]
    return dict(sorted(found.items()))


def cell(metric: Metric, *, signed: bool = False) -> str:
    """Value in percent with its interval."""
    value, interval = metric.mean(), metric.interval()
    if value is None or interval is None:
        return "–"
    sign = "+" if signed else ""
    low, high = (100 * end for end in interval)
    return f"{100 * value:{sign}.1f} ({low:{sign}.1f} – {high:{sign}.1f})"


def tables(runs: Runs, labels: Mapping[int, Mapping[str, int]]) -> list[str]:
    """Markdown: the maps with and without grid consistency, then the maps' own baselines, then what was left out."""
    apart = furthest(runs)
    shown = MAPS[:1] if apart < SAME else MAPS
    lines = [
        "| " + " | ".join(["seed", "map", "training", *COLUMNS.values()]) + " |",
        "|---" * (3 + len(COLUMNS)) + "|",
    ]
    for row in shown:
        for seed in labels:
            without, with_grid = (by_column(runs[seed, objective], row) for objective in OBJECTIVES)
            moved = {name: difference(with_grid[name], without[name]) for name in COLUMNS}
            for title, values in (("supervised", without), ("grid", with_grid), ("**difference**", moved)):
                signed = values is moved
                cells = [cell(metric_of(name, values[name], labels[seed]), signed=signed) for name in COLUMNS]
                lines.append(f"| {seed} | {ROWS[row]} | {title} | " + " | ".join(cells) + " |")
        cells = [spread(differences(runs, labels, row, name)) for name in COLUMNS]
        lines.append(f"| mean ± sd | {ROWS[row]} | **difference** | " + " | ".join(cells) + " |")
    if shown != MAPS:
        lines += ["", f"HiResCAM gives every image the values of Grad-CAM, to within {100 * apart:.1g} points."]
    lines += ["", "| " + " | ".join(["seed", "map", "training", *(COLUMNS[name] for name in ON_MAPS)]) + " |"]
    lines.append("|---" * (3 + len(ON_MAPS)) + "|")
    for seed in labels:
        for row in (ON_OTHERS, *BASELINES):
            for objective in OBJECTIVES if row == ON_OTHERS else OBJECTIVES[:1]:
                found = runs[seed, objective][row]
                cells = [cell(metric_of(name, found[name], labels[seed])) for name in ON_MAPS]
                trained = objective if row == ON_OTHERS else "any"
                lines.append(f"| {seed} | {ROWS[row]} | {trained} | " + " | ".join(cells) + " |")
        cells = [cell(metric_of(name, beyond(runs, seed, name), labels[seed]), signed=True) for name in ON_MAPS]
        lines.append(f"| {seed} | own less another's | **difference** | " + " | ".join(cells) + " |")
    return [*lines, "", left_out(runs), ""]


def beyond(runs: Runs, seed: int, name: str) -> dict[str, float | str]:
    """What an image's own map gains over another image's: of the gain, what is not a matter of being smaller or more
    in the middle."""
    without, with_grid = (
        difference(runs[seed, objective][MAPS[0]][name], runs[seed, objective][ON_OTHERS][name])
        for objective in OBJECTIVES
    )
    return difference(with_grid, without)


def furthest(runs: Runs) -> float:
    """The largest difference between the two methods' values of one image; infinite where only one has a value."""
    apart = 0.0
    for found in runs.values():
        for name in ON_MAPS:
            one, other = (found[row][name] for row in MAPS)
            moved = difference(one, other)
            if len(moved) < len(one) - sum(isinstance(one[image], str) and one[image] == other[image] for image in one):
                return float("inf")
            apart = max([apart, *(abs(value) for value in moved.values() if not isinstance(value, str))])
    return apart


def by_column(found: dict[str, Values], row: str) -> Values:
    """A map's values, and the accuracy, which is of no map."""
    return found[""] | found[row]


def differences(
    runs: Runs, labels: Mapping[int, Mapping[str, int]], row: str, name: str, *, missing: float | None = None
) -> list[float]:
    """Of each seed, grid − supervised in percent."""
    found = []
    for seed in labels:
        without, with_grid = (by_column(runs[seed, objective], row)[name] for objective in OBJECTIVES)
        mean = metric_of(name, difference(with_grid, without, missing=missing), labels[seed]).mean()
        found.append(float("nan") if mean is None else 100 * mean)
    return found


def spread(values: list[float]) -> str:
    """Mean ± standard deviation over seeds."""
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):+.1f}{deviation}"


def left_out(runs: Runs) -> str:
    """How many images have no map to judge, in a sentence."""
    said = []
    for (seed, objective), found in runs.items():
        missing = {image for row in MAPS for name in ON_MAPS for image, value in found[row][name].items()
                   if isinstance(value, str)}  # fmt: skip
        said.append(f"seed {seed} {objective} {len(missing)}")
    return "Images whose map is nowhere positive, which count in no mean of maps: " + ", ".join(said) + "."


def verdict(runs: Runs, labels: Mapping[int, Mapping[str, int]]) -> list[tuple[str, bool]]:
    """What must hold on every seed, as sentences."""
    found = []
    for row in MAPS:
        for name in MUST_RISE:
            values = differences(runs, labels, row, name)
            # A classifier that leaves hard images without a map must not win by that.
            strict = differences(runs, labels, row, name, missing=0.0)
            up, still = (sum(value > 0 for value in some) for some in (values, strict))
            found.append(
                (
                    f"{ROWS[row]}, {COLUMNS[name].removesuffix(', %')} rises on {up} of {len(values)} seeds "
                    f"({still} where an image without a map counts as 0; mean {spread(strict)})",
                    up == still == len(values),
                )
            )
    moved = differences(runs, labels, MAPS[0], "accuracy")
    kept = sum(value >= -POINTS_LOST for value in moved)
    found.append((f"top-1 loses at most {POINTS_LOST:g} points on {kept} of {len(moved)} seeds", kept == len(moved)))
    return found
