"""`layers` and `mask`: a real process answers, the picture is drawn, and what is refused is a sentence."""

import json
from io import StringIO

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from PIL import Image as Pictures

from mlcore.models import AttentionModule, Classifier
from tests.mlcore.runs import conftest as fixtures
from tests.mlcore.runs.asked import asked_classifier, weights
from tests.mlcore.runs.world import World

_folders, world = fixtures._folders, fixtures.world


@pytest.fixture
def classifier(world: World) -> Classifier:
    return asked_classifier(world)


@pytest.fixture
def picture(tmp_path, monkeypatch):
    """A picture of 48 × 32 in a folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bird.png"
    Pictures.fromarray(np.random.default_rng(1).integers(0, 255, (32, 48, 3), dtype=np.uint8)).save(path)
    return path


def said(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def refused(*arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        said(*arguments)
    assert caught.value.returncode != 0
    return str(caught.value)


def expected_map(path, label: int, **options) -> np.ndarray:
    """By the library, with the cut in the middle made by hand."""
    import torch
    from safetensors.torch import load

    from mlcore.attribution import explain
    from mlcore.training.classifiers import build
    from mlcore.training.weights import load_into

    model = build("sixconv", 2)
    load_into(model, load(weights()))
    values = np.asarray(Pictures.open(path).convert("RGB"))[:, 8:40] / 255
    values = (values - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    images = torch.from_numpy(values.transpose(2, 0, 1)[None].astype(np.float32))
    return explain(model.eval(), images, label, **options)[0].numpy()


def test_layers_are_listed_and_kept(classifier) -> None:
    text = said("layers", classifier.name)
    assert text.startswith("earlier: 19 layers, for a picture of 32×32 px")
    line = next(line for line in text.splitlines() if line.startswith("  features "))
    assert line.split() == ["features", "Sequential", "96", "4×4", "Grad-CAM,", "TAME"]
    assert text.splitlines()[-1] == "Start with, for TAME: features.5,features.11,features"
    told = json.loads(said("layers", str(classifier.uuid), "--json"))
    assert told["suggested"]["tame"] == ["features.5", "features.11", "features"]
    classifier.refresh_from_db()
    assert classifier.layers == told["layers"]
    assert "There is no classifier “nobody”" in refused("layers", "nobody")


def test_the_map_is_the_librarys_and_is_drawn_where_it_was_seen(classifier, picture) -> None:
    told = json.loads(said("mask", str(picture), "--label", classifier.classes[1], "--json", "--out=drawn.png"))
    assert (told["label"], told["class"]) == (1, classifier.classes[1])
    assert told["window"] == [8, 0, 40, 32]
    assert np.allclose(np.array(told["map"]), expected_map(picture, 1), atol=1e-6)
    assert sum(row["confidence"] for row in told["predictions"]) == pytest.approx(1.0, abs=1e-5)
    before, after = (np.asarray(Pictures.open(path).convert("RGB")).astype(int) for path in (picture, "drawn.png"))
    assert before.shape == after.shape
    assert np.array_equal(before[:, :8], after[:, :8])  # the classifier saw nothing of it
    assert np.abs(before[:, 8:40] - after[:, 8:40]).mean() > 5


def test_predictions_are_printed_and_the_picture_lies_here(classifier, picture) -> None:
    text = said("mask", str(picture)).splitlines()
    assert text[0] == "earlier (the only classifier)"
    assert all("%" in line for line in text[1:3])
    assert text[3].startswith("Grad-CAM of “")
    assert text[-1] == "bird_map.png"
    assert Pictures.open("bird_map.png").size == (48, 32)


def test_options_of_the_method(classifier, picture) -> None:
    told = json.loads(said("mask", str(picture), "--label=0", "--option", "layer=features.5", "--json"))
    assert told["options"] == {"layer": "features.5"}
    assert np.allclose(np.array(told["map"]), expected_map(picture, 0, layer="features.5"), atol=1e-6)
    assert told["out"] is None
    assert "samples: There is no option" in refused("mask", str(picture), "--option", "samples=3")
    assert "is no option: write key=value" in refused("mask", str(picture), "--option", "layer")


def test_a_trained_attention_is_taken_where_there_is_one(classifier, picture, tmp_path) -> None:
    from mlcore.attribution.tame import TAMEAttention
    from mlcore.training.classifiers import build

    Classifier.objects.create(
        name="later", architecture="sixconv", classes=classifier.classes, weights=classifier.weights.name
    )
    sentence = refused("mask", str(picture))
    assert "Which classifier? Name it by --classifier. There are: later, earlier." in sentence
    made = TAMEAttention.for_model(build("sixconv", 2), ["features.5", "features.11", "features"], size=32)
    row = AttentionModule(name="trained", classifier=classifier, kind="tame", sha256="0")
    row.weights.save("a.safetensors", ContentFile(made.save(tmp_path / "a.safetensors").read_bytes()), save=True)
    text = said("mask", str(picture), "--label=0").splitlines()
    assert text[0] == "earlier (the newest with a trained attention, “trained”)"
    assert text[3].startswith("TAME of “")
    told = json.loads(said("mask", str(picture), "--classifier=earlier", "--method=grad_cam", "--label=0", "--json"))
    assert told["method"] == "grad_cam"
    assert "has no trained attention module of TAME" in refused(
        "mask", str(picture), "--classifier=later", "--method=tame"
    )


def test_refusals_come_before_any_computing(classifier, picture, tmp_path) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    whole = picture.read_bytes()
    for arguments, sentence in (
        (("nowhere.png",), "There is no file “nowhere.png”"),
        ((str(text),), "text.png: The file is not a picture"),
        ((str(picture), "--label=unicorn"), "label: There is no class “unicorn”"),
        ((str(picture), "--method=magic"), "method: There is no method “magic”"),
        ((str(picture), "--out=drawn.jpg"), "does not end in .png"),
        ((str(picture), "--out=nowhere/drawn.png"), "there is no folder “nowhere”"),
        ((str(picture), "--out=bird.png"), "would write over the picture itself"),
        ((str(picture), "--out=folder.png"), "“folder.png” is a folder"),
    ):
        assert sentence in refused("mask", *arguments)
    assert not list(tmp_path.glob("*_map.png"))
    assert picture.read_bytes() == whole
    Classifier.objects.all().delete()
    assert "There is no classifier yet" in refused("mask", str(picture))
