"""Explain and score runs by the real process, from the command line to the figures."""

import hashlib
import json
from io import StringIO

import numpy as np
import pytest
import torch
from django.core.management import CommandError, call_command
from PIL import Image as Picture

from mlcore import metrics
from mlcore.attribution import METHODS
from mlcore.exchange.shards import load_map
from mlcore.metrics.ceiling import ceiling
from mlcore.models import Classifier, ExplanationSet, Prediction, Run, Score
from mlcore.runs.explanation_sets import sets_of
from mlcore.runs.perform import perform
from mlcore.training.classifiers import build
from tests.mlcore.runs.maps import add_drawings, add_maps
from tests.mlcore.runs.world import make_classifier, start

pytestmark = pytest.mark.slow
POOL = ["--image-set=scenes", "--part=annotation_pool", "--option=device=cpu"]


@pytest.fixture
def classifier(world, reference) -> Classifier:
    made = make_classifier(world, weights=reference)
    made.sha256 = hashlib.sha256(reference).hexdigest()
    made.save()
    return made


def said(capsys, *arguments: str) -> str:
    """What a command prints on standard output, and nothing else does."""
    out = StringIO()
    call_command(*arguments, stdout=out)
    assert capsys.readouterr().out == ""
    return out.getvalue()


def test_several_methods_are_explained_and_scored(world, classifier, capsys) -> None:
    pool = world.part("annotation_pool")
    earlier = add_maps(classifier, pool[:1], "earlier")
    told = said(
        capsys, "explain", *POOL, "--classifier=earlier", "--methods=grad_cam,centre", "--target=true", "--wait"
    )
    run = Run.objects.get(kind="explain")
    assert "4 maps, 0 were there" in told
    cam, centre = run.explanation_sets.order_by("pk")
    assert (cam.method, centre.method) == ("grad_cam", "centre")
    assert Prediction.objects.filter(classifier=classifier, image__in=pool).count() == 4
    assert (run.step, run.total_steps) == (8, 8)
    model = build("sixconv", 2, weights=classifier.weights.path).eval()
    pictures = np.stack([np.asarray(Picture.open(image.file.path)) for image in pool])
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = ((torch.from_numpy(pictures) / 255 - mean) / deviation).permute(0, 3, 1, 2)
    labels = torch.tensor([image.labels.get().index for image in pool])
    maps = {}
    for one in (cam, centre):
        rows = {row.image_id: row for row in one.explanations.all()}
        maps[one.method] = torch.from_numpy(np.stack([load_map(rows[image.pk]) for image in pool]))
        assert torch.allclose(maps[one.method], METHODS[one.method](model).explain(images, labels), atol=1e-5)
        assert {row.image_id: row.target for row in rows.values()} == dict(
            zip([image.pk for image in pool], labels.tolist(), strict=True)
        )

    again = perform(
        start(world, "explain", classifier=classifier,
              recipe={"methods": "grad_cam,layer_cam", "target": "true", "device": "cpu"}).uuid,
        worker_name="here:1",
    )  # fmt: skip
    assert again.state == "succeeded", again.reason + again.log
    done = again.result["summary"]["methods"]
    assert (done["grad_cam"]["skipped"], done["grad_cam"]["maps"], done["layer_cam"]["maps"]) == (4, 0, 4)
    assert cam in again.explanation_sets.all()

    drawn = add_drawings(world, pool[1:3])
    told = said(
        capsys, "score", *POOL, "--sets", str(cam.uuid)[:8], str(centre.uuid), "--human-maps=drawn",
        "--metrics=content_heat_map,pointing,average_drop,spearman", "--option=pointing.tolerance=2",
        "--wait", "--json",
    )  # fmt: skip
    document = json.loads(told)
    run = Run.objects.get(kind="score")
    assert (document["run"], document["state"], document["images"]) == (str(run.uuid), "succeeded", 4)
    assert [one["method"] for one in document["sets"]] == ["grad_cam", "centre"]
    names = [str(image.uuid) for image in pool]
    masks = [torch.from_numpy(np.asarray(Picture.open(image.masks.get().file.path)) > 0) for image in pool]
    codes = torch.tensor([torch.nan, 1.0, 0.0])
    people = [
        [codes[torch.from_numpy(np.asarray(Picture.open(row.map.path)).astype(np.int64))] for row in rows]
        for rows in (drawn.maps.filter(image=image) for image in pool[1:3])
    ]
    for one in document["sets"]:
        heat, found = maps[one["method"]], one["scores"]
        expected = {
            "content_heat_map": metrics.score("content_heat_map", heat, names=names, masks=masks),
            "pointing": metrics.score("pointing", heat, names=names, masks=masks, classes=labels, tolerance=2),
            "average_drop": metrics.score("average_drop", heat, images=images, targets=labels, model=model),
            "spearman": metrics.score("spearman", heat[1:3], names=names[1:3], people=people),
        }
        for name, value in expected.items():
            for key in ("value", "low", "high"):
                what = (one["method"], name, key)
                assert (found[name][key] is None) == (value[key] is None), what
                assert value[key] is None or found[name][key] == pytest.approx(value[key], rel=1e-4, abs=1e-4), what
            assert found[name]["n"] == value["n"]
        assert found["spearman"]["left_out"] == {"no person's map": 2} | expected["spearman"]["left_out"]
        row = Score.objects.get(run=run, explanation_set__uuid=one["set"], metric="content_heat_map")
        assert row.per_image == pytest.approx(expected["content_heat_map"]["per_image"], abs=1e-5)
        assert (row.part, row.partition, row.classifier) == ("annotation_pool", world.partition, classifier)
    between = ceiling("spearman", dict(zip(names[1:3], people, strict=True)))
    assert document["ceiling"]["spearman"]["value"] == pytest.approx(between["value"])
    assert set(document["ceiling"]["spearman"]["share"]) == {str(cam.uuid), str(centre.uuid)}
    assert run.result["ceiling"]["spearman"]["n"] == 2
    assert earlier not in run.explanation_sets.all()


def test_the_command_line_refuses_in_sentences(world, db) -> None:
    classifier = make_classifier(world)
    maps = add_maps(classifier, world.part("annotation_pool"))

    def refused(*arguments: str) -> str:
        with pytest.raises(CommandError) as caught:
            call_command("score", "--image-set=scenes", *arguments, stdout=StringIO())
        return str(caught.value)

    assert "add --wait" in refused("--metrics=pointing", "--json")
    assert "leave out --classifier" in refused("--metrics=pointing", "--classifier=earlier")
    assert refused().startswith("metrics: Choose at least one")
    assert refused("--metrics=luck").startswith("metrics: “luck” is not one of")
    assert refused("--metrics=spearman").startswith("human_maps: Choose the people's maps")
    assert "There is no explanation set “abcdef”" in refused("--metrics=pointing", "--sets", "abcdef")
    assert "There is no human map set yet" in refused("--metrics=spearman", "--human-maps=x")
    out = StringIO()
    call_command("score", "--image-set=scenes", "--metrics=pointing,complexity", stdout=out)
    run = Run.objects.get()
    assert out.getvalue() == f"{run.uuid} queued: scenes, pointing,complexity\n"
    assert list(run.explanation_sets.all()) == [maps]
    with pytest.raises(CommandError, match="trained attention module"):
        call_command("explain", "--image-set=scenes", "--classifier=earlier", "--methods=grad_cam,tame")


def test_the_table_says_what_was_left_out() -> None:
    from mlcore.management.commands.score import table

    found = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 8, "left_out": {"zero map": 2}}
    told = {
        "metrics": [{"metric": "pointing", "higher_is_better": True}, {"metric": "emd", "higher_is_better": False}],
        "sets": [
            {"classifier_name": "c", "method": "lrp", "target": "true", "set": "12345678-9",
             "scores": {"pointing": found, "emd": None}},
        ],
        "ceiling": {"emd": {"value": 0.125, "low": None, "high": None, "n": 1}},
    }  # fmt: skip
    assert [line.rstrip() for line in table(told)] == [
        "                                      pointing ↑      emd ↓",
        "c · lrp · true          0.500 [0.250, 0.750] n=8          –",
        "people with each other                         –  0.125 n=1",
        "left out of pointing of lrp (12345678): 2 zero map",
    ]


def test_the_same_decision_finds_the_same_set(world, db) -> None:
    """The digest of one method's set is what it was when a run had one method."""
    classifier = make_classifier(world)
    wish = {"layer": "features", "preset": "gradia"}
    run = start(world, "explain", classifier=classifier, recipe={"method": "grad_cam"} | wish)
    (one,) = sets_of(run)
    plain = {key: value for key, value in run.recipe.items() if "." not in key and key != "methods"}
    Run.objects.filter(pk=run.pk).update(recipe=plain | {"method": "grad_cam"} | wish)
    old = Run.objects.get(pk=run.pk)
    assert sets_of(old) == [one]
    decided = {
        "layer": "features", "preset": "gradia", "options": {}, "method": "grad_cam", "target": "predicted",
        "transform": {"image_size": 32, "resize": "none", "normalise": "imagenet"}, "target_class": None,
        "code_version": one.code_version, "weights": classifier.sha256, "classifier": str(classifier.uuid),
        "image_set": str(world.image_set.uuid), "padding": "torch", "precision": "no",
    }  # fmt: skip
    assert one.hash == hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()
    own = {f"grad_cam.{key}": value for key, value in wish.items()}
    several = start(
        world, "explain", classifier=classifier, recipe={"methods": ["rise", "grad_cam"], "rise.chunk": 3} | own
    )
    rise, cam = sets_of(several)
    assert cam == one
    other = start(world, "explain", classifier=classifier, recipe={"methods": ["rise"], "rise.chunk": 9})
    assert sets_of(other) == [rise]  # how much is done at once decides no map
    assert rise.options["masks"] == 8000
    assert ExplanationSet.objects.count() == 2
