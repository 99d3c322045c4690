"""Recipes: defaults, types, bounds and the sentences for what is wrong."""

import importlib

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
)


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
    assert set(ARCHITECTURES) - {"sixconv"} == set(names)
