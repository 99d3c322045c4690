"""All figures as one dictionary: its shape, its plainness, and what must not change it."""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from annotation.statistics.alignment import csv_tables, latex
from annotation.statistics.alignment import report as module
from annotation.statistics.alignment.gain import Gain
from annotation.statistics.alignment.report import Cell, report
from annotation.statistics.alignment.rows import Rows, rows_of
from annotation.statistics.alignment.words import sentences
from tests.annotation.statistics.alignment.said import crowd, rows, swapped

CELL_KEYS = {
    "cell", "metric", "method", "classifier", "original", "tuned", "people", "images", "answers", "counts", "shares",
    "alignment", "p", "p_holm", "declared", "raters", "images_table", "images_table_omitted", "majority", "bootstrap",
    "mixed_model", "bradley_terry", "agreement", "position", "median_seconds", "text",
}  # fmt: skip
OPTIONS = {"draws": 100}


def of(given: Rows, *, gains: dict[str, Gain] | None = None, **options: Any) -> dict[str, Any]:
    cells = [Cell(name, "rma", "grad_cam", "VGG") for name in given.cells]
    return report(given, cells, gains or {}, ["human"], OPTIONS | options)


def plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and plain(one) for key, one in value.items())
    if isinstance(value, list):
        return all(plain(one) for one in value)
    return value is None or type(value) in (bool, int, float, str)


def test_the_shape_and_nothing_of_numpy():
    given = crowd()
    gain = Gain("rma", given.images, [0.1] * 9, np.linspace(0.1, 0.5, 9).tolist(), True, 0.98)
    found = of(given, gains={"cell 0": gain})
    assert set(found) == {
        "version", "kinds", "people", "answers", "images", "cells", "overall", "gain_and_preference", "text"
    }  # fmt: skip
    assert (found["version"], found["kinds"], found["people"]) == (1, ["human"], {"human": 12})
    assert (found["answers"], found["images"]) == (216, 9)
    assert [set(cell) for cell in found["cells"]] == [CELL_KEYS | {"gain"}] * 2
    assert set(found["overall"]) == CELL_KEYS
    one, other = found["cells"]
    assert set(one["alignment"]) == {"mean", "low", "high", "raters", "these_raters_only"}
    assert set(one["raters"][0]) == {"rater", "original", "neither", "tuned", "answers", "score"}
    assert set(one["images_table"][0]) == {"cell", "image", "original", "neither", "tuned", "majority"}
    assert set(one["majority"]) == {"tuned", "original", "neither", "tied", "share_tuned", "low", "high", "p"}
    assert set(one["bootstrap"]) == {"low", "high", "draws", "seed"}
    assert {"log_odds", "low", "high", "n", "method"} <= set(one["mixed_model"])
    assert {"log_strength", "low", "high", "tie"} <= set(one["bradley_terry"])
    assert {"krippendorff_nominal", "krippendorff_ordinal", "fleiss", "cohen"} <= set(one["agreement"])
    assert {"mean", "low", "high", "pairs"} <= set(one["agreement"]["cohen"])
    assert set(one["position"]) == {"left", "right", "share_left", "low", "high", "p"}
    assert {"metric", "before", "after", "difference", "low", "high", "n", "agreement", "higher_is_better"} <= set(
        one["gain"]
    )
    assert (one["gain"]["agreement"], other["gain"]) == (0.98, None)
    assert set(found["gain_and_preference"]) == {"reason"}
    assert (one["metric"], found["overall"]["method"], found["overall"]["cell"]) == ("rma", "grad_cam", "all cells")
    assert plain(found)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_intervals_of_other_ways_are_near_that_of_students_t():
    """Not a test of their formulas, but that all speak of the same thing: people and images of one study."""
    (cell,) = of(crowd(people=30, images=20, cells=1), draws=400)["cells"]
    low, high = cell["alignment"]["low"], cell["alignment"]["high"]
    assert cell["bootstrap"]["low"] < cell["alignment"]["mean"] < cell["bootstrap"]["high"]
    assert 0.8 < (cell["bootstrap"]["high"] - cell["bootstrap"]["low"]) / (high - low) < 3
    assert min(low, cell["mixed_model"]["low"], cell["bradley_terry"]["low"]) > 0


def test_nobody_has_answered():
    found = of(rows_of([], cells=["a", "b"]))
    assert plain(found)
    json.dumps(found, allow_nan=False)
    assert found["text"] == ["Nobody has answered yet."]
    assert (found["people"], found["answers"], found["cells"][0]["alignment"]["mean"]) == ({}, 0, None)
    assert set(found["cells"][0]["bradley_terry"]) == {"reason"}


ANSWERS = st.lists(
    st.tuples(
        st.sampled_from("abcdefghijkl"), st.sampled_from("uvw"), st.sampled_from("xy"), st.integers(-1, 1),
        st.integers(-1, 1), st.integers(-1, 9),
    ),
    max_size=24, unique_by=lambda one: one[:3],
)  # fmt: skip


@hypothesis.given(ANSWERS)
@hypothesis.settings(deadline=None, max_examples=60)
def test_whatever_was_answered_there_is_a_report(answers):
    found = of(rows_of(answers, cells="xy"), draws=20)
    assert plain(found)
    json.dumps(found, allow_nan=False)
    assert sum(cell["answers"] for cell in found["cells"]) == found["answers"] == len(answers)
    assert csv_tables.cells(found).count("\n") == 4
    assert latex.table(found)


def test_one_answer():
    found = of(rows({"a": "t"}))
    assert plain(found)
    assert found["text"] == [
        "Alignment of “tuned” over “original”: +1.00 (1 person, 1 image; these raters only).",
        "Of 1 answer, 100.0% chose the tuned map, 0.0% the original and 0.0% neither.",
    ]


def test_the_sentences():
    found = of(rows({"a": "ttno", "b": "tttt", "c": "nttt", "d": "ttnn", "e": "tttn"}))
    # Scores 1/4, 1, 3/4, 1/2, 3/4: mean 0.65, s² = 0.08125, half = 2.776445105 · √(0.08125/5) = 0.353930.
    assert found["text"] == [
        "Alignment of “tuned” over “original”: +0.65 (95 % interval +0.30 to +1.00, Student's t over 5 people, "
        "4 images): the tuned maps are preferred.",
        "Of 20 answers, 70.0% chose the tuned map, 5.0% the original and 25.0% neither.",
    ]
    (cell,) = found["cells"]
    assert cell["text"] == found["text"]
    named = sentences(cell | {"original": "phase 1", "tuned": "phase 2"}, {"human": 5})
    assert named[0].endswith("the maps of “phase 2” are preferred.")
    assert named[1] == "Of 20 answers, 70.0% chose “phase 2”, 5.0% “phase 1” and 25.0% neither."
    for p_holm, direction in ((0.049, "the tuned maps are preferred."), (0.28, "declared cells (Holm's p = 0.28).")):
        assert sentences(cell | {"p_holm": p_holm}, {"human": 5})[0].endswith(direction)
    table = {"a": "ttno", "b": "tttt", "c": "ooot"}
    kinds = {"a": "simulated", "b": "imported", "c": "imported"}
    few = replace(rows(table), kinds=tuple(kinds[name] for name in "abc"))
    assert "Student's t over 3 raters (2 imported, 1 simulated), 4 images; these raters only)" in of(few)["text"][0]
    assert of(few)["people"] == {"imported": 2, "simulated": 1}
    assert "neither is clearly preferred" in of(few)["text"][0]
    imported = replace(few, kinds=("imported",) * 3)
    assert "over 3 imported raters" in of(imported)["text"][0]
    against = of(rows(dict.fromkeys("abcde", "oooon") | {"f": "ooooo"}))
    assert against["text"][0].endswith("the original maps are preferred.")


def test_holm_is_over_declared_cells():
    given = crowd(people=6, cells=3, tuned=0.3)
    cells = [Cell(name, declared=name != "cell 2") for name in given.cells]
    found = report(given, cells, {}, ["human"], OPTIONS)["cells"]
    ps = sorted(cell["p"] for cell in found[:2])
    assert sorted(cell["p_holm"] for cell in found[:2]) == pytest.approx([2 * ps[0], max(2 * ps[0], ps[1])])
    assert (found[2]["p_holm"], found[2]["declared"]) == (None, False)


def test_cells_must_be_described():
    with pytest.raises(ValueError, match="Cells"):
        report(crowd(), [Cell("cell 0")], {}, ["human"], {})


def test_a_raters_own_score_over_all_cells():
    # a: tuned in the one cell twice, original in the other once: (2 − 1)/3; not the mean of 1 and −1.
    found = of(rows_of([("a", "x", "1", 1), ("a", "y", "1", 1), ("a", "x", "2", -1), ("b", "x", "2", 0)]))
    assert found["overall"]["alignment"]["mean"] == pytest.approx((1 / 3 + 0) / 2)
    assert found["overall"]["people"] == 2
    assert [cell["people"] for cell in found["cells"]] == [1, 2]


def test_with_and_without_raters():
    given = crowd()
    found = of(given, without=["p00", "p01", "nobody"])
    rest = of(given.without(["p00", "p01"]))
    second = found["without"]
    assert (second["raters"], second["unknown"]) == (["p00", "p01"], ["nobody"])
    assert second["people"] == {"human": 10}
    for key in ("alignment", "p", "p_holm", "counts"):
        assert [cell[key] for cell in second["cells"]] == [cell[key] for cell in rest["cells"]]
    assert second["overall"]["alignment"] == rest["overall"]["alignment"]
    assert {key: value for key, value in found.items() if key != "without"} == of(given)


def test_too_many_images_are_counted_and_left_out(monkeypatch):
    monkeypatch.setattr(module, "MOST_IMAGES", 9)
    found = of(crowd())
    assert [len(cell["images_table"]) for cell in found["cells"]] == [9, 9]
    assert (found["overall"]["images_table"], found["overall"]["images_table_omitted"]) == ([], 18)


def test_the_order_of_answers_changes_nothing():
    given = crowd()
    order = np.random.default_rng(1).permutation(len(given))
    one, other = of(given), of(given.where(order))
    models = [[cell.pop("mixed_model") for cell in (*found["cells"], found["overall"])] for found in (one, other)]
    assert one == other
    for first, second in zip(*models, strict=True):  # sums of floats in another order
        assert first.pop("method") == second.pop("method")
        assert first == pytest.approx(second, abs=1e-4)


def test_when_the_maps_change_places_signs_turn():
    one, other = of(crowd(), draws=100), of(swapped(crowd()), draws=100)
    for first, second in zip((*one["cells"], one["overall"]), (*other["cells"], other["overall"]), strict=True):
        assert second["counts"] == {
            "original": first["counts"]["tuned"], "neither": first["counts"]["neither"],
            "tuned": first["counts"]["original"],
        }  # fmt: skip
        for name in ("alignment", "bootstrap", "mixed_model", "bradley_terry"):
            near = pytest.approx(-first[name]["low"], abs=0.01 if name == "mixed_model" else 1e-9)
            assert second[name]["high"] == near
        assert (second["p"], second["p_holm"]) == pytest.approx((first["p"], first["p_holm"]))


def test_loading_these_modules_loads_nothing_heavy():
    code = (
        "import sys;"
        "from annotation.statistics.alignment import csv_tables, latex, report, rows;"
        "heavy = {'django', 'scipy', 'pandas', 'statsmodels', 'torch', 'matplotlib'};"
        "print(heavy & {name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "set()"), done.stderr
