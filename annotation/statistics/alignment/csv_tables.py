"""The figures of an analysis as CSV (RFC 4180, UTF-8), from its dictionary alone: per cell, per rater, per image.

What is missing is empty; text that a spreadsheet would run as a formula gets an apostrophe in front.
"""

from collections.abc import Mapping
from typing import Any

from annotation.statistics.csv_text import csv_text

_COUNTS = ("original", "neither", "tuned")
CELL_COLUMNS = (
    "cell", "metric", "method", "classifier", "original_name", "tuned_name", "people", "images", "answers",
    "original", "neither", "tuned", "share_original", "share_neither", "share_tuned",
    "alignment", "alignment_low", "alignment_high", "raters", "these_raters_only", "p", "p_holm", "declared",
    "majority_tuned", "majority_original", "majority_neither", "majority_tied", "majority_share_tuned",
    "majority_low", "majority_high", "majority_p", "bootstrap_low", "bootstrap_high", "bootstrap_reason",
    "mixed_log_odds", "mixed_low", "mixed_high", "mixed_reason", "bt_log_strength", "bt_low", "bt_high", "bt_tie",
    "bt_reason", "krippendorff_nominal", "krippendorff_ordinal", "fleiss", "cohen_mean", "cohen_min", "cohen_max",
    "cohen_pairs", "left", "right", "share_left", "left_low", "left_high", "left_p",
    "gain_metric", "gain_before", "gain_after", "gain_difference", "gain_low", "gain_high", "gain_images",
    "gain_standardised", "prediction_agreement",
)  # fmt: skip
RATER_COLUMNS = ("cell", "rater", *_COUNTS, "answers", "score")
IMAGE_COLUMNS = ("cell", "image", *_COUNTS, "majority")


def cells(report: Mapping[str, Any]) -> str:
    """One row a cell, the last of all cells together."""
    return csv_text(CELL_COLUMNS, (_cell_row(one) for one in (*report["cells"], report["overall"])))


def raters(report: Mapping[str, Any]) -> str:
    """One row a rater and cell, and one a rater over all cells."""
    parts = (*report["cells"], report["overall"])
    return csv_text(RATER_COLUMNS, ({"cell": one["cell"], **rater} for one in parts for rater in one["raters"]))


def images(report: Mapping[str, Any]) -> str:
    """One row a pair of maps. Cells with more images than the analysis keeps are not in it."""
    return csv_text(
        IMAGE_COLUMNS, ({"cell": one["cell"], **image} for one in report["cells"] for image in one["images_table"])
    )


def _cell_row(one: Mapping[str, Any]) -> dict[str, Any]:
    score, majority, side = one["alignment"], one["majority"], one["position"]
    drawn, mixed, strength = one["bootstrap"], one["mixed_model"], one["bradley_terry"]
    gain, agreed = one.get("gain") or {}, one["agreement"]
    row = {name: one[name] for name in CELL_COLUMNS[:4]}
    row |= {name: one[name] for name in ("people", "images", "answers", "p", "p_holm", "declared")}
    row |= {"original_name": one["original"], "tuned_name": one["tuned"], **one["counts"]}
    row |= {f"share_{name}": one["shares"][name] for name in _COUNTS}
    row |= {"alignment": score["mean"], "alignment_low": score["low"], "alignment_high": score["high"]}
    row |= {"raters": score["raters"], "these_raters_only": score["these_raters_only"]}
    row |= {f"majority_{name}": value for name, value in majority.items()}
    row |= {f"bootstrap_{name}": drawn.get(name) for name in ("low", "high", "reason")}
    row |= {f"mixed_{name}": mixed.get(name) for name in ("log_odds", "low", "high", "reason")}
    row |= {f"bt_{name}": strength.get(name) for name in ("log_strength", "low", "high", "tie", "reason")}
    row |= {name: agreed[name] for name in ("krippendorff_nominal", "krippendorff_ordinal", "fleiss")}
    kappa = agreed["cohen"]
    row |= {"cohen_mean": kappa["mean"], "cohen_min": kappa["low"], "cohen_max": kappa["high"]}
    row |= {"cohen_pairs": kappa["pairs"], **{name: side[name] for name in ("left", "right", "share_left")}}
    row |= {f"left_{name}": side[name] for name in ("low", "high", "p")}
    row |= {f"gain_{name}": gain.get(name) for name in ("metric", "before", "after", "difference", "low", "high")}
    return row | {
        "gain_images": gain.get("n"),
        "gain_standardised": gain.get("standardised"),
        "prediction_agreement": gain.get("agreement"),
    }
