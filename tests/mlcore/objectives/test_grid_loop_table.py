"""The arithmetic of the grid experiment: differences image by image, and what a missing map does to them."""

from bench.grid_loop_table import ON_OTHERS, beyond, difference, differences, metric_of, verdict

LABELS = {1: {"a": 0, "b": 0, "c": 1}}
BEFORE = {"a": 0.2, "b": 0.4, "c": "zero map"}
AFTER = {"a": 0.5, "b": "zero map", "c": 0.9}


def runs(before: dict, after: dict) -> dict:
    """One seed whose maps have these values in every metric; one image of three is lost in accuracy."""
    maps = ("grad_cam", "hires_cam")
    names = ("pointing", "stochastic_pointing", "content_heat_map")

    def run(values: dict, right: float) -> dict:
        answers = {"": {"accuracy": {"a": 1.0, "b": 1.0, "c": right}}}
        return answers | {row: dict.fromkeys(names, values) for row in maps}

    return {(1, "supervised"): run(before, 1.0), (1, "grid"): run(after, 0.0)}


def test_only_images_with_both_values_count_unless_a_missing_map_is_given_a_value():
    assert difference(AFTER, BEFORE) == {"a": 0.3}
    assert difference(AFTER, BEFORE, missing=0.0) == {"a": 0.3, "b": -0.4, "c": 0.9}


def test_pointing_is_averaged_over_classes_and_the_content_heat_map_over_images():
    moved = {"a": 1.0, "b": 0.0, "c": -1.0}
    assert metric_of("pointing", moved, LABELS[1]).mean() == -0.25  # (0.5 − 1) / 2
    assert metric_of("content_heat_map", moved, LABELS[1]).mean() == 0.0


def test_a_win_by_leaving_hard_images_without_a_map_is_no_win():
    dark = runs({"a": 0.2, "b": 0.4, "c": 0.6}, {"a": 0.3, "b": "zero map", "c": "zero map"})
    assert differences(dark, LABELS, "grad_cam", "content_heat_map")[0] > 0
    assert differences(dark, LABELS, "grad_cam", "content_heat_map", missing=0.0)[0] < 0
    assert not any(holds for _, holds in verdict(dark, LABELS))


def test_the_bars_hold_where_both_measures_rise_and_say_when_accuracy_is_lost():
    found = verdict(runs({"a": 0.2, "b": 0.4, "c": 0.6}, {"a": 0.3, "b": 0.5, "c": 0.7}), LABELS)
    assert [holds for _, holds in found] == [True] * 4 + [False]


def test_what_another_images_map_gains_too_is_not_counted_as_beyond_it():
    found = runs({"a": 0.2, "b": 0.4, "c": "zero map"}, {"a": 0.5, "b": 0.6, "c": 0.9})
    names = ("pointing", "stochastic_pointing", "content_heat_map")
    for objective, others in (("supervised", {"a": 0.1, "b": 0.1, "c": 0.1}), ("grid", {"a": 0.4, "b": 0.0, "c": 0.1})):
        found[1, objective][ON_OTHERS] = dict.fromkeys(names, others)
    moved = beyond(found, 1, "content_heat_map")
    assert set(moved) == {"a", "b"}
    assert abs(moved["a"]) < 1e-12  # 0.3 more, and so has the other image's map
    assert abs(moved["b"] - 0.3) < 1e-12
