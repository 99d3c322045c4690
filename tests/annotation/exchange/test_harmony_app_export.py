"""Pairs as harmony_app takes them: the same fields, layout and keys; and they come back."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from django.core.files.storage import default_storage
from PIL import Image as Pictures

from annotation.errors import StudyRefused
from annotation.exchange.harmony_app import read
from annotation.exchange.harmony_app_export import write_harmony_app
from annotation.exchange.harmony_app_import import import_released
from annotation.exchange.harmony_app_names import EXAMPLE, TABLES
from annotation.models import Stimulus
from mlcore.exchange.render import bilinear, load_map
from tests.annotation.pairs import Cells, make_cells

pytestmark = pytest.mark.django_db


@pytest.fixture
def cells() -> Cells:
    return make_cells(("focus", "complexity"))


def packed(cells: Cells, **values: int) -> zipfile.ZipFile:
    stream = io.BytesIO()
    assert write_harmony_app(cells.pair_sets, stream, **values) == 4
    return zipfile.ZipFile(stream)


def test_fields_layout_and_keys_are_the_released_ones(cells, test_data: Path):
    rows = json.loads(packed(cells, first_key=7001).read("fixture.json"))
    theirs = json.loads((test_data / "studies" / "harmony_app_example_fixture.json").read_text())[0]
    examples = [row for row in rows if row["model"] == EXAMPLE]
    assert [row["pk"] for row in examples] == [7001, 7002, 7003, 7004]
    ours = examples[0]
    assert list(ours) == list(theirs) == ["pk", "model", "fields"]
    assert list(ours["fields"]) == list(theirs["fields"])
    assert {name: type(value) for name, value in ours["fields"].items()} == {
        name: type(value) for name, value in theirs["fields"].items()
    }
    assert len(ours["fields"]["image"].split("/")) == len(theirs["fields"]["image"].split("/"))
    # FocusLearnableMetric is 4 in their database; what it does not know comes after its five.
    assert {row["fields"]["experiment"] for row in examples} == {theirs["fields"]["experiment"], 6} == {4, 6}
    assert {(row["fields"]["cnn_model"], row["fields"]["relevancy_method"]) for row in examples} == {(1, 1)}
    named = {(row["model"], row["pk"]): row["fields"]["name"] for row in rows if row["model"] != EXAMPLE}
    assert named[TABLES["experiment"], 6] == "ComplexityLearnableMetric"
    assert named[TABLES["dataset"], 3] == cells.pair_sets[0].image_set.name
    assert named[TABLES["cnn_model"], 1] == "VGG"


def test_pictures_are_white_to_red_and_of_one_size(cells):
    archive = packed(cells)
    fields = next(row["fields"] for row in json.loads(archive.read("fixture.json")) if row["model"] == EXAMPLE)
    pair = cells.pair_sets[0].pairs.first()
    with pair.image.file.open("rb") as stream, Pictures.open(stream) as kept:
        bare = np.asarray(kept.convert("RGB"))
    opened = {name: np.asarray(Pictures.open(io.BytesIO(archive.read(fields[name])))) for name in
              ("image", "original", "learn")}  # fmt: skip
    assert np.array_equal(opened["image"], bare)
    for name, row in (("original", pair.original), ("learn", pair.tuned)):
        shown, values = opened[name], bilinear(load_map(row), (pair.image.width, pair.image.height))
        assert shown.shape == bare.shape
        assert (shown[..., 0] == 255).all()
        assert np.array_equal(shown[..., 1], shown[..., 2])
        np.testing.assert_allclose(255 - shown[..., 1], 255 * values / (values.max() + 1e-9), atol=0.51)
    assert fields["prediction"] == "Monarch"


def test_it_comes_back_through_our_importer(cells, tmp_path):
    archive = packed(cells)
    archive.extractall(tmp_path)
    released = read([tmp_path / "fixture.json"])
    assert [example.cell for example in released.examples] == [
        (cells.pair_sets[0].image_set.name, metric, "VGG", "GradCamAttributor")
        for metric in ("FocusLearnableMetric",) * 2 + ("ComplexityLearnableMetric",) * 2
    ]
    made = import_released(released, name="back", owner=cells.owner, media=tmp_path)
    study = made.study
    assert (made.examples, made.pictures) == (4, 4)
    assert {group["metric"] for group in study.version.settings["groups"]} == {"focus", "complexity"}
    assert {trial.context["class_name"] for trial in study.trials.all()} == {"Monarch"}
    pairs = [pair for one in cells.pair_sets for pair in one.pairs.all()]
    by_path = dict(zip((example.image for example in released.examples), pairs, strict=True))
    stimuli = Stimulus.objects.filter(trial__study=study).select_related("trial__image", "explanation")
    assert len(stimuli) == 8
    for one in stimuli:
        pair = by_path[one.trial.image.name]
        sent = {"original": pair.original, "tuned": pair.tuned}[one.condition]
        values = bilinear(load_map(sent), (pair.image.width, pair.image.height))
        # To within a step of their 256 colours.
        np.testing.assert_allclose(load_map(one.explanation), values / values.max(), atol=1 / 255)


def test_nothing_and_missing_maps_are_refused(cells):
    with pytest.raises(StudyRefused, match="Choose"):
        write_harmony_app([], io.BytesIO())
    default_storage.delete(cells.original.explanations.first().shard)
    with pytest.raises(StudyRefused, match="missing"):
        write_harmony_app(cells.pair_sets, io.BytesIO())
