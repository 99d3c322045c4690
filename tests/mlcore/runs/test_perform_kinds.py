"""What runs of each kind leave in rows, by the real process: maps, scores, predictions, phase 2 and its control."""

import hashlib

import numpy as np
import pytest
from django.core.files.storage import default_storage

from mlcore.models import Classifier, Explanation, Prediction, Run
from mlcore.runs import state
from mlcore.runs.job import build
from mlcore.runs.perform import perform
from mlcore.runs.start import start_control
from tests.mlcore.runs.world import (
    make_classifier,
    make_supervision,
    start,
    weights_hash,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def classifier(world, reference) -> Classifier:
    made = make_classifier(world, weights=reference)
    made.sha256 = hashlib.sha256(reference).hexdigest()
    made.save()
    return made


def test_explaining_writes_maps_once(world, classifier) -> None:
    wish = {"classifier": classifier, "recipe": {"part": "annotation_pool", "device": "cpu"}}
    run = perform(start(world, "explain", **wish).uuid, worker_name="here:1")
    assert run.state == "succeeded", run.reason + run.log
    assert Prediction.objects.filter(classifier=classifier).count() == 4
    rows = list(Explanation.objects.filter(set=run.explanation_set))
    assert {row.image for row in rows} == set(world.part("annotation_pool"))
    with default_storage.open(rows[0].shard) as stream:
        maps = np.load(stream)["maps"]
    assert maps.shape == (4, rows[0].height, rows[0].width)
    assert maps.dtype == np.float32
    for row in rows:
        assert row.maximum == pytest.approx(float(maps[row.index].max()))
    wish["recipe"] |= {"part": "all"}
    everything = perform(start(world, "explain", **wish).uuid, worker_name="here:1")
    assert everything.explanation_set == run.explanation_set
    assert {"maps": 24, "skipped": 4}.items() <= everything.result["summary"].items()
    assert Explanation.objects.filter(set=run.explanation_set).count() == 28
    assert {row.pk for row in rows} <= set(run.explanation_set.explanations.values_list("pk", flat=True))


def test_evaluating_writes_scores_and_replaces_predictions(world, classifier) -> None:
    made = classifier
    Prediction.objects.create(classifier=made, image=world.part("test")[0], label=1, confidence=2.0)
    wish = {"classifier": made, "recipe": {"part": "test", "device": "cpu"}}
    run = perform(start(world, "evaluate", **wish).uuid, worker_name="here:1")
    assert run.state == "succeeded", run.reason + run.log
    scores = {score.metric: score for score in run.scores.all()}
    assert {"accuracy", "attention_iou_50", "attention_iou_75", "pointing"} <= set(scores)
    assert scores["accuracy"].n == 6
    mean = np.mean(list(scores["accuracy"].per_image.values()))
    assert scores["accuracy"].value == pytest.approx(mean)
    assert Prediction.objects.filter(classifier=made, image__in=world.part("test"), confidence__lte=1).count() == 6


def test_phase_two_and_its_control_train_on_the_same_images(world, classifier) -> None:
    wish = {
        "classifier": classifier,
        "supervision": make_supervision(world),
        "recipe": {"objective": "gradia", "attention_weight": 5.0, "select": "best_attention_iou"},
    }
    run = start(world, **wish)
    other = start_control(run, enqueue=False)
    jobs = [build(held, state.claim(held.uuid, "here:1")) for held in (run, other)]
    for part in ("train", "annotation_pool", "validation"):
        ours, theirs = jobs[0]["parts"][part], jobs[1]["parts"][part]
        assert [(item["id"], item.get("w_p")) for item in ours] == [(item["id"], item.get("w_p")) for item in theirs]
    assert {item["w_a"] for item in jobs[0]["parts"]["annotation_pool"]} == {1.6}
    assert {item["w_p"] for item in jobs[1]["parts"]["annotation_pool"]} == {0.4}
    assert {item["w_a"] for item in jobs[1]["parts"]["annotation_pool"]} == {0.0}
    assert all(item["truth"] for item in jobs[1]["parts"]["validation"])
    Run.objects.filter(pk=run.pk).update(state="queued", attempt=None)
    done = perform(run.uuid, worker_name="here:1")
    assert done.state == "succeeded", done.log
    assert done.made_classifier.parent == classifier
    assert "4 carry attention supervision" in done.log
    # (12 + 4) images in fours, two epochs.
    assert set(done.metrics.filter(part="train").values_list("step", flat=True)) == set(range(1, 9))


@pytest.mark.flaky(reruns=1, only_rerun=["SIGABRT"])
def test_two_processes_share_a_run(world, settings) -> None:
    settings.RUN_PROCESSES = 2
    shared = perform(start(world, seed=3).uuid, worker_name="here:1")
    assert shared.state == "succeeded", shared.reason + shared.log
    losses = shared.metrics.filter(part="train", name="loss")
    assert list(losses.values_list("step", flat=True)) == [1, 2, 3, 4, 5, 6]  # the first one speaks for both
    assert shared.made_classifier.sha256 == weights_hash(shared)
