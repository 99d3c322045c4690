"""Correspondence networks by runs: trained beside a classifier, registered with their file, refused by their fields."""

import hashlib
import json

import pytest
from django.core.management import CommandError, call_command

from mlcore.catalogue import RecipeError, clean, differences
from mlcore.models import AuditEntry, Classifier, CorrespondenceNetwork, Run, RunMetric, Score
from mlcore.runs.correspond_networks import file_of, network_for
from mlcore.runs.start import RunRefused
from tests.mlcore.runs.world import make_classifier, make_supervision, make_world, start

TINY = {
    "objective": "correspondence", "layer": "features.8", "width": 8, "key_points": 4, "epochs": 1, "batch_size": 4,
    "device": "cpu",
}  # fmt: skip


def refused(world, classifier, **changes) -> dict[str, str]:
    recipe = TINY | changes.pop("recipe", {})
    with pytest.raises(RunRefused) as caught:
        start(world, classifier=classifier, recipe=recipe, **changes)
    return caught.value.errors


def test_the_objective_brings_the_published_settings() -> None:
    recipe = clean("train", {"objective": "correspondence"})
    wanted = {
        "width": 256, "batch_size": 20, "optimizer": "adam", "learning_rate": 1e-3, "image_size": 240,
        "select": "best_score", "key_points": 20, "layer": "", "warp_strength": 1.0,
    }  # fmt: skip
    assert {name: recipe[name] for name in wanted} == wanted
    said = {line.field.name: dict(line.field.choices) for line in differences("train", recipe)}
    assert said["select"]["best_score"] == "the highest PCK@0.1"
    with pytest.raises(RecipeError, match="its highest PCK@0"):
        clean("train", {"objective": "correspondence", "select": "best_accuracy"})


def test_it_is_refused_by_its_field(world) -> None:
    classifier = make_classifier(world)
    assert refused(world, None)["classifier"] == "A correspondence network reads a trained classifier: choose one."
    drawn = make_supervision(world)
    assert "leave people's maps out" in refused(world, classifier, supervision=drawn)["supervision"]
    assert "“validation”" in refused(make_world("two", {"train": 4}), classifier)["partition"]


@pytest.mark.slow
def test_a_network_is_trained_on_key_points_by_a_command(world, reference, tmp_path, capsys) -> None:
    classifier = make_classifier(world, weights=reference)
    images = world.part("train")
    files = {}
    for name, some in (("train", images[:3]), ("validation", images[3:5])):
        files[name] = tmp_path / f"{name}.jsonl"
        lines = [
            {"source": one.file.path, "target": one.file.path, "points": [[3, 4], [20, 9]], "true": [[3, 4], [20, 9]]}
            for one in some
        ]
        files[name].write_text("\n".join(json.dumps(one) for one in lines), "utf-8")
    options = {"layer": "features.8", "width": 8, "epochs": 1, "image_size": 32}
    call_command(
        "train_correspondence", classifier=str(classifier.uuid), pairs=files["train"], name="by hand",
        validation=files["validation"], **options,
    )  # fmt: skip
    made = CorrespondenceNetwork.objects.get()
    assert (made.name, made.layer, made.classifier, made.run) == ("by hand", "features.8", classifier, None)
    assert made.settings == {"channels": 32, "width": 8, "side": 15, "size": 32}
    assert hashlib.sha256(made.weights.open().read()).hexdigest() == made.sha256
    assert "on the validation pairs" in capsys.readouterr().out
    assert AuditEntry.objects.filter(action="network.make").count() == 1
    with pytest.raises(CommandError, match="does not exist"):
        call_command(
            "train_correspondence", classifier=str(classifier.uuid), pairs=tmp_path / "none.csv", name="x",
            validation=files["validation"],
        )  # fmt: skip
    assert CorrespondenceNetwork.objects.count() == 1


@pytest.mark.slow
def test_a_network_is_trained_and_registered_and_the_classifier_stays(world, reference) -> None:
    for image in world.part("train"):
        image.labels.all().delete()  # no label is needed
    classifier = make_classifier(world, weights=reference)
    call_command(
        "train", "--image-set", "scenes", "--classifier", str(classifier.uuid), "--name", "points", "--wait",
        *(part for key, value in TINY.items() for part in ("--option", f"{key}={value}")),
    )  # fmt: skip
    run = Run.objects.get()
    assert run.state == Run.State.SUCCEEDED, run.reason
    made = run.made_network
    assert (made.name, made.layer, made.classifier) == ("points", "features.8", classifier)
    assert made.settings["width"] == 8
    assert made.settings["side"] == 15
    assert hashlib.sha256(made.weights.open().read()).hexdigest() == made.sha256 == run.result["weights_sha256"]
    assert not Classifier.objects.filter(run=run).exists()
    audit = AuditEntry.objects.get(action="network.make")
    assert (audit.object_id, audit.after["layer"]) == (str(made.uuid), "features.8")
    scores = {score.metric: score for score in Score.objects.filter(run=run, part="validation")}
    assert set(scores) == {"pck", "pck_cosine"}
    assert {score.classifier for score in scores.values()} == {classifier}
    assert RunMetric.objects.filter(run=run, part="validation", name="pck").count() == 2
    assert network_for(classifier, "chm_corr") == made == network_for(classifier, "chm_corr", str(made.uuid)[:8])
    assert file_of(made).is_file()
    assert CorrespondenceNetwork.objects.count() == 1
