"""Names of the released project: each is read back to the one that it was made from."""

import sqlite3
from pathlib import Path

import pytest

from annotation.exchange import harmony_app_names as names
from mlcore.catalogue.learnable import LEARNABLE
from mlcore.catalogue.methods import METHODS


@pytest.mark.parametrize("metric", LEARNABLE)
def test_every_metric_comes_back(metric: str) -> None:
    assert names.metric_of(names.metric_name(metric)) == metric


@pytest.mark.parametrize("method", METHODS)
def test_every_method_comes_back(method: str) -> None:
    assert names.method_of(names.method_name(method)) == method


def test_the_released_spelling() -> None:
    assert names.metric_name("rma") == "IoULearnableMetric"
    assert names.metric_name("complexity") == "ComplexityLearnableMetric"
    assert names.method_name("input_x_gradient") == "InputXGradientAttributor"
    assert (names.model_name("vgg16"), names.model_of("ResNet")) == ("VGG", "resnet18")
    assert names.model_of(names.model_name("sixconv")) == "sixconv"


def test_keys_are_those_of_the_released_database(test_data: Path) -> None:
    database = sqlite3.connect(f"file:{test_data}/studies/harmony_app_vgg.sqlite3?mode=ro&immutable=1", uri=True)
    for field, model in names.TABLES.items():
        rows = database.execute(f"SELECT name FROM {model.replace('.', '_')} ORDER BY id").fetchall()
        assert tuple(name for (name,) in rows) == names.KEYS[field]
