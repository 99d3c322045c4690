"""Recipes: defaults, types, bounds and the sentences for what is wrong."""

import importlib
from dataclasses import replace

import pytest

from mlcore.catalogue import (
    ARCHITECTURES,
    METHODS,
    METRICS,
    OBJECTIVES,
    RecipeError,
    clean,
    differences,
    fields_for,
    own_options,
    register,
    unregister,
    upgrade,
)
from mlcore.catalogue.tuning import gradient_norm, needs_objects
from mlcore.catalogue.tuning_form import follow


def test_an_empty_recipe_is_the_defaults() -> None:
    recipe = clean("train", {})
    assert recipe["objective"] == "supervised"
    assert recipe["learning_rate"] == 1e-4
    assert "attention_weight" not in recipe
    assert all(line.is_default for line in differences("train", recipe))


def test_the_objective_brings_its_own_fields() -> None:
    recipe = clean("train", {"objective": "res"})
    assert recipe["eta"] == 0.1
    assert {field.name for field in fields_for("train", {"objective": "res"})} >= {"eta", "smoothing"}


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"epochs": "many"}, "epochs", "not a number"),
        ({"epochs": 1.5}, "epochs", "whole number"),
        ({"epochs": 0}, "epochs", "below the smallest allowed value, 1"),
        ({"learning_rate": "nan"}, "learning_rate", "not a finite number"),
        ({"learning_rate": 100}, "learning_rate", "above the largest"),
        ({"flip": "perhaps"}, "flip", "neither yes nor no"),
        ({"select": "luckiest"}, "select", "not one of last"),
        ({"epoch": 3}, "epoch", "no option"),
        ({"architecture": "resnet5000"}, "architecture", "torchvision classifier"),
        ({"objective": "gradia", "attention_weight": 0}, "attention_weight", "teaches nothing"),
    ],
)
def test_a_bad_value_is_named_with_its_field(values: dict, field: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        clean("train", values)
    assert list(caught.value.errors) == [field]
    assert words in caught.value.errors[field]


def test_every_bad_field_is_named_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        clean("train", {"epochs": 0, "batch_size": "x"})
    assert set(caught.value.errors) == {"epochs", "batch_size"}


def test_text_from_a_form_or_command_line_becomes_the_fields_type() -> None:
    recipe = clean("train", {"epochs": "3", "flip": "no", "learning_rate": "0.01"})
    assert (recipe["epochs"], recipe["flip"], recipe["learning_rate"]) == (3, False, 0.01)


def test_several_methods_bring_their_own_fields_under_their_names() -> None:
    recipe = clean("explain", {"methods": "rise, grad_cam,rise", "rise.masks": "500"})
    assert recipe["methods"] == ["rise", "grad_cam"]
    assert (recipe["rise.masks"], recipe["rise.cells"], recipe["grad_cam.layer"]) == (500, 7, "")
    assert clean("explain", {})["methods"] == ["grad_cam"]
    groups = {field.group for field in fields_for("explain", {"methods": ["rise"]}) if "." in field.name}
    assert groups == {METHODS["rise"].title}
    assert own_options(recipe, "rise")["masks"] == 500
    assert "layer" not in own_options(recipe, "grad_cam")  # empty: the method's own default
    lines = {line.field.name: line.is_default for line in differences("explain", recipe)}
    assert (lines["methods"], lines["rise.masks"], lines["rise.cells"]) == (False, False, True)
    assert all(line.is_default for line in differences("explain", clean("explain", {})))


@pytest.mark.parametrize(
    ("kind", "values", "field", "words"),
    [
        ("explain", {"methods": "grad_cam,luck"}, "methods", "“luck” is not one of grad_cam"),
        ("explain", {"methods": []}, "methods", "Choose at least one"),
        ("explain", {"methods": ["grad_cam"], "rise.masks": 3}, "rise.masks", "no option"),
        ("explain", {"methods": "rise", "rise.masks": 0}, "rise.masks", "below the smallest"),
        ("evaluate", {"method": "rise"}, "method", "not one of grad_cam, hires_cam"),
        ("score", {}, "metrics", "Choose at least one"),
        ("score", {"metrics": "accuracy"}, "metrics", "not one of"),
        ("score", {"metrics": "pointing", "tolerance": -1}, "pointing.tolerance", "below the smallest"),
    ],
)
def test_a_bad_choice_is_named(kind: str, values: dict, field: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        clean(kind, values)
    assert list(caught.value.errors) == [field]
    assert words in caught.value.errors[field]


def test_a_recipe_of_one_method_is_brought_up_to_date() -> None:
    old = {"method": "hires_cam", "layer": "features", "preset": "gradia", "part": "test", "image_size": 32}
    new = clean("explain", old)
    assert new == clean("explain", new)
    assert new["methods"] == ["hires_cam"]
    assert (new["hires_cam.layer"], new["hires_cam.preset"], new["part"]) == ("features", "gradia", "test")
    assert not {"method", "layer", "preset"} & set(new)
    assert {line.field.name for line in differences("explain", old) if not line.is_default} == {
        "methods", "hires_cam.layer", "hires_cam.preset", "part", "image_size",
    }  # fmt: skip
    # A plain name holds for every chosen one that has it, unless one says otherwise.
    both = clean("score", {"metrics": "pointing,stochastic_pointing", "tolerance": 3, "pointing.tolerance": 0})
    assert (both["pointing.tolerance"], both["stochastic_pointing.tolerance"]) == (0, 3)
    assert upgrade("evaluate", {"method": "grad_cam"}) == {"method": "grad_cam"}


def test_what_a_plug_in_brings_can_be_chosen() -> None:
    register(replace(METHODS["centre"], name="corner"))
    try:
        assert clean("explain", {"methods": "corner"})["corner.width"] == 0.25
    finally:
        unregister("corner")
    with pytest.raises(RecipeError):
        clean("explain", {"methods": "corner"})


def test_differences_mark_what_is_not_default() -> None:
    changed = [line.field.name for line in differences("train", clean("train", {"epochs": 3})) if not line.is_default]
    assert changed == ["epochs"]


@pytest.mark.parametrize("registry", [METHODS, METRICS, OBJECTIVES])
def test_every_spec_names_a_class_that_exists(registry: dict) -> None:
    for name, spec in registry.items():
        module, _, attribute = spec.path.rpartition(".")
        assert name == spec.name
        assert isinstance(getattr(importlib.import_module(module), attribute), type), spec.path


def test_architectures_are_the_ones_torchvision_has() -> None:
    from mlcore.training.vision import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    own = {"sixconv", *(f"resnet{layers}_max_pool" for layers in (18, 34, 50, 101, 152))}
    assert set(ARCHITECTURES) - own == set(names)


def test_a_run_that_tunes_for_a_metric_has_the_published_settings_as_its_defaults() -> None:
    recipe = clean("train", {"objective": "harmony"})
    published = {
        "batch_size": 8, "learning_rate": 3e-5, "weight_decay": 0.0, "optimizer": "adam", "max_steps": 20_000,
        "evaluate_steps": 50, "evaluate_batches": 11, "select": "best_score", "agreement_guard": 0.95, "flip": False,
    }  # fmt: skip
    assert {name: recipe[name] for name in published} == published
    assert all(line.is_default for line in differences("train", recipe) if line.field.name != "objective")
    masks = clean("train", {"objective": "harmony", "metric": "rma"})
    assert (masks["learning_rate"], masks["max_steps"], masks["epochs"]) == (3e-6, 0, 100)
    assert (masks["evaluate_steps"], masks["evaluate_batches"]) == (20, 6)
    assert clean("train", {"objective": "harmony", "metric": "rma", "epochs": 3})["epochs"] == 3


def test_what_tuning_brought_leaves_other_runs_as_they_were() -> None:
    recipe = clean("train", {})
    new = ("gradient_norm", "max_steps", "evaluate_steps", "evaluate_batches", "guard_patience")
    assert [recipe[name] for name in new] == [0, 0, 0, 0, 0]
    assert gradient_norm({"objective": "supervised"}) == 0
    assert gradient_norm({"objective": "supervised", "gradient_norm": 2.0}) == 2
    assert gradient_norm({"objective": "harmony", "metric": "rma", "gradient_norm": 0.0}) == 1
    assert gradient_norm({"objective": "harmony", "metric": "focus"}) == 0


@pytest.mark.parametrize(
    ("objective", "select"),
    [
        ("harmony", "best_accuracy"),
        ("supervised", "best_score"),
        ("tame", "best_accuracy"),
        ("tame", "best_attention_iou"),
    ],
)
def test_a_score_chooses_where_there_is_one(objective: str, select: str) -> None:
    with pytest.raises(RecipeError) as caught:
        clean("train", {"objective": objective, "select": select})
    assert list(caught.value.errors) == ["select"]


@pytest.mark.parametrize(
    ("metric", "options", "needed"),
    [
        ("rma", "", True),
        ("focus", "", False),
        ("combined", "", True),
        ("combined", "parts=focus=0.01, complexity=0.1", False),
        ("combined", "parts=focus=0.01, rma=0.1", True),
    ],
)
def test_objects_are_asked_for_where_a_metric_looks_at_them(metric: str, options: str, needed: bool) -> None:
    assert needs_objects({"objective": "harmony", "metric": metric, "metric_options": options}) is needed
    assert not needs_objects({"objective": "supervised", "metric": metric})


def test_options_of_the_metric_are_checked_before_the_run() -> None:
    assert clean("train", {"objective": "harmony", "metric": "combined", "metric_options": "parts=focus=0.01"})
    with pytest.raises(RecipeError) as caught:
        clean("train", {"objective": "harmony", "metric_options": "colour=blue"})
    assert "has no option “colour”" in caught.value.errors["metric_options"]


def test_a_form_takes_the_defaults_of_the_objective_that_was_chosen_anew() -> None:
    shown = {"objective": "harmony", "metric": "rma", "learning_rate": "0.0001", "epochs": "7", "flip": "yes"}
    shown |= {"batch_size": "32", "select": "best_accuracy", "max_steps": "20000"}
    assert follow(shown) == {"objective": "harmony", "metric": "rma", "epochs": "7"}


def test_a_trained_attention_has_the_published_settings_as_its_defaults() -> None:
    recipe = clean("train", {"objective": "tame"})
    published = {
        "epochs": 8, "batch_size": 32, "optimizer": "sgd", "nesterov": True, "momentum": 0.95, "learning_rate": 1e-3,
        "weight_decay": 5e-4, "schedule": "one_cycle", "resize": "crop", "random_crop": True, "flip": True,
        "select": "last", "variant": "default", "preset": "default", "layers": "",
    }  # fmt: skip
    assert {name: recipe[name] for name in published} == published
    assert all(line.is_default for line in differences("train", recipe) if line.field.name != "objective")
    chosen = next(field for field in fields_for("train", {"objective": "tame"}) if field.name == "select")
    assert dict(chosen.choices)["best_score"] == "the lowest average drop at 50 %"
    assert follow(recipe | {"objective": "supervised", "learning_rate": 0.02})["learning_rate"] == 0.02
    assert not {"nesterov", "schedule", "random_crop"} & set(follow(recipe | {"objective": "supervised"}))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"layers": "layer4"}, "2 to 4 layers, not 1"),
        ({"layers": "a,b,c,d,e"}, "2 to 4 layers, not 5"),
        ({"layers": "a,,b"}, "a layer of no name"),
        ({"layers": "a, b", "variant": "l_cam"}, "L-CAM reads one layer, not 2"),
    ],
)
def test_layers_that_cannot_be_are_named(values: dict, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        clean("train", {"objective": "tame"} | values)
    assert list(caught.value.errors) == ["layers"]
    assert words in caught.value.errors["layers"]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"low": 1.0, "high": 0.1}, "high"),
        ({"steps": 1}, "steps"),
        ({"beta": 1.0}, "beta"),
        ({"stop_at": 1.0}, "stop_at"),
        ({"optimizer": "sgd", "nesterov": True, "momentum": 0}, "nesterov"),
    ],
)
def test_a_learning_rate_test_that_cannot_be_is_named(values: dict, field: str) -> None:
    with pytest.raises(RecipeError) as caught:
        clean("lr_test", values)
    assert list(caught.value.errors) == [field]


def test_a_learning_rate_test_has_the_recipe_of_a_training_run_and_its_range() -> None:
    recipe = clean("lr_test", {"objective": "tame"})
    ranged = {"low": 1e-8, "high": 10.0, "beta": 0.0, "stop_at": 4.0, "steps": 0}
    assert {name: recipe.pop(name) for name in ranged} == ranged
    assert recipe == clean("train", {"objective": "tame"})


def test_the_same_choices_in_another_order_are_the_default() -> None:
    usual = next(field.default for field in fields_for("report") if field.name == "metrics")
    lines = {line.field.name: line for line in differences("report", {"metrics": list(reversed(usual))})}
    assert lines["metrics"].is_default
    lines = {line.field.name: line for line in differences("report", {"metrics": list(usual[:-1])})}
    assert not lines["metrics"].is_default
